"""Carrying a program out in this process and its children, and noting what came of each call."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import re
import select
import struct
import threading
from functools import cache
from typing import Any, NoReturn

from wild.numbers import NUMBERS
from wild.programs import Program, Step, Value

_LIBRARY = ctypes.CDLL(None, use_errno=True)
_LIBRARY.syscall.restype = ctypes.c_long
_LIBRARY.mmap.restype = ctypes.c_void_p
_PIPES = 900
"""Where the pipes between actors are: no program has a descriptor with such a number."""
_ACTORS = 4
_DATA = 1 << 17
"""Bytes that programs have to write."""
_OPENS = frozenset({"open", "openat", "openat2", "creat", "dup", "dup3", "landlock_create_ruleset"})
_NEVER = (1 << 30) - 2
"""UTIME_OMIT, by which a time stays as it is (utimensat(2))."""
_DIGITS = re.compile(r"\d+")
_NUMBERED = re.compile(r"#\d+(?= \(deleted\)$)")


class Notes:
    """What came of the steps, in memory that all actors share: it is there also if the program is killed."""

    def __init__(self, room: int = 1 << 20) -> None:
        self._memory = mmap.mmap(-1, room)

    def clear(self) -> None:
        """Begin again."""
        self._memory[:8] = bytes(8)

    def add(self, note: Any) -> None:
        """Note one thing more. Only the actor whose turn it is may do so."""
        text = json.dumps(note).encode() + b"\n"
        used = int.from_bytes(self._memory[:8], "little")
        if 8 + used + len(text) <= len(self._memory):
            self._memory[8 + used : 8 + used + len(text)] = text
            self._memory[:8] = (used + len(text)).to_bytes(8, "little")

    def all(self) -> list[Any]:
        """Everything that was noted."""
        used = int.from_bytes(self._memory[:8], "little")
        return [json.loads(line) for line in self._memory[8 : 8 + used].splitlines()]


def play(program: Program, top: str, notes: Notes) -> None:
    """Play in this process, which has nothing open afterwards but what the program has opened.

    ``top`` is the working directory. What came of it is in ``notes``.
    """
    os.closerange(0, _PIPES + 2 * _ACTORS)
    os.chdir(top)
    os.umask(0o022)
    for _ in range(3):
        os.open(os.devnull, os.O_RDWR)
    _Player(program, top, notes).conduct()


class _Player:
    """One process of the program: its descriptors, and the actors that are its threads."""

    def __init__(self, program: Program, top: str, notes: Notes) -> None:
        self._program = program
        self._top = top
        self._notes = notes
        self._descriptors: list[int] = []
        self._last = 0
        self._mapped: tuple[int, int] | None = None
        self._there = {0}
        self._leader = 0
        for actor in range(_ACTORS):
            for end, fd in enumerate(os.pipe()):
                os.dup2(fd, _PIPES + 2 * actor + end)
                os.close(fd)

    # Turns. A byte in an actor's pipe is the step that it does next; the conductor's is told that it is done.

    def conduct(self) -> None:
        """Let each step be done by its actor, then let all go."""
        for number, step in enumerate(self._program.steps):
            if step.actor == 0:
                self._do(number, step)
            elif step.actor in self._there:
                self._tell(step.actor, number)
                self._heard(0)
            else:
                continue
            if step.name in ("fork", "thread"):
                self._there.add(len(self._there))
        # While all are there: a process that ends may still hold its locks when it has said so.
        self._notes.add(["locks", _locks(_names_of(os.path.dirname(self._top)))])
        # Threads before the process that they are in, whose end is theirs.
        for actor in sorted(self._there - {0}, reverse=True):
            self._tell(actor, 0xFFFF)
            self._heard(0)
        self._end()

    def _tell(self, actor: int, number: int) -> None:
        os.write(_PIPES + 2 * actor + 1, struct.pack("=H", number))

    def _heard(self, actor: int) -> int:
        return int(struct.unpack("=H", os.read(_PIPES + 2 * actor, 2))[0])

    def _act(self, actor: int) -> None:
        while (number := self._heard(actor)) != 0xFFFF:
            self._do(number, self._program.steps[number])
            self._tell(0, 0)
        # A thread says nothing of its process, whose leader does.
        if actor == self._leader:
            self._end()
        self._tell(0, 0)

    def _do(self, number: int, step: Step) -> None:
        if step.name in ("fork", "thread"):
            self._begin(number, step)
        else:
            self._notes.add([number, step.name, *self._outcome(step)])

    def _begin(self, number: int, step: Step) -> None:
        """Start another actor. Its number is how many were started before this step."""
        before = self._program.steps[:number]
        actor = 1 + sum(one.name in ("fork", "thread") for one in before)
        if step.name == "thread":
            threading.Thread(target=self._act, args=(actor,), daemon=True).start()
            return
        parent = os.getpid()
        if os.fork() == 0:
            self._become(actor, parent)

    def _become(self, actor: int, parent: int) -> NoReturn:
        try:
            self._leader = actor
            self._act(actor)
        finally:
            os._exit(0)

    # Calls.

    def _outcome(self, step: Step) -> list[Any]:
        if step.name == "map":
            return [self._map(step)]
        if step.name == "store":
            return [self._store(step)]
        number = NUMBERS.get(step.name)
        if number is None:
            return [None]
        args = _Arguments(self._descriptors, self._last, self._mapped, self._top)
        given = [args.word(value) for value in step.args]
        result = _LIBRARY.syscall(ctypes.c_long(number), *given)
        result = -ctypes.get_errno() if result == -1 else result
        if result >= 0 and (step.name in _OPENS or (step.name == "fcntl" and step.args[1] in (0, 1030))):
            self._descriptors.append(result)
        self._last = result
        return [result, *args.looked_at(step.name, result)]

    def _map(self, step: Step) -> int:
        fd, length, protection, offset = step.args
        args = _Arguments(self._descriptors, 0, None, self._top)
        numbers = [args.word(fd), ctypes.c_long(int(offset))]  # type: ignore[arg-type]
        found = _LIBRARY.syscall(ctypes.c_long(NUMBERS["mmap"]), 0, int(length), int(protection), 1, *numbers)
        if found in (-1, None):
            return -ctypes.get_errno()
        self._mapped = found, int(protection)
        return 0

    def _store(self, step: Step) -> int:
        """Write into the mapping; a number of its own where there is none, or it may not be written to."""
        if self._mapped is None or not self._mapped[1] & 2:
            return -9999
        # By way of the kernel, which answers EFAULT behind the end of the file where a store would kill.
        assert not isinstance(step.args[0], list)
        reading, writing = os.pipe()
        try:
            os.write(writing, b"S" * 50)
            address = ctypes.c_void_p(self._mapped[0] + step.args[0])
            got = _LIBRARY.read(reading, address, 50)
            return -ctypes.get_errno() if got < 0 else int(got)
        finally:
            os.close(reading)
            os.close(writing)

    # The end.

    def _end(self) -> None:
        """Note what is open, and where."""
        found = []
        for fd in sorted(set(self._descriptors)):
            if 0 <= fd < _PIPES:
                found.append([fd, *_described(fd, self._top)])
        self._notes.add(["open", self._leader, found, _or_error(os.getcwd), os.umask(0o022)])


class _Arguments:
    """Makes the arguments of one call, and holds what they point to."""

    def __init__(self, descriptors: list[int], last: int, mapped: tuple[int, int] | None, top: str) -> None:
        self._descriptors = descriptors
        self._result = last
        self._mapped = mapped
        self._top = top
        self._kept: list[Any] = []
        self._rooms: list[tuple[Any, int]] = []
        self._positions: list[Any] = []

    def word(self, value: Value) -> ctypes.c_long:
        """One argument as the kernel takes it."""
        number = self._number(value) if isinstance(value, list) else value
        number &= (1 << 64) - 1
        return ctypes.c_long(number - (1 << 64) if number >> 63 else number)

    def _number(self, value: list[Any]) -> int:
        kind, *rest = value
        return int(getattr(self, f"_{kind}")(*rest))

    def _address(self, data: bytes) -> int:
        held = ctypes.create_string_buffer(data, max(len(data), 1))
        self._kept.append(held)
        return ctypes.addressof(held)

    def _fd(self, which: int) -> int:
        known = self._descriptors
        return known[which % len(known)] if known else 555

    def _p(self, name: str) -> int:
        return self._address(os.fsencode(name.replace("$", self._top)) + b"\0")

    def _d(self, size: int) -> int:
        # Behind it all programs find the same, and the end of memory at the same place.
        return _data() + size % 26

    def _o(self, size: int) -> int:
        held = ctypes.create_string_buffer(max(size, 1))
        self._kept.append(held)
        self._rooms.append((held, size))
        return ctypes.addressof(held)

    def _cut(self, size: int) -> int:
        """The address of ``size`` bytes behind which no memory can be read."""
        return _data() + _DATA - size

    def _v(self, parts: list[Any]) -> int:
        pairs = [(self._number(part), part[1] if part[0] != "cut" else part[1] + 10) for part in parts]
        entries = b"".join(struct.pack("=QQ", address, size) for address, size in pairs)
        # As many as the kernel takes: a count that is too high finds empty ones.
        return self._address(entries.ljust(16 * 1024, bytes(1)))

    def _v1(self, length: int) -> int:
        return self._address(struct.pack("=QQ", self._d(5000), length))

    def _off(self, position: int) -> int:
        held = ctypes.c_int64(position)
        self._kept.append(held)
        self._positions.append(held)
        return ctypes.addressof(held)

    def _hex(self, text: str) -> int:
        held = ctypes.create_string_buffer(bytes.fromhex(text), max(len(text) // 2, 1))
        self._kept.append(held)
        if len(text) == 64:  # struct flock, in which F_GETLK says who holds the lock.
            self._rooms.append((held, 24))
        return ctypes.addressof(held)

    def _how(self, flags: int, mode: Value, resolve: int, tail: str) -> int:
        assert not isinstance(mode, list)
        return self._address(
            struct.pack("=QQQ", flags, mode & ((1 << 64) - 1), resolve) + bytes.fromhex(tail)
        )

    def _now(self) -> int:
        return self._address(struct.pack("=qqqq", 0, _NEVER, 0, _NEVER + 1))

    def _old(self, second: int) -> int:
        return self._address(struct.pack("=qqqq", second, 5000, second + 1000, 7000))

    def _map(self) -> int:
        return 0x1000 if self._mapped is None else self._mapped[0]

    def _last(self) -> int:
        return self._result

    def looked_at(self, name: str, result: int) -> list[Any]:
        """What the call has written."""
        found: list[Any] = [position.value for position in self._positions]
        for held, size in self._rooms:
            data = bytes(held[:size])
            match name:
                case "getdents64":
                    found.append(_entries(data[: max(result, 0)]))
                case "statx":
                    # Links, owners, mode and size; numbers and times differ.
                    found.append([data[16:30].hex(), data[40:48].hex()])
                case "readlinkat":
                    found.append(_DIGITS.sub("#", data.rstrip(b"\0").decode(errors="replace")))
                case _:
                    found.append(_short(data))
        return found


@cache
def _data() -> int:
    """The address of :data:`_DATA` bytes behind which there is memory that cannot be read."""
    size = ctypes.c_size_t(_DATA + 4096)
    start = _LIBRARY.mmap(None, size, 3, 0x22, -1, ctypes.c_long(0))
    ctypes.memmove(start, bytes(65 + at % 26 for at in range(_DATA)), _DATA)
    _LIBRARY.mprotect(ctypes.c_void_p(start + _DATA), ctypes.c_size_t(4096), 0)
    return int(start)


def _short(data: bytes) -> str:
    text = data.rstrip(b"\0")
    return f"{text[:40].hex()}+{len(text)}:{hash_of(text)}"


def hash_of(data: bytes) -> str:
    """A short text that differs for other data, and is the same in every process."""
    import hashlib

    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _entries(data: bytes) -> list[str]:
    """The names in what getdents64 gave, sorted: their order is the file system's affair."""
    names, at = [], 0
    while at + 19 <= len(data):
        length, kind = struct.unpack_from("=HB", data, at + 16)
        names.append(f"{kind}:{data[at + 19 : at + length].split(bytes(1))[0].decode(errors='replace')}")
        at += max(length, 19)
    return sorted(names)


