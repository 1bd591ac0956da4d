"""Local sockets (``AF_UNIX``) are left alone; a caveat names those that lead to a server.

A relay would show its own identity (``SO_PEERCRED``) and pass no descriptors on (``SCM_RIGHTS``), and most
programs use such sockets for one or the other.
"""

from __future__ import annotations

import os
import socket

from chaoskit.inject.kernel.log import Log
from chaoskit.inject.kernel.network.calls import raw_address
from chaoskit.inject.kernel.network.table import NetSpec
from chaoskit.inject.kernel.workload import paths
from chaoskit.inject.kernel.workload.tree import Task

_LISTENS = 0x10000
"""``__SO_ACCEPTCON`` among the flags of /proc/net/unix."""
_EVERYDAY = ("/run/nscd/", "/var/run/nscd/", "/run/systemd/", "/dev/log", "/run/dbus/", "/var/run/dbus/")
"""Servers to which the C library and the desktop talk by themselves, without the program's knowledge."""


class LocalSockets:
    """The servers that listened before the workload started, by the names of their sockets."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._before = _listening()

    def called(self, spec: NetSpec, task: Task, args: tuple[int, ...]) -> None:
        """Add a caveat for a connection to one of them, whose traffic is not seen or struck."""
        raw = raw_address(spec, task, args)
        if int.from_bytes(raw[:2], "little") != socket.AF_UNIX:
            return
        name = os.fsdecode(raw[2:].split(b"\0")[0])
        path = paths.resolve(paths.as_seen(task.tid, None, name), True) if name else ""
        if not path or path.startswith(_EVERYDAY) or not {name, path} & self._before:
            return
        text = (
            f"what is said over {path} is not struck: it is a socket of this machine, and its server "
            "listened before the run. Have the server listen on 127.0.0.1 too, and declare it: "
            "chaos.peer(name, address=…)."
        )
        self._log.caveat("unrelayed", path, text)


def _listening() -> frozenset[str]:
    """The names of all local sockets that accept connections."""
    try:
        with open("/proc/net/unix", "rb") as file:
            rows = [line.split(None, 7) for line in file.read().splitlines()[1:]]
    except OSError:
        return frozenset()
    return frozenset(os.fsdecode(row[7]) for row in rows if len(row) == 8 and int(row[3], 16) & _LISTENS)
