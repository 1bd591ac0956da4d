"""A test process with other rights than the usual: what it may not ask for ends no run, and says why."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend

_LIBRARY = ctypes.CDLL(None, use_errno=True)
_CAP_SYS_RESOURCE, _CAPSET, _CAPGET = 24, {"x86_64": 126, "aarch64": 91}, {"x86_64": 125, "aarch64": 90}
NOT_ROOT = os.geteuid() != 0


def _without_resource() -> None:
    """Give CAP_SYS_RESOURCE up, which the containers of Docker do not have."""
    machine = os.uname().machine
    header, data = (
        ctypes.create_string_buffer(struct.pack("=II", 0x20080522, 0)),
        ctypes.create_string_buffer(24),
    )
    _LIBRARY.syscall(_CAPGET[machine], header, data)
    words = list(struct.unpack("=6I", data.raw))
    kept = [word & ~(1 << _CAP_SYS_RESOURCE) if place < 3 else word for place, word in enumerate(words)]
    data.raw = struct.pack("=6I", *kept)
    assert _LIBRARY.syscall(_CAPSET[machine], header, data) == 0


def _elsewhere(work: Callable[[], Any]) -> Any:
    """What ``work`` returns in another process, whose rights it may change; JSON."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        text = file.read()
    os.waitpid(pid, 0)
    return json.loads(text)


@pytest.mark.skipif(NOT_ROOT, reason="only root can become another user")
def test_the_limits_of_another_user_need_not_be_known(root: str) -> None:
    """Where they may not be asked for (prlimit(2)), calls end as they do alone."""
    os.chmod(root, 0o777)

    def calls() -> list[int]:
        fd = os.open(f"{root}/a", os.O_RDWR | os.O_CREAT, 0o666)
        os.seteuid(65534)
        found = [os.write(fd, b"data")]
        os.ftruncate(fd, 2)
        os.posix_fallocate(fd, 0, 100)
        found.append(os.fstat(fd).st_size)
        os.close(os.open(f"{root}/b", os.O_WRONLY | os.O_CREAT))
        found.append(os.stat(f"{root}/b").st_uid)
        return found

    def watched() -> list[Any]:
        _without_resource()
        ran = KernelBackend().run(calls, Plan(root, record=True))
        return [ran.value, sorted({caveat.kind for caveat in ran.caveats})]

    assert _elsewhere(watched) == [[4, 100, 65534], ["unconfirmed"]]
