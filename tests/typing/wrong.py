"""What the type checkers have to refuse: one mistake a line, each marked. Checked, never run."""

from __future__ import annotations

from chaoskit.runtime import retry


@retry(on=ConnectionError)
def fetch(url: str) -> bytes:
    return url.encode()


fetch(3)  # wrong
fetch()  # wrong
fetch("u", retries=3)  # wrong
number: int = fetch("u")  # wrong
retry(on=ConnectionError, attemps=3)  # wrong
retry(on=ConnectionError, attempts="3")  # wrong
retry(on=ConnectionError).call(fetch, 3)  # wrong


@retry  # wrong
def bare() -> None: ...
