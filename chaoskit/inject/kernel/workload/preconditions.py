"""What must hold in the test process before a workload is forked from it."""

from __future__ import annotations

import os
import signal
import sys
import threading

from chaoskit.core.errors import UsageError
from chaoskit.inject import channel
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel.workload import paths

_HARMLESS = ("execnet.", "pytest_timeout.", "chaoskit.explore.", "chaoskit.inject.", "chaoskit.plugin.")
"""Modules whose threads hold no lock that a forked child could need. Not all of chaoskit: the threads of
its runtime run what the user gave them."""


def check(plan: Plan) -> frozenset[int]:
    """Refuse to fork where the result would be wrong; return the descriptors that are open.

    Raises:
        UsageError: naming what stands in the way and what to do about it.
    """
    if channel.inside():
        raise UsageError(
            "run() was called inside of a workload; expected a call from the test itself. "
            "Call the function directly: its operations are seen already."
        )
    # With SIG_IGN children are reaped by the kernel, and their status is lost (wait(2)).
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        raise UsageError(
            "SIGCHLD is ignored in the test process while run() is called; expected its default, since the "
            "kernel then keeps no status of the workload. Set it back with signal.signal(signal.SIGCHLD, "
            "signal.SIG_DFL)."
        )
    _no_other_threads()
    opened = _nothing_open(plan.root)
    # In a case nothing is read of mappings, so one that stays open does no harm.
    if plan.record:
        _nothing_mapped(plan.root)
    return opened


def _no_other_threads() -> None:
    """A lock that another thread holds stays locked for ever in the child."""
    own = threading.get_ident()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    others = []
    for ident, frame in sys._current_frames().items():
        if ident != own and not _harmless(frame):
            others.append(names.get(ident, f"thread {ident}"))
    if others:
        raise UsageError(
            f"the test process has other threads ({', '.join(sorted(others))}); expected none, since a lock "
            "that one of them holds would stay locked in the forked workload. Stop them before run(), or "
            "start them inside of the workload."
        )


def _harmless(frame: object) -> bool:
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))  # type: ignore[attr-defined]
        if f"{module}.".startswith(_HARMLESS):
            return True
        frame = frame.f_back  # type: ignore[attr-defined]
    return False


def _nothing_open(root: str) -> frozenset[int]:
    """An open file would survive the kill, and make the recovery look better than it is."""
    opened = set()
    directory = os.open("/proc/self/fd", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for name in os.listdir(directory):
            try:
                link = os.readlink(name, dir_fd=directory)
            except OSError:
                continue  # The descriptor that the listing itself has used.
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
