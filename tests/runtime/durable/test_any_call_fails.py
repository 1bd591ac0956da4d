"""One call of the system fails, each in turn, with the errors of shares and odd file systems.

What is there afterwards is old or new, the error is typed, and it says of what is new that it may be.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.runtime import (
    AppendLog,
    OutcomeUnknown,
    ResilienceError,
    Snapshots,
    Transaction,
    publish_directory,
    recover_transactions,
    write_file,
)
from chaoskit.runtime.durable.transactions.records import Layout

CALLS = "open fsync fdatasync replace link mkdir write pwrite symlink unlink chmod fchmod ftruncate"
CALLS += " stat lstat fstat listdir scandir readlink rmdir close"


class Failing:
    """The functions of ``os``, one call of which fails."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.made = Counter[str]()
        self.call, self.number, self.errno, self.struck = "", 0, 0, False
        for name in CALLS.split():
            patch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.made[name] += 1
            if (name, self.made[name]) != (self.call, self.number):
                return real(*args, **options)
            self.struck = True
            if name == "close":  # The descriptor is closed in any case (close(2)).
                real(*args, **options)
            raise OSError(self.errno, os.strerror(self.errno))

        return call


def file(path: Path, value: str) -> None:
    write_file(path / "f", value)


def directory(path: Path, value: str) -> None:
    with publish_directory(path / "d", replace=True) as stage:
        (stage / "x").write_text(value)


def snapshots(path: Path, value: str) -> None:
    Snapshots(path, keep=1, reserve=0).save(value)


def log(path: Path, value: str) -> None:
    with AppendLog(path / "log") as opened:
        opened.append(value.encode())


def transaction(layout: Layout) -> Callable[[Path, str], None]:
    def commit(path: Path, value: str) -> None:
        with Transaction.local(path / "t", id=value, layout=layout) as tx:
            tx.add("x", value)
            tx.add("y", value)
            tx.commit()

    return commit


def last(path: Path) -> str:
    with AppendLog(path / "log") as opened:
        found = [data.decode() for data in opened]
    assert found in (["old"], ["old", "new"])
    return found[-1]


def recovered(path: Path) -> str:
    recover_transactions(path / "t")
    one, other = ((path / "t" / name).read_text() for name in ("x", "y"))
    assert one == other
    return one


WORK: dict[str, tuple[Callable[[Path, str], None], Callable[[Path], str]]] = {
    "file": (file, lambda path: (path / "f").read_text()),
    "directory": (directory, lambda path: (path / "d" / "x").read_text()),
    "snapshots": (snapshots, lambda path: str(Snapshots(path, reserve=0).load())),
    "log": (log, last),
    "pointer": (transaction("pointer"), recovered),
    "final": (transaction("final"), recovered),
}


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTSUP], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", WORK)
def test_what_is_said_is_what_is_there(tmp_path: Path, name: str, number: int) -> None:
    """Without an error it is new; with one it is old, unless the error says that it may be either."""
    work, seen = WORK[name]

    def run(place: Path, call: str, at: int) -> tuple[Failing, BaseException | None]:
        place.mkdir()
        work(place, "old")
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch)
            failing.call, failing.number, failing.errno = call, at, number
            try:
                work(place, "new")
            except (OSError, ResilienceError) as error:
                return failing, error
        return failing, None

    made = run(tmp_path / "whole", "", 0)[0].made
    assert len(made) > 4
    for call, count in made.items():
        for at in range(1, count + 1):
            place = tmp_path / f"{call}-{at}"
            failing, error = run(place, call, at)
            if failing.struck:
                found = seen(place)
                assert error is not None or found == "new", (call, at)
                assert isinstance(error, OutcomeUnknown | None) or found == "old", (call, at, error)
