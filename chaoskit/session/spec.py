"""The checked arguments of a scenario, from the decorator or the marker."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from chaoskit import faults as _faults
from chaoskit.core.errors import wrong
from chaoskit.faults import FaultSet
from chaoskit.faults.power import DEFAULT_MODELS, MODELS
from chaoskit.inject.backends import AUTO, NAMES
from chaoskit.session import known

VIRTUAL, REAL = "virtual", "real"
BACKENDS = (AUTO, *NAMES)


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """See :func:`chaoskit.scenario` for what each field means."""

    faults: FaultSet
    depth: int = 1
    budget: int | None = None
    backend: str = AUTO
    model: tuple[str, ...] = DEFAULT_MODELS
    allow_inconclusive: float = 0.0
    timeout: float | None = None
    strike_recovery: bool = False
    invariants: tuple[Callable[..., None], ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    oracle: str = "warn"
    time: str = VIRTUAL
    threads: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    """The arguments that were written out, so that an ini file fills in only the others."""

    @classmethod
    def checked(cls, args: Sequence[object], kwargs: Mapping[str, Any]) -> ScenarioSpec:
        """Check the arguments of a decorator or marker.

        Raises:
            UsageError: naming the argument, its value, and what was expected.
        """
        names = [f.name for f in fields(cls) if f.name not in ("faults", "given")]
        for name in kwargs:
            if name not in names:
                raise wrong("argument of scenario", name, f"one of {', '.join(names)}")
        values: dict[str, Any] = {name: _CHECKS[name](value) for name, value in kwargs.items()}
        return cls(_united(args), **values, given=frozenset(kwargs))


def _united(args: Sequence[object]) -> FaultSet:
    if not args:
        return _faults.default()
    united = FaultSet()
    for value in args:
        # @scenario without parentheses hands the test itself over.
        if inspect.isfunction(value) and value.__module__ != _faults.__name__:
            hint = "Write @scenario() with parentheses to take the default faults."
            raise wrong("scenario's first argument", value, "a set of faults such as faults.disk()", hint)
        if not isinstance(value, FaultSet):
            name = getattr(value, "__name__", "")
            hint = f"Call it: faults.{name}()." if callable(value) else ""
            raise wrong("argument of scenario", value, "a set of faults such as faults.disk()", hint)
        united = united | value
    return united


def positive_number(name: str, value: object) -> int:
    """``value`` if it is an int of at least 1, else UsageError."""
    # True is an int: depth=True would be taken for 1.
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise wrong(name, value, "a whole number of at least 1")
    return value


def _depth(value: object) -> int:
    number = positive_number("depth", value)
    if number > 2:
        raise wrong("depth", value, "1 or 2", "More faults in one case: replay a schedule that lists them.")
    return number


def _backend(value: object) -> str:
    if value not in BACKENDS:
        raise wrong("backend", value, f"one of {', '.join(BACKENDS)}")
    return str(value)


def _model(value: object) -> tuple[str, ...]:
    models = (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]
    for one in models:
        if one not in MODELS:
            raise wrong("model", one, f"names out of {', '.join(MODELS)}")
    if not models:
        raise wrong("model", value, f"at least one of {', '.join(MODELS)}")
    return tuple(map(str, models))


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise wrong("allow_inconclusive", value, "a share between 0 and 1")
    return float(value)


def _timeout(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise wrong("timeout", value, "seconds, more than 0")
    return float(value)


def _strike_recovery(value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong("strike_recovery", value, "True or False")
    return value


def _time(value: object) -> str:
    if value not in (VIRTUAL, REAL):
        raise wrong("time", value, f"{VIRTUAL!r} or {REAL!r}")
    return str(value)


def _invariants(value: object) -> tuple[Callable[..., None], ...]:
    several = (value,) if callable(value) else value
    if not isinstance(several, list | tuple) or not all(map(callable, several)):
        raise wrong("invariants", value, "functions such as those of chaoskit.invariants")
    return tuple(several)


ORACLES = ("warn", "strict", "off")


def _oracle(value: object) -> str:
    if value not in ORACLES:
        raise wrong("oracle", value, f"one of {', '.join(map(repr, ORACLES))}")
    return str(value)


def _threads(value: object) -> tuple[str, ...]:
    several = (value,) if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not all(isinstance(one, str) and one for one in several):
        raise wrong("threads", value, "globs for names of threads or plugins, as in ('pytest-httpserver*',)")
    return tuple(several)


_CHECKS: dict[str, Callable[[object], Any]] = {
    "depth": _depth,
    "budget": lambda value: None if value is None else positive_number("budget", value),
    "backend": _backend,
    "model": _model,
    "allow_inconclusive": _share,
    "timeout": _timeout,
    "strike_recovery": _strike_recovery,
    "invariants": _invariants,
    "known": lambda value: known.checked("known", value),
    "oracle": _oracle,
    "time": _time,
    "threads": _threads,
}