def _or_error(ask: Any) -> Any:
    try:
        return ask()
    except OSError as error:
        return -(error.errno or 0)


def _described(fd: int, top: str) -> list[Any]:
    import fcntl

    link = _or_error(lambda: os.readlink(f"/proc/self/fd/{fd}"))
    if isinstance(link, str):
        # A file without a name is called by its inode, and a pipe by its number.
        link = _NUMBERED.sub("#", link) if link.startswith("/") else _DIGITS.sub("#", link)
    size = _or_error(lambda: os.fstat(fd).st_size)
    place = _or_error(lambda: os.lseek(fd, 0, os.SEEK_CUR))
    modes = [_or_error(lambda kind=kind: fcntl.fcntl(fd, kind)) for kind in (1, 3)]
    return [link, size, place, *modes]


def _names_of(top: str) -> dict[str, str]:
    names = {}
    for where, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = os.path.join(where, name)
            found = _or_error(lambda path=path: os.lstat(path))
            if not isinstance(found, int):
                key = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
                names[key] = os.path.relpath(path, top)
    return names


def _locks(names: dict[str, str]) -> list[str]:
    """The locks on files of the tree, as /proc/locks lists them, without numbers of processes."""
    text = _or_error(lambda: open("/proc/locks").read())  # noqa: SIM115
    if isinstance(text, int):
        return [str(text)]
    found = []
    # Once each: a lock that another process takes while this is read shows the one before it again.
    for fields in dict.fromkeys(tuple(line.split()[1:]) for line in text.splitlines()):
        if fields and fields[0] == "->":
            continue
        if len(fields) >= 7 and fields[4] in names:
            found.append(f"{fields[0]} {fields[2]} {names[fields[4]]!r} {fields[5]} {fields[6]}")
    return sorted(found)


def wait(pid: int, seconds: float) -> int | None:
    """The wait status of a child; None if it did not end within ``seconds``."""
    pidfd = os.pidfd_open(pid)
    try:
        if not select.select([pidfd], [], [], seconds)[0]:
            return None
    finally:
        os.close(pidfd)
    return os.waitpid(pid, 0)[1]
