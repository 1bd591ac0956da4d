"""What a wait can be ended by: the tables of the kernel that are asked."""

from __future__ import annotations

import os
import socket

import pytest

from chaoskit.inject.kernel.clock.reach import _inet_peers


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"]
)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
def test_the_other_end_is_found_in_each_table(family, host, kind):
    """A table is left out if the kernel counts no socket of its kind, and not when there is one."""
    try:
        probe = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with probe as listener, socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.bind((host, 0))
        there = listener if kind == socket.SOCK_STREAM else bound
        with socket.socket(family, kind) as here:
            here.connect(there.getsockname()[:2])
            connected, reaching, _ = _inet_peers(os.getpid())
            if kind == socket.SOCK_DGRAM:
                assert reaching[_inode(here)] == _inode(there)
                return
            with listener.accept()[0] as accepted:
                connected, _, _ = _inet_peers(os.getpid())
                assert connected[_inode(here)] == _inode(accepted)
                assert connected[_inode(accepted)] == _inode(here)


def _inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino
