"""The functions of ``os`` and ``fcntl`` that act on an open file, and how their calls are understood."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from chaoskit.core.operation import FileDetail
from chaoskit.inject.inprocess import facts
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.files import Args, Original, Words, argument
from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.wrapping import Understand

_SETLK, _SETLKW = 6, 7
"""F_SETLK and F_SETLKW of fcntl(2), which is what ``lockf`` calls."""
_LOCK_NB = 4
"""``LOCK_NB`` of flock(2): fail instead of waiting."""


def reading(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.read`` or ``os.pread``."""
    fd, wanted = argument(args, words, 0, "fd"), argument(args, words, 1, "length", 0)
    offset = argument(args, words, 2, "offset")
    file = run.descriptors.get(fd)
    if file is None:
        return None
    # The amount available decides what a short read is.
    size = _size(run, fd)
    at = offset if offset is not None else _at(run, fd)
    rest = max(0, min(wanted, size - at)) if size is not None and at is not None else wanted
    more = () if offset is None else (offset,)
    return PythonCall(
        *("read", file.target, "read" if offset is None else "pread64", lambda: original(fd, wanted, *more)),
        lambda: facts.of_descriptor(run.machine, fd, file, offset=offset, length=wanted),
        part=lambda count: original(fd, count, *more),
        length=rest,
        retried=True,
    )


