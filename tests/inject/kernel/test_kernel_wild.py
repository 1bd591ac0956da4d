"""Calls with wild arguments do what they do without us, and end no run."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.inject.base import Ran

Run = Callable[..., Ran]

_LIBRARY = ctypes.CDLL(None, use_errno=True)
_OPENAT2 = 437
_CREATE = os.O_CREAT | os.O_WRONLY


def _result(value: int) -> int:
    return -ctypes.get_errno() if value == -1 else value


def _sign(value: int) -> int:
    """0 for any success: numbers of descriptors may differ from one process to the other."""
    return min(value, 0)


def _openat2(path: str, flags: int, mode: int, size: int = 24, tail: bytes = b"") -> int:
    how = struct.pack("=QQQ", flags, mode, 0) + tail
    name = ctypes.create_string_buffer(path.encode())
    result = _LIBRARY.syscall(ctypes.c_long(_OPENAT2), -100, name, how, ctypes.c_size_t(size))
    return _sign(_result(result))


def _opens(root: str) -> list[int]:
    """Results of opens with arguments that hardly any program gives."""
    mine = f"{root}/a".encode()
    return [
        _sign(_result(_LIBRARY.open(mine, os.O_RDONLY, ctypes.c_uint(1 << 31)))),
        _sign(_result(_LIBRARY.open(mine, ctypes.c_int(-(1 << 31) | os.O_RDONLY), 0))),
        _openat2(f"{root}/a", 1 << 40, 0),
        _openat2(f"{root}/a", os.O_RDONLY, 0o600),
        _openat2(f"{root}/b", _CREATE, 1 << 20),
        _openat2(f"{root}/c", _CREATE, 0o600, size=16),
        _openat2(f"{root}/d", _CREATE, 0o600, size=32, tail=b"x" * 8),
        _openat2(f"{root}/e", _CREATE, 0o600, size=32, tail=b"\0" * 8),
        _openat2(f"{root}/f", _CREATE, 0o600),
    ]


def _transfers(root: str) -> list[int]:
    """Results of writes that cannot be as long as they say, and on what cannot be written."""
    fd = os.open(f"{root}/a", os.O_RDWR)
    data = ctypes.create_string_buffer(b"12345")
    page = 1 << 40
    vector = struct.pack("=QQ", ctypes.addressof(data), page)
    opened = os.open(f"{root}/a", os.O_PATH)
    return [
        int(_result(_LIBRARY.writev(fd, vector, 1)) != 0),
        _result(_LIBRARY.write(opened, data, 5)),
        _result(_LIBRARY.ftruncate(opened, ctypes.c_long(1))),
        _result(_LIBRARY.pwrite(fd, data, 5, ctypes.c_long(-5))),
        _result(_LIBRARY.ftruncate(fd, ctypes.c_long(-1))),
    ]


@pytest.mark.parametrize("work", [_opens, _transfers])
def test_wild_arguments_get_the_kernels_answer(root: str, run: Run, work: Callable[[str], list[int]]) -> None:
    """Results are those that the program gets alone, and the run goes on."""
    Path(f"{root}/a").write_text("x")
    ran = run(lambda: work(root), record=True)
    seen = sorted(os.listdir(root))
    for name in seen:
        os.unlink(f"{root}/{name}")
    Path(f"{root}/a").write_text("x")
    alone = os.fork()
    if alone == 0:
        os._exit(0 if work(root) == ran.value else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(alone, 0)[1]) == 0, ran.value
    assert sorted(os.listdir(root)) == seen
    assert ran.ok


def test_a_lock_of_the_test_process_is_kept(root: str, run: Run, tmp_path: Path) -> None:
    """A file from outside that the workload links in is not opened here: closing it would unlock it."""
    outside = Path(root).parent / f"locked-{os.getpid()}"
    with open(outside, "w") as file:
        file.write("x")
        file.flush()
        fcntl.lockf(file, fcntl.LOCK_EX)
        try:
            assert run(lambda: os.link(outside, f"{root}/linked"), record=True).ok
            child = os.fork()
            if child == 0:
                try:
                    fcntl.lockf(os.open(outside, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    os._exit(0 if error.errno in (errno.EAGAIN, errno.EACCES) else 2)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            os.unlink(outside)
