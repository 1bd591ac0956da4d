"""Playing one program bare, recorded and as a case, and saying in what that differs."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import signal
import stat
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from chaoskit.core.schedule import Schedule
from chaoskit.inject import processes
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend
from wild.caging import no_new_privileges
from wild.playing import Notes, hash_of, play, wait
from wild.programs import Program, Step

_SECONDS, _PATIENCE = 4.0, 30.0
"""What a program may take alone, and watched. One that waits forever says nothing."""
_RECENT = 1_000_000_000
"""Times after this second are those of the play, which nothing can foretell."""
_LEADING = "where/links/lead/up/from"
_SCHEDULES = (
    "write(never)#1=EIO",
    "write(never)#1=EIO; t1:write(never)#1=EIO",
    "rename(never -> none)#1=kill",
    "open(never)#1=EACCES; fsync(never)#1=EIO",
    "truncate(never)#1=EIO; stat(never)#1=EIO",
    "promise()#1=kill",
)
"""Strikes that never come, by the ways that a case has to find that out."""

Ending = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """In what one program ended otherwise than it does alone."""

    watched: str
    what: str
    alone: str
    seen: str

    def __str__(self) -> str:
        return f"{self.watched}: {self.what}: {self.alone} -> {self.seen}"


class Stage:
    """A directory in which programs are played, one after the other, each on the same files."""

    def __init__(self, place: str) -> None:
        self._top = os.path.join(tempfile.mkdtemp(dir=place), _LEADING)
        self._root = os.path.join(self._top, "in")
        links = os.path.join(self._top, "links")
        os.makedirs(links)
        # A chain of links, in which nothing is ever changed.
        for number in range(1, 41):
            os.symlink(f"deep{number - 1}" if number > 1 else "../in/d", f"{links}/deep{number}")
        self._notes = Notes()
        self._backend = KernelBackend()
        # For all runs: each would make its own, and another process to receive its calls.
        processes.stand_guard()
        self.hung = 0
        """Programs that did not end even when they were bare: nothing can be said of them."""
        self.unsteady = 0
        """Programs that ended in two ways when they were bare, or when they were watched."""
        self.differences(Program((Step(0, "fork"),)))

    def differences(self, program: Program, seed: int = 0, ways: Sequence[str] = ()) -> list[Difference]:
        """Where ``program`` ends otherwise when it is watched; empty if nowhere.

        ``ways`` are ``recorded`` or schedules; by default a recording and one schedule.
        """
        alone = self._ending(partial(self._bare, program))
        if alone["ended"] == "hung":
            self.hung += 1
            return []
        ways = ways or ("recorded", random.Random(seed).choice(_SCHEDULES))
        found = self._differing(program, ways, alone)
        # It has to differ twice, since what the kernel answers may be chance: a name of forty links has one
        # too many now and then while something is mounted anywhere, watched or not.
        if found and not (
            self._ending(partial(self._bare, program)) == alone and self._differing(program, ways, alone)
        ):
            self.unsteady += 1
            return []
        return found

    def _differing(self, program: Program, ways: Sequence[str], alone: Ending) -> list[Difference]:
        return [
            one
            for way in ways
            for one in _compared(way, alone, self._ending(partial(self._watched, program, way)))
        ]

    def _ending(self, run: Callable[[], Any]) -> Ending:
        for name in ("in", "out"):
            clear(os.path.join(self._top, name))
        _set_up(self._root, os.path.join(self._top, "out"))
        self._notes.clear()
        before = _ourselves()
        ended = run()
        after = _ourselves()
        if before != after:
            # Data that was recorded may be in a file, which is closed with the last of it.
            gc.collect()
            after = _ourselves()
        ours = "as before" if before == after else f"{before} is now {after}"
        return {"ended": ended, "notes": self._notes.all(), "state": state(self._top), "test process": ours}

    def _bare(self, program: Program) -> Any:
        with processes.reaping():
            pid = processes.fork()
            if pid == 0:
                status = 1
                try:
                    os.setsid()
                    # What every run has, and has to have.
                    no_new_privileges()
                    play(program, self._root, self._notes)
                    status = 0
                finally:
                    os._exit(status)
            ended = wait(pid, _SECONDS)
            if ended is None:
                processes.kill_tree(pid)
                wait(pid, _SECONDS)
                return "hung"
            # As a run says it.
            return (
                "done"
                if ended == 0
                else f"signal {os.WTERMSIG(ended)}"
                if os.WIFSIGNALED(ended)
                else "failed"
            )

    def _watched(self, program: Program, way: str) -> Any:
        recorded = way == "recorded"
        strikes = () if recorded else Schedule.parse(way).strikes
        plan = Plan(self._root, record=recorded, strikes=strikes, timeout=_PATIENCE)
        try:
            ran = self._backend.run(partial(play, program, self._root, self._notes), plan)
        except Exception as error:
            return f"the run ended: {type(error).__name__}: {error}"
        if ran.ok:
            return "done"
        if ran.timed_out:
            return f"hung: {ran.stacks}"
        return f"signal {ran.signal}" if ran.signal else f"failed: {ran.error!r}"


def _compared(way: str, alone: Ending, seen: Ending) -> list[Difference]:
    found = []
    for what, before in alone.items():
        after = seen[what]
        # Alone it is only known that it failed, and watched by what.
        if before == after or (before == "failed" and str(after).startswith("failed: ")):
            continue
        if not isinstance(before, list):
            found.append(Difference(way, what, str(before), str(after)))
            continue
        pairs = [pair for pair in zip(before, after, strict=False) if pair[0] != pair[1]]
        longer = [[None, one] for one in after[len(before) :]] + [[one, None] for one in before[len(after) :]]
        found += [Difference(way, what, str(one), str(other)) for one, other in [*pairs, *longer][:3]]
    return found


def _ourselves() -> dict[str, Any]:
    """What of the test process no run may change."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        "descriptors": {fd: _link(fd) for fd in sorted(processes.open_files())},
        "children": len(processes.children()),
        "umask": mask,
        "directory": os.getcwd(),
        "signals": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "limit": resource.getrlimit(resource.RLIMIT_NOFILE),
        "user": (*os.getresuid(), *os.getresgid()),
    }


