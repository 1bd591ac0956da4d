"""Run pytest, and the few tests that failed once more, alone.

Most of the suite drives processes, signals and sockets of a real kernel. A test that fails beside others and
passes alone is unsteady: a defect of the test, sometimes of the package, and it says nothing about the change
that happens to be tried. It is named at the end, so that it is seen and mended; the suite goes on.
What fails twice does, and so does a run in which more than UNSTEADY tests (3 unless set; 0 for none) failed.
CPython's own suite does the same with ``--rerun``.

    suite.py [--first ARGUMENT]... [--] PYTEST-ARGUMENT...

What follows ``--first`` is an argument of the first run only, for example how many workers, or where to write
a report.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FAILED = 1
"""The exit status of pytest when tests failed, and nothing else was wrong."""


def main(arguments: Sequence[str]) -> int:
    # Ctrl-C is pytest's to answer, which cleans up and says where it was; a handler is not passed on to it.
    signal.signal(signal.SIGINT, lambda *_: None)
    first, rest = split(arguments)
    cache = Path(".pytest_cache") / "{}.{}".format(*sys.version_info)
    status = pytest("-o", f"cache_dir={cache}", "--cache-clear", *first, *rest)
    failed = last_failed(cache)
    most = int(os.environ.get("UNSTEADY") or 3)
    if status != FAILED or not 0 < len(failed) <= most:
        return status
    print(f"\nFailed, so once more and alone: {len(failed)}", flush=True)
    again = pytest("-o", f"cache_dir={cache}", *rest, "--last-failed", "-p", "no:randomly")
    if again:
        return again
    for name in failed:
        print(f"UNSTEADY (failed once, passed alone): {name}", flush=True)
    return 0


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments of the first run only, and those of both."""
    first, rest = [], list(arguments)
    while rest[:1] == ["--first"]:
        first.append(rest[1])
        del rest[:2]
    return first, rest[1:] if rest[:1] == ["--"] else rest


def pytest(*arguments: str) -> int:
    # Byte code is kept whatever the environment says: hundreds of tests start another pytest, and each
    # would compile the assertions of what it imports again.
    kept = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=kept, check=False).returncode


def last_failed(cache: Path) -> list[str]:
    """The names of the tests that failed, from pytest's cache; none if it did not come to writing it."""
    try:
        return sorted(json.loads((cache / "v/cache/lastfailed").read_text("utf-8")))
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
