"""What a workload says is not trusted: it runs no code here, ends no run, and forges nothing."""

from __future__ import annotations

import errno
import os
import pickle
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.inject.base import Command, Ran
from chaoskit.inject.kernel.seccomp import bpf
from chaoskit.inject.kernel.workload import child

Run = Callable[..., Ran]


class Attack:
    """A pickle that, when it is read, makes a directory in the reading process."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def _told(data: bytes) -> int:
    """The errno of a write to the control descriptor."""
    try:
        os.write(bpf.CONTROL, data)
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.parametrize("kind", [b"P", b"R", b"E", b"U"])
def test_a_pickle_is_never_read(root: str, run: Run, tmp_path: Any, kind: bytes) -> None:
    """Neither a stray one nor one with the secret in front does anything."""
    attack = pickle.dumps(Attack(f"{tmp_path}/here"))
    attack = attack if kind == b"P" else struct.pack("=Q", len(attack)) + attack + pickle.dumps([])

    def work() -> list[int]:
        return [_told(kind + attack), _told(child._secret + kind + attack)]

    ran = run(work)
    assert ran.value == [errno.EBADF, errno.EINVAL]
    assert not os.path.exists(f"{tmp_path}/here")
    assert ran.promised == ()


@pytest.mark.parametrize("data", [b"", b"P", b"R", b"x" * 100, b"R" + b"\xff" * 40, b"\0" * 9])
def test_a_stray_write_finds_no_descriptor(run: Run, data: bytes) -> None:
    """It gets the error that it gets without us, and the run goes on."""
    ran = run(lambda: _told(data))
    assert (ran.ok, ran.value) == (True, errno.EBADF)


@pytest.mark.parametrize("data", [b"", b"P[]", b"P[1,2]", b"R[1]", b"E[1,2]", b"X[1]", b"P{}", b"R[1,{}]"])
def test_a_damaged_message_is_refused(run: Run, data: bytes) -> None:
    """With the secret in front it is an error of the call, and no more."""
    ran = run(lambda: _told(child._secret + data))
    assert (ran.ok, ran.value, ran.promised) == (True, errno.EINVAL, ())


def test_a_message_that_is_too_long_is_refused_unread(run: Run) -> None:
    """What a workload may send is bounded; the error says by what."""

    def work() -> int:
        import ctypes

        library = ctypes.CDLL(None, use_errno=True)
        secret = child._secret
        library.write(bpf.CONTROL, secret, ctypes.c_size_t(1 << 40))
        return ctypes.get_errno()

    assert run(work).value == errno.EMSGSIZE


def test_a_command_can_promise_nothing_but_lines(run: Run, tmp_path: Any) -> None:
    """A program that was executed has no way to the control descriptor."""
    code = f"""
import errno, os, pickle
class Attack:
    def __reduce__(self):
        return os.mkdir, ({str(tmp_path / "here")!r},)
for data in (b"P" + pickle.dumps(Attack()), b"P[1]", b"R[1,[]]"):
    try:
        os.write(2**31 - 1, data)
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    ran = run(Command((sys.executable, "-c", code)))
    assert ran.ok
    assert ran.promised == ("EBADF",) * 3
    assert not (tmp_path / "here").exists()
