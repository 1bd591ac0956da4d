"""What can go wrong: sets of faults, as data. Backends make them happen, the explorer decides when.

A fault is offered only where the call can really fail that way; ``chaoskit.faults.errnos`` has the
table with its sources. Sets are combined with ``|`` and narrowed with ``on`` and ``only``::

    faults.disk().on(path="*.json").only("ENOSPC", "EIO") | faults.kill()
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from chaoskit.core.errors import UsageError
from chaoskit.faults import delays, power, signals
from chaoskit.faults.disks import Disk
from chaoskit.faults.kills import Kill
from chaoskit.faults.narrowing import unknown
from chaoskit.faults.sets import Family, FaultSet

__all__ = [
    "Family",
    "FaultSet",
    "all",
    "default",
    "delay",
    "disk",
    "fsync_lies",
    "kill",
    "power_loss",
    "signal",
]

_FAMILIES = ("disk", "kill", "power_loss", "fsync_lies", "signal", "delay", "default", "all")


def disk() -> FaultSet:
    """Errors of file calls, once and persistent, short transfers, lost replies, full disk, late errors."""
    return FaultSet.of(Disk())


def kill() -> FaultSet:
    """SIGKILL before each change of the disk, inside large writes, at each promise and at the end."""
    return FaultSet.of(Kill())


def power_loss(model: str | Iterable[str] | None = None) -> FaultSet:
    """The power goes after an operation: each state that the disk may then be in is a case.

    ``model`` names one or several persistence models (``"ext4"``, ``"xfs"``, ``"btrfs"``,
    ``"strict"``, ``"ext4-late"``); without it those of the scenario count.

    Raises:
        UsageError: for a model that does not exist.
    """
    return FaultSet.of(power.PowerLoss(power.checked_models(model)))


def fsync_lies() -> FaultSet:
    """An fsync fails with EIO, later ones succeed, and after a power loss what they promised is missing.

    The models are those of the scenario.
    """
    return FaultSet.of(power.FsyncLies())


def signal(signal: str | int) -> FaultSet:
    """One signal that a program may handle, at every call: ``"SIGTERM"``, 15 or ``signal.SIGTERM``.

    Raises:
        UsageError: for what is no signal of this machine, and for SIGKILL and SIGSTOP.
    """
    return FaultSet.of(signals.Sent(signals.checked(signal)))


def delay(seconds: float) -> FaultSet:
    """Every call may take ``seconds`` longer. Each case then takes that long, too."""
    return FaultSet.of(delays.Delay(delays.checked(seconds)))


def default() -> FaultSet:
    """What ``@scenario()`` means without faults: everything that no program is spared."""
    return disk() | kill() | power_loss()


def all() -> FaultSet:
    """Every family that needs no choice of the user's, and SIGTERM. Delays are not in it: they cost time."""
    return default() | fsync_lies() | signal("SIGTERM")


class UnknownFamily(UsageError, AttributeError):
    """A family of faults that does not exist; also an AttributeError, so that ``hasattr`` works."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        raise UnknownFamily(str(unknown("family of faults", name, list(_FAMILIES))))
