"""When a dead worker is restarted: one rule for threads, tasks and programs.

The limit is that of Erlang's supervisors (intensity and period): after more than ``restarts`` deaths within
``within`` seconds the supervisor gives up instead of hiding a lasting fault.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.config import option
from chaoskit.runtime.numbers import is_number, whole

__all__ = ["Deaths", "Restart", "SupervisionOptions"]


class Restart(enum.Enum):
    """When a worker is restarted: after an error, whenever it ends, or never (its death is then reported)."""

    ON_ERROR = "on-error"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class SupervisionOptions:
    """The limits of restarts, and when a silent worker counts as stuck (None: never).

    ``delay`` is the pause before a restart. It doubles with each death within ``within``, up to
    ``delay_cap``: otherwise a service that is down for a moment would use up all restarts before it is back.
    Raises ``UsageError`` for a number out of its bounds.
    """

    # Erlang/OTP's default is one restart in five seconds. Networks fail in bursts: hence three in a minute.
    restarts: int = option(default=3, minimum=0)
    within: float = option(default=60.0, above=0, unit="s")
    delay: float = option(default=0.5, minimum=0, unit="s", help="before the first restart; it doubles")
    delay_cap: float = option(default=30.0, minimum=0, unit="s")
    restart: Restart = Restart.ON_ERROR
    stuck_after: float | None = option(default=None, above=0, unit="s")
    check_every: float = option(default=1.0, above=0, unit="s")
    join_timeout: float = option(default=10.0, minimum=0, unit="s")

    def __post_init__(self) -> None:
        whole("restarts", self.restarts, 0)
        for name in ("delay", "delay_cap", "join_timeout"):
            if not (is_number(value := getattr(self, name)) and 0 <= value < math.inf):
                raise wrong(name, value, "seconds, zero or more")
        for name in ("within", "check_every", *(["stuck_after"] if self.stuck_after is not None else [])):
            if not (is_number(value := getattr(self, name)) and 0 < value < math.inf):
                raise wrong(name, value, "seconds, more than 0")
        kinds.instance("restart", self.restart, Restart)


class Deaths:
    """The deaths of a worker that still count; they decide what follows the next one."""

    __slots__ = ("_moments", "_options")

    def __init__(self, options: SupervisionOptions) -> None:
        self._options = options
        self._moments: deque[float] = deque()

    def wants_restart(self, error: BaseException | None) -> bool:
        """Return True if the rule asks for a restart after ``error`` (None: the worker returned)."""
        rule = self._options.restart
        return rule is Restart.ALWAYS or (rule is Restart.ON_ERROR and error is not None)

    def pause(self, now: float) -> float | None:
        """Count a death at ``now``; return the seconds before the restart, or None if there were too many."""
        moments, options = self._moments, self._options
        moments.append(now)
        # A sliding window, as in Erlang: a total would some day give up a worker that dies once a week.
        while moments and moments[0] <= now - options.within:
            moments.popleft()
        if len(moments) > options.restarts:
            return None
        return min(options.delay * 2.0 ** (len(moments) - 1), options.delay_cap)