def writing(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.write`` or ``os.pwrite``."""
    fd, data = argument(args, words, 0, "fd"), argument(args, words, 1, "data", b"")
    offset = argument(args, words, 2, "offset")
    file = run.descriptors.get(fd)
    if file is None:
        return None
    view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
    more = () if offset is None else (offset,)
    return PythonCall(
        *("write", file.target, "write" if offset is None else "pwrite64", lambda: original(fd, data, *more)),
        lambda: facts.of_descriptor(run.machine, fd, file, offset=offset, length=len(view), data=view),
        part=lambda count: original(fd, bytes(view[:count]), *more),
        length=len(view),
        retried=True,
    )


def gathered(family: str, run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of one of ``readv``, ``writev``, ``preadv`` and ``pwritev``."""
    fd, buffers = argument(args, words, 0, "fd"), list(argument(args, words, 1, "buffers", ()))
    offset = argument(args, words, 2, "offset")
    file = run.descriptors.get(fd)
    if file is None:
        return None
    data = b"".join(bytes(one) for one in buffers)
    kept = data if family == "write" else None
    at = original.__name__.startswith("p")

    def part(count: int) -> Any:
        rest, fitting = count, []
        for one in buffers:
            fitting.append(memoryview(one).cast("B")[:rest])
            rest = max(0, rest - len(memoryview(one).cast("B")))
        return original(fd, fitting, *((offset,) if at else ()))

    return PythonCall(
        *(family, file.target, original.__name__, partial(original, *args, **words)),
        lambda: facts.of_descriptor(run.machine, fd, file, offset=offset, length=len(data), data=kept),
        part=part,
        length=len(data),
        retried=True,
    )


def closing(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.close``."""
    fd = argument(args, words, 0, "fd")
    file = run.descriptors.get(fd)
    if file is None:
        return None

    def after(value: Any, detail: Any) -> Any:
        run.descriptors.closed(fd)
        return detail

    return PythonCall(
        *("close", file.target, "close", partial(original, *args, **words)),
        lambda: facts.of_descriptor(run.machine, fd, file),
        after=after,
    )


def plainly(family: str, run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call that takes only a file: ``fsync``, ``fdatasync``."""
    fd = argument(args, words, 0, "fd")
    # A file object may stand for its descriptor: os.fsync(file).
    fd = fd if isinstance(fd, int) else fd.fileno() if hasattr(fd, "fileno") else fd
    file = run.descriptors.get(fd)
    if file is None:
        return None
    return PythonCall(
        *(family, file.target, family, lambda: original(fd)),
        lambda: facts.of_descriptor(run.machine, fd, file),
        retried=True,
    )


def everything(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall:
    """A call of ``os.sync``, which concerns every file."""
    return PythonCall("sync", ".", "sync", original, FileDetail)


def reserving(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.posix_fallocate``."""
    fd, offset, length = args[:3] if len(args) > 2 else (None, 0, 0)
    file = run.descriptors.get(fd)
    if file is None or fd is None:
        return None
    return PythonCall(
        *("fallocate", file.target, "fallocate", lambda: original(fd, offset, length)),
        lambda: facts.of_descriptor(run.machine, fd, file, offset=offset, length=length),
        retried=True,
    )


def copying(family: str, run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.copy_file_range`` or ``os.sendfile`` into a file below the root, or out of one."""
    in_place, out_place = (0, 1) if family == "copy_file_range" else (1, 0)
    names = ("src", "dst") if family == "copy_file_range" else ("out_fd", "in_fd")
    source, goal = (argument(args, words, place, names[place]) for place in (in_place, out_place))
    start_place, count_place = (3, 2) if family == "copy_file_range" else (2, 3)
    start = argument(args, words, start_place, "offset_src" if family == "copy_file_range" else "offset")
    count = argument(args, words, count_place, "count", 0)
    file, read_from = run.descriptors.get(goal), run.descriptors.get(source)
    if file is None:
        if read_from is None:
            return None
        # Seen from its source a copy to elsewhere is a read.
        return PythonCall(
            *("read", read_from.target, family, partial(original, *args, **words)),
            lambda: facts.of_descriptor(run.machine, source, read_from, offset=start, length=count),
            retried=True,
        )
    at = start if start is not None else run.machine.position(source)
    # The data that a copy is about to read, shortened if very long.
    data = os.pread(source, min(count, 1 << 26), at) if hasattr(os, "pread") else b""

    def part(count: int) -> Any:
        if "count" in words:
            return original(*args, **{**words, "count": count})
        return original(*args[:count_place], count, *args[count_place + 1 :], **words)

    return PythonCall(
        *(family, file.target, family, partial(original, *args, **words)),
        lambda: facts.of_descriptor(
            run.machine, goal, file, length=len(data), data=data, source_offset=at, offset=None
        ),
        part=part,
        length=len(data),
        retried=True,
    )


def locking(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``fcntl.flock`` or ``fcntl.lockf``."""
    fd, operation = args[0], args[1] if len(args) > 1 else 0
    fd = fd if isinstance(fd, int) else fd.fileno()
    file = run.descriptors.get(fd)
    if file is None:
        return None
    whole = original.__name__ == "flock"
    flags = operation if whole else _SETLK if operation & _LOCK_NB else _SETLKW
    return PythonCall(
        *("lock", file.target, "flock" if whole else "fcntl", partial(original, *args, **words)),
        lambda: facts.of_descriptor(run.machine, fd, file, flags=flags),
        result=lambda _: 0,
        retried=True,
    )


def duplicating(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.dup`` or ``os.dup2``: not an operation, but another descriptor of a file."""
    file = run.descriptors.get(argument(args, words, 0, "fd"))
    if file is None:
        return None

    def do() -> Any:
        fd = original(*args, **words)
        run.descriptors.opened(fd, file)
        return fd

    return PythonCall("", file.target, original.__name__, do, FileDetail)


def _size(run: WatchedRun, fd: int) -> int | None:
    try:
        return int(run.machine.os.fstat(fd).st_size)
    except OSError:
        return None


def _at(run: WatchedRun, fd: int) -> int | None:
    try:
        return run.machine.position(fd)
    except OSError:
        return None


TABLE: Mapping[str, Understand] = {
    "read": reading,
    "pread": reading,
    "readv": partial(gathered, "read"),
    "preadv": partial(gathered, "read"),
    "write": writing,
    "pwrite": writing,
    "writev": partial(gathered, "write"),
    "pwritev": partial(gathered, "write"),
    "close": closing,
    "fsync": partial(plainly, "fsync"),
    "fdatasync": partial(plainly, "fdatasync"),
    "sync": everything,
    "posix_fallocate": reserving,
    "copy_file_range": partial(copying, "copy_file_range"),
    "sendfile": partial(copying, "sendfile"),
    "dup": duplicating,
    "dup2": duplicating,
}
"""What a call of each function is, by its name in ``os``."""

LOCKS: Mapping[str, Understand] = {"flock": locking, "lockf": locking}
"""The functions of ``fcntl``, if that module exists."""
