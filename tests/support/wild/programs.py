"""What a program of raw calls is, and how one is drawn from a seed.

A program is plain data that can be printed, replayed and cut down: a list of steps, each of one actor. Actors
are processes and threads; one at a time goes on, in the order of the steps, so that a program ends the same
each time.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

Value = int | list[Any]
"""An argument: a number as it is, or a list that says how to make one.

``["fd", n]`` the n-th descriptor that the process got; ``["p", text]`` a name; ``["d", n]`` n bytes to
write; ``["o", n]`` room for n bytes, looked at afterwards; ``["v", [...]]`` a vector of ``d`` or ``o``;
``["off", n]`` a position in memory; ``["hex", text]`` a structure; ``["cut", n]`` n bytes to write before
memory ends; ``["v1", n]`` an entry of a vector that says to be n bytes long;
``["how", flags, mode, resolve, tail]`` as for openat2; ``["map"]`` where the last mapping is;
``["now"]`` and ``["old", n]`` two times.
"""


@dataclass(frozen=True)
class Step:
    """What an actor does: a raw call by its name, or one of ``fork``, ``thread``, ``map``, ``store``."""

    actor: int
    name: str
    args: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Program:
    """Steps in their order."""

    steps: tuple[Step, ...]

    def text(self) -> str:
        """The program in one line that :func:`parse` reads."""
        return json.dumps([[one.actor, one.name, list(one.args)] for one in self.steps])

    def only(self, kept: list[Step]) -> Program:
        """The same program with other steps."""
        return replace(self, steps=tuple(kept))


def parse(text: str) -> Program:
    """Read what :meth:`Program.text` has written."""
    return Program(tuple(Step(actor, name, tuple(args)) for actor, name, args in json.loads(text)))


NAMES = (
    *(
        "a",
        "a",
        "b",
        "b",
        "c",
        "d",
        "d/a",
        "d/e",
        "d/e/f",
        "e",
        "l",
        "m",
        "s",
        "none/x",
        "",
        ".",
        "d/..",
        "d/",
    ),
    *(
        "d/./a",
        "d//a",
        "l/a",
        "m/a",
        "../out/x",
        "../out/y",
        "../out",
        "../in/a",
        "$/a",
        "$/d/a",
        "$/../out/x",
    ),
    *(
        "chain",
        "chain/a",
        "looping",
        "dangling",
        "deep39/a",
        "deep40/a",
        "deep41/a",
        "self/a",
        "fds/3",
        "fds/4",
    ),
    *(
        "n" * 255,
        "n" * 256,
        "d/" * 2047 + "a",
        "d/" * 2046 + "a",
        "d/" * 2040 + "a",
        "sid",
        "gid",
        "locked/a",
    ),
    *("sparse", "full", "name (deleted)", "line\nfeed", "\udcff\udcfe", "e/f", "sticky/a"),
    *("/proc/self/cwd/a", "/proc/thread-self/cwd/b", "/proc/self/fd/3", "/proc/self/fd/5", "/dev/fd/4"),
    *("/proc/self/root$/a", "/dev/stdin", "/proc/self", "/dev/null", "/proc/self/fd/99"),
)
"""``$`` stands for the directory of the run."""

WILD = (
    *(0, 1, -1, 2, 3, 7, 511, 512, 4095, 4096, 4097, 65536, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 32) + 3),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1, -4096, -100, 1 << 40, 0xFFFFFFFF, 0x7FFFF000, 0x80000000),
)
_AT_FDCWD = -100


class Draw:
    """Draws programs; all chance comes from the seed."""

    def __init__(self, seed: int, wild: float = 0.12) -> None:
        self._random = random.Random(seed)
        self._wild = wild

    def program(self, most: int = 28) -> Program:
        """A program of up to ``most`` steps, by up to four actors."""
        steps: list[Step] = []
        actors = 1
        several = self._random.random() < 0.35
        for _ in range(self._random.randrange(3, most)):
            if several and actors < 4 and self._random.random() < 0.15:
                steps.append(Step(self._random.randrange(actors), self._random.choice(("fork", "thread"))))
                actors += 1
                continue
            make = self._random.choices(_MAKERS, _WEIGHTS)[0]
            for name, args in make(self):
                steps.append(Step(self._random.randrange(actors), name, args))
        return Program(tuple(steps))

    # Arguments.

    def pick(self, *values: Any) -> Any:
        """One of the values."""
        return self._random.choice(values)

    def below(self, end: int) -> int:
        """A number from 0 to ``end``."""
        return self._random.randrange(end)

    def chance(self, share: float) -> bool:
        """True in ``share`` of all times."""
        return self._random.random() < share

    def word(self, tame: Value) -> Value:
        """Mostly ``tame``, at times a number that no program would give."""
        return self.pick(*WILD) if self.chance(self._wild) else tame

    def fd(self) -> Value:
        if self.chance(self._wild / 2):
            return self.pick(-1, 555, 1 << 32, (1 << 31) - 1, (1 << 31) - 2, _AT_FDCWD, 0, 1, 1 << 63)
        return ["fd", self.below(8)]

    def base(self) -> Value:
        return _AT_FDCWD if self.chance(0.6) else self.fd()

    def name(self) -> Value:
        if self.chance(self._wild / 3):
            return self.pick(0, 8, 1 << 63)
        return ["p", self.pick(*NAMES)]

    def mode(self) -> Value:
        return self.word(
            self.pick(0o644, 0o600, 0o755, 0o700, 0o4755, 0o2755, 0o6711, 0o1777, 0o000, 0o444, 0o666)
        )

    def size(self) -> int:
        return int(self.pick(0, 1, 5, 100, 4096, 5000, 9000, 70000))

    def data(self, room: bool = False) -> Value:
        if self.chance(self._wild / 3):
            return ["cut", self.pick(0, 1, 10, 4096)]
        if self.chance(self._wild / 4):
            return self.pick(0, 8)
        return ["o" if room else "d", self.size()]

    def vector(self, room: bool) -> tuple[Value, Value]:
        if self.chance(self._wild / 2):
            return ["v1", self.pick(1 << 40, (1 << 63) - 1, 0x7FFFF000, 1 << 63)], 1
        parts = [self.data(room) for _ in range(self.below(4))]
        parts = [part if isinstance(part, list) else ["d", 0] for part in parts]
        return ["v", parts], self.word(len(parts))

    def open_flags(self) -> int:
        flags = int(self.pick(os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR, os.O_RDWR))
        for flag, share in _OPEN_FLAGS:
            flags |= flag if self.chance(share) else 0
        return flags


_OPEN_FLAGS = (
    *((os.O_CREAT, 0.5), (os.O_EXCL, 0.1), (os.O_TRUNC, 0.15), (os.O_APPEND, 0.2), (os.O_NOFOLLOW, 0.1)),
    *(
        (os.O_DIRECTORY, 0.08),
        (os.O_CLOEXEC, 0.3),
        (os.O_NONBLOCK, 0.15),
        (os.O_SYNC, 0.05),
        (os.O_PATH, 0.05),
    ),
    *(
        (os.O_TMPFILE, 0.04),
        (os.O_NOATIME, 0.05),
        (os.O_DIRECT, 0.03),
        (1 << 31, 0.01),
        (1 << 30, 0.01),
        (3, 0.02),
    ),
)
Calls = list[tuple[str, tuple[Value, ...]]]


def _open(d: Draw) -> Calls:
    flags = d.word(d.open_flags())
    # A name that is a pipe must not be waited for.
    match d.pick("openat", "openat", "openat", "open", "creat", "openat2"):
        case "open":
            return [("open", (d.name(), flags, d.mode()))]
        case "creat":
            return [("creat", (d.name(), d.mode()))]
        case "openat2":
            plain = d.open_flags() & ~(1 << 30)
            mode = d.mode() if d.chance(0.3) or plain & os.O_CREAT else 0
            resolve = d.pick(0, 0, 0, 1, 2, 4, 8, 16, 1 << 20)
            tail = d.pick("", "", "", "00" * 8, "01" * 8)
            size = d.word(24 + len(tail) // 2)
            wide = d.pick(plain, plain, plain | 1 << 40, plain | 1 << 31)
            return [("openat2", (d.base(), d.name(), ["how", wide, mode, resolve, tail], size))]
    return [("openat", (d.base(), d.name(), flags, d.mode()))]


def _write(d: Draw) -> Calls:
    match d.below(6):
        case 0:
            return [("pwrite64", (d.fd(), ["d", (n := d.size())], d.word(n), d.word(d.size())))]
        case 1:
            return [("writev", (d.fd(), *d.vector(room=False)))]
        case 2:
            return [("pwritev", (d.fd(), *d.vector(room=False), d.word(d.size()), 0))]
        case 3:
            flags = d.word(d.pick(0, 0, 2, 4, 8, 16, 32))
            return [("pwritev2", (d.fd(), *d.vector(room=False), d.pick(-1, d.word(d.size())), 0, flags))]
    data = d.data()
    size = data[1] if isinstance(data, list) and data[0] == "d" else 5000
    return [("write", (d.fd(), data, d.word(size)))]


def _read(d: Draw) -> Calls:
    match d.below(5):
        case 0:
            return [("pread64", (d.fd(), ["o", (n := d.size())], n, d.word(d.size())))]
        case 1:
            return [("readv", (d.fd(), *d.vector(room=True)))]
        case 2:
            flags = d.word(d.pick(0, 0, 8))
            return [("preadv2", (d.fd(), *d.vector(room=True), d.pick(-1, d.size()), 0, flags))]
        case 3:
            return [("getdents64", (d.fd(), ["o", 4096], 4096))]
    return [("read", (d.fd(), ["o", (n := d.size())], n))]


def _shape(d: Draw) -> Calls:
    match d.below(7):
        case 0:
            return [("truncate", (d.name(), d.word(d.size())))]
        case 1:
            modes = (0, 0, 1, 3, 2, 8, 16, 0x20, 0x40)
            return [("fallocate", (d.fd(), d.word(d.pick(*modes)), d.word(d.size()), d.word(d.size())))]
        case 2:
            return [("lseek", (d.fd(), d.word(d.size()), d.word(d.pick(0, 1, 2, 3, 4))))]
    return [("ftruncate", (d.fd(), d.word(d.size())))]


def _sync(d: Draw) -> Calls:
    match d.below(6):
        case 0:
            return [("sync_file_range", (d.fd(), d.word(d.size()), d.word(d.size()), d.word(d.below(8))))]
        case 1:
            return [("syncfs", (d.fd(),))]
        case 2:
            return [("fdatasync", (d.fd(),))]
    return [("fsync", (d.fd(),))]


def _copy(d: Draw) -> Calls:
    def where() -> Value:
        return d.pick(0, 0, ["off", d.size()], ["off", -5], 8 if d.chance(0.1) else 0)

    match d.below(5):
        case 0:
            return [("sendfile", (d.fd(), d.fd(), where(), d.word(d.size())))]
        case 1:
            return [("splice", (d.fd(), where(), d.fd(), where(), d.word(d.size()), d.word(2)))]
        case 2:
            return [("ioctl", (d.fd(), 0x40049409, d.fd()))]
    flags = d.word(0)
    return [("copy_file_range", (d.fd(), where(), d.fd(), where(), d.word(d.size()), flags))]


def _names(d: Draw) -> Calls:
    match d.below(12):
        case 0:
            return [("rename", (d.name(), d.name()))]
        case 1:
            return [("renameat", (d.base(), d.name(), d.base(), d.name()))]
        case 2:
            flags = d.word(d.pick(0, 1, 2, 4, 3))
            return [("renameat2", (d.base(), d.name(), d.base(), d.name(), flags))]
        case 3:
            return [("link", (d.name(), d.name()))]
        case 4:
            # Never AT_EMPTY_PATH: it matters there which process has opened the file, and that was us.
            return [
                ("linkat", (d.base(), d.name(), d.base(), d.name(), d.pick(0, 0, 0x400, 1 << 31, 1 << 32)))
            ]
        case 5:
            return [("symlinkat", (["p", d.pick(*NAMES)], d.base(), d.name()))]
        case 6:
            return [("symlink", (d.name(), d.name()))]
        case 7:
            return [("unlink", (d.name(),))]
        case 8:
            return [("unlinkat", (d.base(), d.name(), d.word(d.pick(0, 0x200))))]
        case 9:
            return [("rmdir", (d.name(),))]
        case 10:
            return [("mkdirat", (d.base(), d.name(), d.mode()))]
    return [("mkdir", (d.name(), d.mode()))]


def _nodes(d: Draw) -> Calls:
    kind = d.pick(0, 0o100000, 0o100000, 0o010000, 0o140000, 0o040000, 0o020000)
    mode = kind | d.pick(0o644, 0o600, 0o4755)
    # The null device: it does no harm whatever is done to it.
    return [("mknodat", (d.base(), d.name(), d.word(mode), 0x103))]


def _rights(d: Draw) -> Calls:
    owner = d.pick(0, 1000, 65534, -1)
    match d.below(9):
        case 0:
            return [("chmod", (d.name(), d.mode()))]
        case 1:
            return [("fchmod", (d.fd(), d.mode()))]
        case 2:
            return [("fchmodat", (d.base(), d.name(), d.mode()))]
        case 3:
            flags = d.word(d.pick(0, 0x100, 0x1000))
            return [("fchmodat2", (d.base(), d.name(), d.mode(), flags))]
        case 4:
            return [("chown", (d.name(), d.word(owner), d.word(owner)))]
        case 5:
            return [("lchown", (d.name(), d.word(owner), d.word(owner)))]
        case 6:
            return [("fchown", (d.fd(), d.word(owner), d.word(owner)))]
        case 7:
            flags = d.word(d.pick(0, 0x100, 0x1000))
            return [("fchownat", (d.base(), d.name(), d.word(owner), d.word(owner), flags))]
    return [("fchmod", (d.fd(), d.pick(0o4755, 0o2755, 0o6777)))]


def _times(d: Draw) -> Calls:
    when = d.pick(0, ["now"], ["old", d.below(99)], ["hex", "ff" * 32], ["hex", "00" * 32])
    match d.below(4):
        case 0:
            return [("utimes", (d.name(), d.pick(0, ["old", d.below(99)], ["hex", "ff" * 32])))]
        case 1:
            return [("utimensat", (d.fd(), 0, when, d.word(0)))]
        case 2:
            return [("utime", (d.name(), d.pick(0, ["hex", "05" + "00" * 7 + "09" + "00" * 7])))]
    flags = d.word(d.pick(0, 0x100, 0x1000))
    return [("utimensat", (d.base(), d.name(), when, flags))]


def _attributes(d: Draw) -> Calls:
    key = ["p", d.pick("user.a", "user.b", "user.", "trusted.x", "security.x", "x", "user." + "k" * 250)]
    size = d.word(d.pick(0, 1, 30, 5000))
    value = d.pick(["d", 5000], 0, 8) if d.chance(0.1) else ["d", 5000]
    flags = d.word(d.pick(0, 0, 1, 2, 3))
    match d.below(5):
        case 0:
            return [("setxattr", (d.name(), key, value, size, flags))]
        case 1:
            return [("fsetxattr", (d.fd(), key, value, size, flags))]
        case 2:
            return [("lsetxattr", (d.name(), key, value, size, flags))]
        case 3:
            return [("removexattr", (d.name(), key))]
    return [("fremovexattr", (d.fd(), key))]


def _locks(d: Draw) -> Calls:
    if d.chance(0.4):
        return [("flock", (d.fd(), d.word(d.pick(5, 6, 8, 6))))]
    kind, whence = d.pick(0, 1, 2, 1), d.pick(0, 0, 0, 1, 2)
    lock = kind.to_bytes(2, "little") + whence.to_bytes(2, "little") + bytes(4)
    lock += d.below(9000).to_bytes(8, "little") + d.pick(0, 1, 100).to_bytes(8, "little") + bytes(8)
    # F_SETLK, F_GETLK and both for open files; never those that wait.
    return [("fcntl", (d.fd(), d.pick(6, 6, 5, 37, 36), ["hex", lock.hex()]))]


def _descriptors(d: Draw) -> Calls:
    match d.below(8):
        case 0:
            return [("dup", (d.fd(),))]
        case 1:
            return [
                ("dup3", (d.fd(), d.pick(3, 5, 9, 40, ["fd", d.below(8)]), d.word(d.pick(0, os.O_CLOEXEC))))
            ]
        case 2:
            return [("fcntl", (d.fd(), d.pick(1, 3, 0, 1030), d.word(0)))]
        case 3:
            flags = d.pick(os.O_APPEND, 0, os.O_NONBLOCK, os.O_APPEND | os.O_NOATIME, os.O_DIRECT)
            return [("fcntl", (d.fd(), 4, flags))]
        case 4 if d.chance(0.3):
            return [("close_range", (d.pick(3, 5, 8), d.pick(5, 8, 20), 0))]
    return [("close", (d.fd(),))]


def _places(d: Draw) -> Calls:
    match d.below(4):
        case 0:
            return [("fchdir", (d.fd(),))]
        case 1:
            return [("umask", (d.pick(0, 0o22, 0o77, 0o777, 0o27),))]
    return [("chdir", (["p", d.pick("d", "d/e", "$", "../out", "l", "none", "locked", "sticky")],))]


def _lookups(d: Draw) -> Calls:
    match d.below(5):
        case 0:
            return [
                (
                    "faccessat2",
                    (d.base(), d.name(), d.word(d.below(8)), d.word(d.pick(0, 0x100, 0x200, 0x1000))),
                )
            ]
        case 1:
            return [("readlinkat", (d.base(), d.name(), ["o", 5000], d.word(d.pick(5000, 10))))]
        case 2:
            return [("access", (d.name(), d.word(d.below(8))))]
        case 3:
            return [("getxattr", (d.name(), ["p", "user.a"], ["o", 5000], 5000))]
    return [("statx", (d.base(), d.name(), d.word(d.pick(0, 0x100, 0x800)), 0x7FF, ["o", 256]))]


def _mapping(d: Draw) -> Calls:
    calls: Calls = [("map", (d.fd(), d.pick(4096, 8192, 100), d.pick(3, 1, 3), d.pick(0, 4096)))]
    calls += [("store", (d.below(4000),))] * d.below(3)
    return [*calls, ("msync", (["map"], 4096, d.word(d.pick(1, 4, 2, 5))))][: 1 + d.below(4)]


def _changes(d: Draw) -> Calls:
    """What changes what the caller may do, and how it is seen."""
    match d.below(9):
        case 0:
            user = d.pick(65534, 1000, 0)
            return [("setresuid", (-1, user, -1))]
        case 1:
            return [("setresgid", (-1, d.pick(65534, 0), -1))]
        case 2:
            return [("setfsuid", (d.pick(65534, 1000, 0),))]
        case 3:
            return [("capset", (["hex", "22050820" + "00" * 4], ["hex", "00" * 24]))]
        case 4:
            return [("unshare", (d.pick(0x400, 0x200, 0x600),))]
        case 5:
            return [("prctl", (4, d.pick(0, 1), 0, 0, 0))]
        case 6:
            limit = d.pick(0, 100, 5000, (1 << 64) - 1)
            return [("prlimit64", (0, 1, ["hex", (limit.to_bytes(8, "little") * 2).hex()], 0))]
        case 7:
            limit = d.pick(5, 7, 64)
            return [
                ("prlimit64", (0, 7, ["hex", (limit.to_bytes(8, "little") + b"\0\1" + bytes(6)).hex()], 0))
            ]
    handled = (1 << d.pick(1, 8, 7)) | 1 << d.pick(4, 5, 12)
    return [
        ("landlock_create_ruleset", (["hex", handled.to_bytes(8, "little").hex()], 8, 0)),
        ("landlock_restrict_self", (["last"], 0)),
    ]


def _chroot(d: Draw) -> Calls:
    return [("chroot", (["p", d.pick("d", ".", "$")],))]


_MAKERS: list[Callable[[Draw], Calls]] = []
_WEIGHTS: list[int] = []
for _make, _weight in (
    *((_open, 26), (_write, 16), (_read, 8), (_shape, 6), (_sync, 3), (_copy, 6), (_names, 18), (_nodes, 2)),
    *(
        (_rights, 6),
        (_times, 4),
        (_attributes, 3),
        (_locks, 4),
        (_descriptors, 7),
        (_places, 4),
        (_lookups, 4),
    ),
    *((_mapping, 2), (_changes, 3), (_chroot, 1)),
):
    _MAKERS.append(_make)
    _WEIGHTS.append(_weight)
