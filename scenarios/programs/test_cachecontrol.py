"""CacheControl's FileCache, the cache of pip's downloads: answers of servers, in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from budgets import bounded

from chaoskit import Chaos, faults, scenario
from chaoskit.invariants import no_truncated_files

file_cache = pytest.importorskip(
    "cachecontrol.caches.file_cache", reason="needs the dependency group scenarios"
)

OLD, NEW = b"old" * 3000, b"new" * 5000


def download(path: Path, promise: Callable[[str], None]) -> None:
    cache = file_cache.SeparateBodyFileCache(str(path))
    for url in ("http://host/one", "http://host/two"):
        cache.set(url, NEW[:200])
        cache.set_body(url, NEW)
        promise(url)


def body_of(path: Path, url: str) -> bytes | None:
    body = file_cache.SeparateBodyFileCache(str(path)).get_body(url)
    if body is None:
        return None
    with body:
        return body.read()


@scenario(
    faults.kill()
    | faults.disk().only("ENOSPC", "EIO", "EACCES", "EMFILE", "ENOLCK")
    | faults.share().only("EINTR", "lost"),
    invariants=[no_truncated_files],
    budget=bounded(100),
)
def test_an_answer_is_whole_or_absent(chaos: Chaos) -> None:
    """No error and no kill leaves a part of an answer under its name, or takes one that was stored."""
    answers_survive(chaos)


@scenario(
    faults.disk().on(call="write").only("short", "full"),
    invariants=[no_truncated_files],
    known={"9abf05": "what os.write returns is not looked at, so a part of an answer is taken for all of it"},
)
def test_an_answer_is_whole_on_a_disk_that_fills_up(chaos: Chaos) -> None:
    """The same where the disk takes only a part of what is written."""
    answers_survive(chaos)


def answers_survive(chaos: Chaos) -> None:
    file_cache.SeparateBodyFileCache(str(chaos.path)).set_body("http://host/one", OLD)
    chaos.run(download, chaos.path, chaos.promise)
    one, two = body_of(chaos.path, "http://host/one"), body_of(chaos.path, "http://host/two")
    assert one == NEW or (one == OLD and "http://host/one" not in chaos.promised)
    assert two == NEW or (two is None and "http://host/two" not in chaos.promised)
