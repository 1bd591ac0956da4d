"""What can go wrong: sets of faults, as data. Backends make them happen, the explorer decides when.

A fault is offered only where the call can really fail that way; ``chaoskit.faults.errnos`` has the
table with its sources. Sets are combined with ``|`` and narrowed with ``on`` and ``only``::

    faults.disk().on(path="*.json").only("ENOSPC", "EIO") | faults.kill()
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from chaoskit.core.errors import UsageError
from chaoskit.faults import (
    clocks,
    corruptions,
    delays,
    interrupts,
    memories,
    networks,
    power,
    signals,
)
from chaoskit.faults.disks import Disk
from chaoskit.faults.inside import checked_packages
from chaoskit.faults.interference import Interference
from chaoskit.faults.kills import Kill
from chaoskit.faults.narrowing import unknown
from chaoskit.faults.sets import Family, FaultSet
from chaoskit.faults.shares import Share

__all__ = [
    "Family",
    "FaultSet",
    "all",
    "clock",
    "corruption",
    "default",
    "delay",
    "disk",
    "fsync_lies",
    "http",
    "interference",
    "interrupt",
    "kill",
    "memory",
    "network",
    "power_loss",
    "share",
    "signal",
]

_FAMILIES = (
    *("disk", "share", "interference", "kill", "power_loss", "fsync_lies", "network", "http"),
    *("corruption", "memory", "interrupt", "signal", "delay", "clock", "default", "all"),
)


def disk() -> FaultSet:
    """The local disk: transient and lasting errors of file calls, short transfers, full disk, late errors."""
    return FaultSet.of(Disk())


def share() -> FaultSet:
    """What network file systems add: ESTALE, lost replies, soft mounts, names that blink or show late."""
    return FaultSet.of(Share(), "share")


def interference() -> FaultSet:
    """What other processes may do: a name that is gone, as if removed by a quicker process, or taken; a link
    in its place; a directory that is no longer empty; a lock that is held.

    ``disk()`` offers these, too, but only where another process of the run really makes or removes that name,
    or takes that lock.
    """
    return FaultSet.of(Interference(), "interference")


def kill() -> FaultSet:
    """SIGKILL before each change of the disk, inside large writes, around each request, at each promise
    and at the end.
    """
    return FaultSet.of(Kill())


def power_loss(model: str | Iterable[str] | None = None) -> FaultSet:
    """The power fails after an operation: each state in which the disk may then be is a case.

    ``model`` names one or several persistence models (``"ext4"``, ``"xfs"``, ``"btrfs"``, ``"portable"``,
    ``"strict"``, ``"ext4-ordered"``); the default is those of the scenario.

    Raises:
        UsageError: for a model that does not exist.
    """
    return FaultSet.of(power.PowerLoss(power.checked_models(model)))


def fsync_lies() -> FaultSet:
    """An fsync fails with EIO, later ones succeed, and a power loss then loses what they promised.

    The models are those of the scenario.
    """
    return FaultSet.of(power.FsyncLies())


def network() -> networks.NetworkFaults:
    """Connections that fail, names that do not resolve, requests and answers that do not get through.

    Four faults at each connection and each exchange. ``network().slow()``, ``.bytes()`` and
    ``.thorough()`` have more.
    """
    return networks.NetworkFaults.of(networks.NetworkFamily())


def http() -> networks.HttpFaults:
    """Answers of HTTP in clear text: 401, 429, 500 and 503, a gateway's 504, a request delivered twice, a
    body that is cut or is not JSON, an answer without its length. ``http().aws("s3")`` adds the errors of a
    service of Amazon's.
    """
    return networks.HttpFaults.of(networks.Http())


def memory(*packages: str) -> memories.MemoryFaults:
    """Memory that runs out: MemoryError at allocations of the program's own lines.

    Some ten cases for a line that allocates much: its first and last execution, and in each the allocations
    1, 2, 4 … and the last. If a run has several processes, also the kernel's kill of the largest one.
    ``memory().lasting()`` and ``.limited()`` add more. The lines of the project count, and those of the named
    ``packages`` (``"diskcache"``); allocations in other code that a line calls count as the line's.

    Raises:
        UsageError: for anything but the name of a package.
    """
    return memories.MemoryFaults.of(memories.Shortage(checked_packages("memory", packages)))


def interrupt(*packages: str) -> FaultSet:
    """Ctrl-C and cancellation: one case for each place in the program's own code where they can occur.

    KeyboardInterrupt when a function begins, a loop turns, or a call has returned; SIGINT at the first
    system call of each Python stack; cancellation of the task at each await that waits. ``packages`` as for
    :func:`memory`.

    Raises:
        UsageError: for anything but the name of a package.
    """
    return FaultSet.of(interrupts.Interrupt(checked_packages("interrupt", packages)))


def corruption(*, per_file: int = corruptions.PER_FILE) -> corruptions.CorruptionFaults:
    """Damage to files, by their format, just before they are opened to be read: cut, flipped, torn, hostile.

    At most ``per_file`` damages for each content of a file; one of each kind before a second of any.
    ``corruption().inputs()`` is limited to files that existed before the first run, ``.detectable()`` to
    damage that the format itself reveals.

    Raises:
        UsageError: unless ``per_file`` is a whole number from 1.
    """
    return corruptions.CorruptionFaults.of(corruptions.Corruption(corruptions.checked_per_file(per_file)))


def signal(signal: str | int) -> FaultSet:
    """One signal that a program may handle, at every call: ``"SIGTERM"``, 15 or ``signal.SIGTERM``.

    Raises:
        UsageError: for a signal that this machine does not have, and for SIGKILL and SIGSTOP.
    """
    return FaultSet.of(signals.Sent(signals.checked(signal)))


def delay(seconds: float) -> FaultSet:
    """Every call may take ``seconds`` longer. If time is real, each case takes that long, too."""
    return FaultSet.of(delays.Delay(delays.checked(seconds)))


def clock(whole: bool = False) -> FaultSet:
    """The wall clock is set back or ahead by an hour, or back by a microsecond, at each line that reads it.

    At each line that sleeps, the machine is suspended for an hour: the wall clock goes on, the monotonic one
    does not. ``whole`` adds a read that shows the same time again, a clock that stands still, one set to the
    ends of 32-bit time, one that drifts; and sleeps that are interrupted, late, or span a step. The
    scenario's time must be virtual, which is the default.
    """
    return FaultSet.of(clocks.Clocks(whole))


def default() -> FaultSet:
    """What ``@scenario()`` means without faults: everything that can happen to any program.

    Corruption is limited to damage that a reader of the format can detect, in files that existed before.
    """
    return disk() | kill() | power_loss() | fsync_lies() | network() | corruption().inputs().detectable()


def all() -> FaultSet:
    """Every family that needs no choice by the user, and SIGTERM. Delays are excluded: they cost time."""
    whole = default() | corruption() | http() | share() | interference()
    return whole | memory() | interrupt() | signal("SIGTERM")


class UnknownFamily(UsageError, AttributeError):
    """A family of faults that does not exist; also an AttributeError, so that ``hasattr`` works."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        raise UnknownFamily(str(unknown("family of faults", name, list(_FAMILIES))))