def _link(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


# The files that a program finds, and what it leaves.


def _set_up(top: str, out: str) -> None:
    for place in (f"{top}/d/e", f"{top}/locked", f"{top}/sticky", out):
        os.makedirs(place)
    for name in (
        "a",
        "b",
        "d/a",
        "e",
        "locked/a",
        "sticky/a",
        "sid",
        "gid",
        "name (deleted)",
        "../out/x",
        "../out/y",
    ):
        with open(f"{top}/{name}", "w") as file:
            file.write(name * 300)
    for name, target in _LINKS:
        os.symlink(target, f"{top}/{name}")
    for number in (39, 40, 41):
        os.symlink(f"../links/deep{number - 1}", f"{top}/deep{number}")
    for name in ("sparse", "../out/sparse"):
        with open(f"{top}/{name}", "wb") as file:
            file.truncate(1 << 20)
            os.pwrite(file.fileno(), b"data", 500_000)
    if os.geteuid() == 0:
        for name in ("sid", "gid", "sticky/a", "../out/y"):
            os.chown(f"{top}/{name}", 1000, 1000)
    for name, mode in _MODES:
        os.chmod(f"{top}/{name}", mode)
    for where, directories, files in os.walk(os.path.dirname(top)):
        for name in (*directories, *files):
            os.utime(os.path.join(where, name), (1000, 1000), follow_symlinks=False)


_LINKS = (
    *(("l", "d"), ("m", "../out"), ("s", "a"), ("chain", "l"), ("looping", "looping"), ("dangling", "none2")),
    *(("self", "/proc/self/cwd"), ("fds", "/proc/self/fd")),
)
_MODES = (
    ("sid", 0o6755),
    ("gid", 0o2775),
    ("sticky", 0o1777),
    ("sticky/a", 0o666),
    ("locked", 0o100),
    ("b", 0o666),
)


def state(top: str) -> list[Any]:
    """Everything below a directory: types, modes, owners, links, sizes, contents, attributes, times."""
    found: list[Any] = []
    for where, directories, files in os.walk(top, onerror=lambda error: found.append(str(error.errno))):
        directories.sort()
        for name in sorted([*directories, *files]):
            path = os.path.join(where, name)
            try:
                facts = os.lstat(path)
            except OSError as error:  # Of a directory that may be read but not be searched.
                found.append([os.path.relpath(path, top), error.errno])
                continue
            links = 0 if stat.S_ISDIR(facts.st_mode) else facts.st_nlink
            size = facts.st_size if stat.S_ISREG(facts.st_mode) else 0
            times = ["now" if when > _RECENT else when for when in (facts.st_atime, facts.st_mtime)]
            head = [os.path.relpath(path, top), oct(facts.st_mode), facts.st_uid, facts.st_gid, links, size]
            found.append([*head, times, _content(path, facts), _attributes(path)])
    return found


def _content(path: str, facts: os.stat_result) -> str | None:
    try:
        if stat.S_ISLNK(facts.st_mode):
            return os.readlink(path)
        if not stat.S_ISREG(facts.st_mode):
            return None
        if facts.st_size > 1 << 24:
            return "large"
        with open(path, "rb") as file:
            return hash_of(file.read())
    except OSError as error:
        return str(error.errno)


def _attributes(path: str) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listxattr(path, follow_symlinks=False)):
            value = os.getxattr(path, name, follow_symlinks=False)
            found.append(f"{name}={hash_of(value)}")
    return found


def clear(place: str) -> None:
    """Remove a directory, whatever the modes in it, and nothing that links lead to.

    A program may have put something else in its place.
    """
    try:
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            os.unlink(place)
            return
        names = os.listdir(place)
    except FileNotFoundError:
        return
    except PermissionError:
        os.chmod(place, 0o700)
        names = os.listdir(place)
    if os.lstat(place).st_mode & 0o700 != 0o700:
        os.chmod(place, 0o700)
    for name in names:
        path = os.path.join(place, name)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            clear(path)
        else:
            os.unlink(path)
    os.rmdir(place)
