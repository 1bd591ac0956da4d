"""How plainly a fault shows a bug, compared with others."""

from __future__ import annotations

from chaoskit.core.schedule import Fault
from chaoskit.faults.shapes import Afterwards, Damaged, Errno, Filled, Killed, Shortened, Torn, shape_of

# Errors that every programmer knows; the rest send a reader to the manual page first.
_COMMON = ("ENOSPC", "EIO", "EACCES", "EPERM")


def plainness(fault: Fault) -> int:
    """A number that is smaller for faults that need less explaining.

    First a kill, then a power loss, a common errno, a damaged file, a short transfer or a full disk, and then
    the rest: rare errnos, lost replies, parts of writes, signals and delays.
    """
    shape = shape_of(fault)
    match shape:
        case Killed(caller=False):
            return 0
        case Afterwards():
            return 1
        case Errno(name=name):
            return 2 + shape.lasting if name in _COMMON else 5
        case Damaged():
            return 3
        case Shortened() | Filled():
            return 4
        case Torn():
            return 5
    return 6
