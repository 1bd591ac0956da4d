"""Conditions on the test process before a workload is forked from it."""

from __future__ import annotations

import os
import signal
import socket
import stat

from chaoskit.core.errors import BackendUnavailable, UsageError
from chaoskit.inject import channel, processes
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.workload import companions, paths


def check(plan: Plan) -> frozenset[int]:
    """Refuse to fork if the result would be wrong; return the open descriptors.

    Raises:
        UsageError: naming the obstacle and the remedy. BackendUnavailable: if no call of a workload could be
        seen from this process.
    """
    # pyfakefs replaces the module ``os`` here as everywhere.
    if type(os).__module__.startswith("pyfakefs"):
        raise UsageError(
            "pyfakefs is active while run() is called; expected the real file system: pyfakefs keeps files "
            "in memory, and its calls never reach the kernel, where faults strike. Leave out the fixture fs "
            "(or the Patcher) in this test, and work below chaos.path."
        )
    if channel.inside():
        raise UsageError(
            "run() was called inside a workload; expected a call from the test itself. "
            "Call the function directly: its operations are seen already."
        )
    if why := undumpable():
        raise BackendUnavailable(f"no call of a workload could be seen. {why}")
    # With SIG_IGN the kernel reaps children, and their status is lost (wait(2)).
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        raise UsageError(
            "SIGCHLD is ignored in the test process while run() is called; expected its default, since the "
            "kernel then keeps no status of the workload. Set it back with signal.signal(signal.SIGCHLD, "
            "signal.SIG_DFL)."
        )
    companions.check(plan.threads)
    opened = _nothing_open(plan.root)
    _nothing_connected(plan)
    # Cases do not read mappings, so an open one does no harm there.
    if plan.record:
        _nothing_mapped(plan.root)
    return opened


def undumpable() -> str:
    """Why children of this process cannot be inspected, with a remedy; empty if they can.

    The kernel makes a process that has changed its user undumpable (prctl(2)), and its forks inherit that.
    """
    if abi.libc().prctl(abi.PR_GET_DUMPABLE) == 1 or os.access("/proc/self/mem", os.R_OK):
        return ""
    return (
        "The test process has changed its user or its rights, so that the kernel lets root alone look into "
        "its children. Start pytest as that user, drop the rights inside the workload, or call "
        "prctl(PR_SET_DUMPABLE, 1) after the change."
    )


def _nothing_open(root: str) -> frozenset[int]:
    """Refuse open files: they would survive the kill, and make the recovery look better than it is."""
    opened = set()
    directory = os.open("/proc/self/fd", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for name in os.listdir(directory):
            try:
                link = os.readlink(name, dir_fd=directory)
            except OSError:
                continue  # This is the descriptor of the listing itself.
            opened.add(int(name))
            if not link.startswith(root):
                continue
            target = paths.below(root, link)
            if target is not None:
                raise UsageError(
                    f"descriptor {name} ({target}) is open in the test process while run() is called; "
                    "expected none below chaos.path, since it would survive the kill. Close the file, "
                    "connection or store of the set-up first, and open it again for recovery."
                )
    finally:
        os.close(directory)
    return frozenset(opened - {directory})


def _nothing_connected(plan: Plan) -> None:
    """Refuse connections to peers: an inherited one bypasses the relay, and its traffic would be unseen."""
    peers = {(one.host, one.port): one.name for one in plan.peers}
    # Only with peers, since sockets to others do no harm.
    for fd in processes.open_files() if peers else ():
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            with socket.socket(fileno=os.dup(fd)) as found:
                name = peers.get(found.getpeername()[:2])
        except OSError:
            continue  # It is listening, or closed by now.
        if name is not None:
            raise UsageError(
                f"descriptor {fd} is connected to {name} in the test process while run() is called; expected "
                "no connection to a peer: nothing on it would be seen or struck. Close it, and connect "
                "inside the workload."
            )


def _nothing_mapped(root: str) -> None:
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            position = line.find(root)
            if position > 0 and paths.below(root, line[position:].rstrip("\n")) is not None:
                target = paths.below(root, line[position:].rstrip("\n"))
                raise UsageError(
                    f"{target} is mapped into the test process while run() is called; expected no mapping "
                    "below chaos.path, since it would survive the kill. Close what has mapped it first."
                )
