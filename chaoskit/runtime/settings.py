"""The runtime's configuration as one record: every strategy's options, from files and the environment.

The strategies' option records are used as they are. A retry policy is spelt out by
:class:`RetrySettings`, since clocks, hooks and functions cannot be written in a file.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from chaoskit.core.errors import wrong
from chaoskit.runtime.breaker.options import BreakerOptions
from chaoskit.runtime.config import (
    Live,
    Loaded,
    from_environment,
    from_file,
    from_mapping,
    from_pyproject,
    load,
    option,
)
from chaoskit.runtime.failures import taxonomy
from chaoskit.runtime.failures.taxonomy import Category, ResilienceError
from chaoskit.runtime.observing.anomaly import AnomalyOptions
from chaoskit.runtime.observing.details import DetailOptions
from chaoskit.runtime.observing.metrics import MetricsOptions
from chaoskit.runtime.retrying import backoff
from chaoskit.runtime.retrying.backoff import Backoff, Jitter
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.policy import RetryPolicy
from chaoskit.runtime.running.jobs import JobOptions
from chaoskit.runtime.running.queues import QueueOptions
from chaoskit.runtime.running.shutdown_records import ShutdownOptions
from chaoskit.runtime.running.supervise import SupervisionOptions

__all__ = [
    "BudgetSettings",
    "LogSettings",
    "RetrySettings",
    "RuntimeSettings",
    "WaitSettings",
    "live_settings",
    "read_settings",
]

_JITTERS: Mapping[str, Jitter] = {"none": backoff.NONE, "equal": backoff.EQUAL, "full": backoff.FULL}


def _default(name: str) -> Any:
    """The default of the policy: written there, so that the two cannot differ."""
    return next(f.default for f in dataclasses.fields(RetryPolicy) if f.name == name)


@dataclass(frozen=True, slots=True)
class WaitSettings:
    """A backoff. ``jitter`` is ``none``, ``equal``, ``full``, or a share: 0.2 is plus and minus 20 %.

    ``factor`` is for exponential ones, ``step`` for linear ones; ``constant`` waits ``initial``.
    """

    kind: Literal["exponential", "linear", "constant", "decorrelated"] = "exponential"
    initial: float = option(default=_default("wait").initial, minimum=0, unit="s")
    cap: float = option(default=_default("wait").cap, minimum=0, maximum=backoff.LONGEST_WAIT, unit="s")
    factor: float = option(default=2.0, minimum=1)
    step: float = option(default=0.0, minimum=0, unit="s")
    jitter: float | Literal["none", "equal", "full"] = option(
        default="equal", minimum=0, maximum=1, unit="ratio"
    )

    def __post_init__(self) -> None:
        # Made once and thrown away: what the backoff refuses becomes a problem of the file, with its line.
        self.backoff()

    def backoff(self) -> Backoff:
        """The backoff that this describes."""
        jitter = _JITTERS[self.jitter] if isinstance(self.jitter, str) else backoff.band(self.jitter)
        if self.kind == "constant":
            return backoff.Constant(self.initial, jitter)
        if self.kind == "linear":
            return backoff.Linear(self.initial, self.step, self.cap, jitter)
        if self.kind == "decorrelated":
            return backoff.Decorrelated(self.initial, self.cap)
        return backoff.Exponential(self.initial, self.cap, self.factor, jitter)


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """A separate retry budget for the policy: so many retries a window, or a share of the requests."""

    floor: int = option(default=10, minimum=0)
    ratio: float = option(default=0.1, minimum=0, maximum=1, unit="ratio")
    window: float = option(default=60.0, above=0, unit="s")


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """What a file can say of a :class:`~chaoskit.runtime.RetryPolicy`; see there.

    ``on`` has no default: categories (``transient``) and names of exception classes. ``waits`` maps a
    category, or a class of the taxonomy, to another backoff.

    Raises:
        UsageError: for an empty ``on``, and an unknown name in ``waits``.
    """

    on: tuple[Category | type[BaseException], ...]
    attempts: int | None = option(default=_default("attempts"), minimum=1)
    wait: WaitSettings = field(default_factory=WaitSettings)
    waits: dict[str, WaitSettings] = field(default_factory=dict)
    deadline: float | None = option(default=_default("deadline"), above=0, unit="s")
    attempt_timeout: float | None = option(default=_default("attempt_timeout"), above=0, unit="s")
    retry_after_cap: float = option(default=_default("retry_after_cap"), minimum=0, unit="s")
    quiet: int = option(
        default=_default("quiet"), minimum=0, help="first failures that are not worth a warning"
    )
    generators: Literal["refuse", "restart", "pass"] = _default("generators")
    budget: BudgetSettings | None = None

    def __post_init__(self) -> None:
        if not self.on:
            raise wrong("on", self.on, "at least one category or exception class")
        for name in self.waits:
            # For its error; the policy asks again when it is made.
            _category(name)

    def policy(self, name: str = "", **code: Any) -> RetryPolicy:
        """The policy, with what only code can give (``clock``, ``wake``, ``listeners``) added."""
        given: dict[str, Any] = {
            "on": self.on,
            "attempts": self.attempts,
            "wait": self.wait.backoff(),
            "waits": {_category(n): w.backoff() for n, w in self.waits.items()},
            "deadline": self.deadline,
            "attempt_timeout": self.attempt_timeout,
            "retry_after_cap": self.retry_after_cap,
            "quiet": self.quiet,
            "generators": self.generators,
            "name": name,
        }
        if self.budget is not None:
            budget = self.budget
            given["budget"] = RetryBudget(floor=budget.floor, ratio=budget.ratio, window=budget.window)
        # Code is the stronger layer here, too.
        return RetryPolicy(**{**given, **code})


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the program logs; see :func:`chaoskit.runtime.observing.logs.log_to`."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    json_lines: bool = True


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """Everything. In ``retry``, ``breakers`` and ``queues`` the others start from the entry ``default``."""

    retry: dict[str, RetrySettings] = field(default_factory=dict)
    breakers: dict[str, BreakerOptions] = field(default_factory=dict)
    queues: dict[str, QueueOptions] = field(default_factory=dict)
    jobs: JobOptions = field(default_factory=JobOptions)
    metrics: MetricsOptions = field(default_factory=MetricsOptions)
    anomaly: AnomalyOptions = field(default_factory=AnomalyOptions)
    shutdown: ShutdownOptions = field(default_factory=ShutdownOptions)
    supervision: SupervisionOptions = field(default_factory=SupervisionOptions)
    logging: LogSettings = field(default_factory=LogSettings)
    error_details: DetailOptions | None = None

    def policies(self, **code: Any) -> dict[str, RetryPolicy]:
        """All retry policies by name; ``code`` is given to each (``wake``, ``listeners``, ``clock``)."""
        return {name: settings.policy(name, **code) for name, settings in self.retry.items()}


def read_settings(
    file: str | os.PathLike[str] | None = None,
    *,
    code: Mapping[str, Any] | None = None,
    prefix: str = "CHAOSKIT_",
    environment: Mapping[str, str] | None = None,
    pyproject: str | os.PathLike[str] = "pyproject.toml",
) -> Loaded[RuntimeSettings]:
    """The settings from all usual places, the weakest first: ``[tool.chaoskit.runtime]`` of
    ``pyproject.toml``, ``file``, the environment (only variables that begin with ``prefix``), ``code``.

    A variable without a double underscore that is no option here is not for us: such
    prefixes are shared. Raises ``ConfigurationProblems`` with everything that is wrong.
    """
    layers = [from_pyproject(pyproject, table="tool.chaoskit.runtime")]
    if file is not None:
        layers.append(from_file(Path(file)))
    layers += [
        # After the files: what is set for one start is meant to win.
        from_environment(prefix, environment, ignore=_others(prefix, environment)),
        from_mapping(code or {}),
    ]
    return load(RuntimeSettings, *layers)


def _others(prefix: str, environment: Mapping[str, str] | None) -> list[str]:
    """The variables under ``prefix`` that set nothing of ours. All options are groups: they have ``__``."""
    groups = {one.name for one in fields(RuntimeSettings)}
    # What has a double underscore is not passed over: a misspelt option has to be an error.
    names = list(os.environ if environment is None else environment)
    rests = {name: name[len(prefix) :].lower() for name in names if name.upper().startswith(prefix.upper())}
    return [name for name, rest in rests.items() if "__" not in rest and rest not in groups]


def live_settings(file: str | os.PathLike[str] | None = None, **sources: Any) -> Live[RuntimeSettings]:
    """:func:`read_settings`, and again at each ``reload()``."""
    return Live(lambda: read_settings(file, **sources))


def _category(name: str) -> Category | type[ResilienceError]:
    # Categories are in lower case and classes are not, so no name means both.
    if name in set(Category):
        return Category(name)
    found = getattr(taxonomy, name, None)
    if isinstance(found, type) and issubclass(found, ResilienceError):
        return found
    raise wrong("waits", name, f"one of {', '.join(Category)}, or an error class of chaoskit.runtime")
