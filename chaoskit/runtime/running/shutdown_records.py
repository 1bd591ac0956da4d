"""The options of a shutdown, the outcome of each callback, and the events."""

from __future__ import annotations

import enum
import math
import signal
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.config import option
from chaoskit.runtime.failures.taxonomy import TransientError
from chaoskit.runtime.numbers import is_number
from chaoskit.runtime.observing.events import Event

__all__ = [
    "CallbackOrder",
    "ShutdownFinished",
    "ShutdownForced",
    "ShutdownOptions",
    "ShutdownRequested",
    "ShutdownStep",
    "ShuttingDown",
]


class CallbackOrder(enum.Enum):
    """The order of the callbacks: ``reverse`` undoes first what was built last."""

    REVERSE = "reverse"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class ShutdownOptions:
    """``grace`` is counted from the request. Container platforms kill after 30 s: be done before that."""

    # Kubernetes' terminationGracePeriodSeconds is 30, and the kill after that leaves no stacks. Docker's is
    # 10.
    grace: float = option(default=25.0, above=0, unit="s")
    order: CallbackOrder = CallbackOrder.REVERSE
    signals: tuple[str, ...] = ("SIGTERM", "SIGINT")

    def __post_init__(self) -> None:
        if not (is_number(self.grace) and 0 < self.grace < math.inf):
            raise wrong("grace", self.grace, "seconds, more than 0 and finite")
        kinds.instance("order", self.order, CallbackOrder)
        object.__setattr__(self, "signals", kinds.listed("signals", self.signals, str))
        for name in self.signals:
            # The system does not let a process catch these two.
            if name in ("SIGKILL", "SIGSTOP") or not isinstance(getattr(signal, name, None), signal.Signals):
                raise wrong("signal", name, "a signal of this platform, such as SIGTERM or SIGINT")


@dataclass(frozen=True, slots=True)
class ShutdownStep:
    """The outcome of a callback: its name, the seconds that it took, and its error if it failed."""

    name: str
    seconds: float
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownRequested(Event):
    """The program was asked to end, by a signal or by a call."""

    name: ClassVar[str] = "shutdown.requested"
    reason: str
    grace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownForced(Event):
    """The program did not end in time, or was asked twice; the process ends now."""

    name: ClassVar[str] = "shutdown.forced"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownFinished(Event):
    """All callbacks have run; ``failed`` names those that raised."""

    name: ClassVar[str] = "shutdown.finished"
    steps: int
    failed: tuple[str, ...]


class ShuttingDown(TransientError):
    """A new operation was refused because the program is about to end."""

    default_hint = "Leave the work for the next start, or for another process."
