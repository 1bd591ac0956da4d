"""A workload cannot tell that it is watched: the same calls, watched and unwatched, end the same."""

from __future__ import annotations

import fcntl
import os
import random
import stat
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.schedule import Schedule
from chaoskit.faults.calls import FAMILIES
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend

NAMES = ("a", "b", "c", "d", "d/a", "d/e", "d/e/f", "l", "none/x", "", ".", "d/..", "l/a", "d/")


class Caller:
    """Makes random calls in the working directory and keeps what came of each."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.top = ""
        self.open: list[int] = []
        self.outcomes: list[Any] = []

    def name(self) -> str:
        return self.random.choice(NAMES)

    def fd(self) -> int:
        return self.random.choice(self.open) if self.open else 555

    def calls(self) -> list[Callable[[], Any]]:
        draw = self.random.randrange
        return [
            self.opened,
            self.opened,
            self.opened,
            lambda: os.write(self.fd(), bytes([65 + draw(26)]) * draw(5000)),
            lambda: os.pwrite(self.fd(), b"P" * draw(50), draw(10000) - 10),
            lambda: os.writev(self.fd(), [b"V" * draw(9), b"", b"W" * draw(9)]),
            lambda: os.read(self.fd(), draw(5000)),
            lambda: os.pread(self.fd(), draw(50), draw(9000) - 10),
            lambda: os.lseek(self.fd(), draw(3000), draw(3)),
            lambda: os.ftruncate(self.fd(), draw(9000)),
            lambda: os.fsync(self.fd()),
            lambda: os.copy_file_range(self.fd(), self.fd(), draw(500)),
            lambda: os.sendfile(self.fd(), self.fd(), self.random.choice((None, draw(90))), draw(500)),
            lambda: os.posix_fallocate(self.fd(), draw(100), draw(9000)),
            lambda: os.fchmod(self.fd(), draw(0o1000)),
            lambda: fcntl.flock(self.fd(), fcntl.LOCK_SH | fcntl.LOCK_NB),
            self.closed,
            lambda: os.mkdir(self.name(), draw(0o1000) | 0o700),
            lambda: os.rmdir(self.name()),
            lambda: os.unlink(self.name()),
            lambda: os.rename(self.name(), self.name()),
            lambda: os.link(self.name(), self.name()),
            lambda: os.symlink(self.name(), self.name()),
            lambda: os.truncate(self.name(), draw(5000)),
            lambda: os.chmod(self.name(), draw(0o1000) | 0o700),
            lambda: os.utime(self.name(), (draw(99), draw(99))),
            lambda: sorted(os.listdir(self.name())),
            lambda: os.umask(draw(0o100)) and None,
            self.moved,
        ]

    def opened(self) -> int:
        flags = self.random.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR))
        for flag in (
            os.O_CREAT,
            os.O_CREAT,
            os.O_EXCL,
            os.O_TRUNC,
            os.O_APPEND,
            os.O_NOFOLLOW,
            os.O_DIRECTORY,
        ):
            flags |= flag if self.random.random() < 0.3 else 0
        fd = os.open(self.name(), flags, 0o666)
        self.open.append(fd)
        return len(self.open)

    def moved(self) -> None:
        """Go elsewhere, but never up: who follows links upwards would leave the test's directory."""
        where = self.random.choice(("d", "d/e", self.top))
        if os.path.realpath(where).startswith(self.top):
            os.chdir(where)

    def closed(self) -> None:
        if self.open:
            os.close(self.open.pop(self.random.randrange(len(self.open))))

    def run(self, top: str, count: int) -> tuple[list[Any], list[Any]]:
        self.top = f"{top}/where/links/lead/up/from"
        os.makedirs(self.top)
        os.chdir(self.top)
        os.umask(0o022)
        for _ in range(count):
            call = self.random.choice(self.calls())
            try:
                outcome = call()
            except OSError as error:
                outcome = -(error.errno or 0)
            self.outcomes.append(outcome)
        for fd in self.open:
            os.close(fd)
        return self.outcomes, state(top)


def state(top: str) -> list[Any]:
    """Everything below a directory: names, types, rights, link counts, contents."""
    found: list[Any] = []
    for where, directories, files in os.walk(top):
        directories.sort()
        for name in sorted([*directories, *files]):
            path = os.path.join(where, name)
            facts = os.lstat(path)
            if stat.S_ISLNK(facts.st_mode):
                content: Any = os.readlink(path)
            elif stat.S_ISREG(facts.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            else:
                content = None
            links = facts.st_nlink if stat.S_ISREG(facts.st_mode) else 0
            found.append((os.path.relpath(path, top), facts.st_mode, links, content))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_watched_workload_ends_like_an_unwatched_one(root: str, seed: int) -> None:
    """Random calls give the same results, errors and files when recorded, when struck elsewhere, and bare."""
    ends = []
    never = Schedule.parse("write(never)#1=EIO; t1:write(never)#1=EIO").strikes
    for number, (record, strikes) in enumerate(((None, ()), (True, ()), (False, ()), (False, never))):
        top = f"{root}/{number}"
        os.mkdir(top)
        # Unwatched means: below another root.
        plan = Plan(f"{root}/elsewhere" if record is None else top, record=bool(record), strikes=strikes)
        ran = KernelBackend().run(lambda top=top: Caller(seed).run(top, 150), plan)
        assert ran.ok, (ran.error, ran.traceback)
        ends.append(ran.value)
        if record:
            explained = {caveat.target for caveat in ran.caveats}
            for one in ran.trace:
                known = one.result is not None or one.call in ("close", "lock", "getdents", "read")
                # The kernel answers look-ups; what it will say is not known of every one.
                known = known or FAMILIES[one.call].looks
                assert known or one.target in explained, one
    assert sorted(os.listdir(root)) == ["0", "1", "2", "3"]
    assert ends[1] == ends[0]
    assert ends[2] == ends[0]
    assert ends[3] == ends[0]
