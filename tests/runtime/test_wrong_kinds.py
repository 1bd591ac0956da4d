"""What can never work is refused where it is given: a clock that is a text, a class instead of an object.

Every parameter of everything that users make is here; the durable half and the settings are in
``test_wrong_durable_kinds.py``. Accepted, most of these would fail hours later, inside of us, or be ignored
in silence.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import logging
import multiprocessing
import random
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit import runtime
from chaoskit.runtime import (
    Category,
    Event,
    PerKey,
    RateLimit,
    RetryPolicy,
    Severity,
    Stop,
    Store,
    SystemClock,
    UsageError,
    VirtualClock,
    log_to,
    retry,
)
from chaoskit.runtime.calling.blocks import Block
from chaoskit.runtime.exports import EXPORTS


def yes(*_: object) -> bool:
    return True


async def later(*_: object) -> bool:
    raise AssertionError("it was run")


class Serves:
    """Has the methods of every protocol that a part of the user's may implement."""

    name, least = "serves", Severity.INFO
    publish = read = launch = runs = remove = send = yes


CLOCKS = (None, object(), "x", 3, SystemClock, VirtualClock, threading.Event(), asyncio)
OPTIONAL_CLOCKS = CLOCKS[1:]
EVENTS = (object(), "x", 3, threading.Event, Stop, asyncio.Event(), True)
TEXTS = (None, object(), 3, b"x", str)
SWITCHES = (None, object(), "no", 0, 1, bool)
SEVERAL = (None, object(), 3, yes, "x", b"x", [3], ["x"])
MAPS = (None, object(), "x", 3, [], ["x"], dict)
FUNCTIONS = (object(), "x", 3, [], later)
NUMBERS = (object(), "x", b"x", [], 1j, float("nan"), True, int)
PARTS = (object(), "x", 3, [], yes, False)
"""Objects that are no part of ours; the class of the right one comes to them."""

MADE: dict[str, dict[str, Any]] = {
    "AdaptiveThrottle": {},
    "Agree": {"source": "a", "other": "b"},
    "AlertRule": {},
    "AnomalyDetector": {},
    "AnomalyOptions": {},
    "ArchiveLimits": {},
    "AsyncRetryingTransport": {},
    "BreakerLink": {"store": Serves()},
    "BreakerOptions": {},
    "Bulkhead": {"limit": 1},
    "Candidate": {"name": "a", "get": yes},
    "CircuitBreaker": {},
    "Classifier": {},
    "Constant": {"seconds": 1},
    "Consistency": {"sources": {}, "rules": []},
    "CrossCheck": {"name": "a", "holds": yes},
    "Deadline": {"seconds": 1},
    "Decorrelated": {"initial": 1, "cap": 5},
    "DetailOptions": {"directory": Path("out")},
    "EmailChannel": {"host": "h", "sender": "a@b.c", "recipients": ["d@e.f"]},
    "ErrorDetails": {"directory": "out"},
    "ErrorMetrics": {},
    "EventLog": {},
    "Exponential": {"initial": 1, "cap": 5},
    "FallbackChain": {},
    "FileRows": {"directory": "out"},
    "FileExists": {"source": "a", "base": "out"},
    "HandoffQueue": {"name": "q"},
    "Health": {"checks": {}},
    "HealthServer": {"report": yes},
    "Jitter": {"low": 1, "high": 1},
    "JobBoard": {},
    "JobOptions": {},
    "JobRunner": {},
    "JsonFormatter": {},
    "LastGood": {"max_age": 1},
    "Linear": {"initial": 1, "step": 1, "cap": 5},
    "MemoryPressure": {"batch": 5},
    "MetricsOptions": {},
    "Notifier": {"channels": []},
    "NoOrphans": {"source": "a", "of": [("b", "c")]},
    "NotStuck": {"source": "a", "longer_than": 1},
    "PartialFailureCollector": {},
    "PerKey": {"make": yes},
    "Pipeline": {},
    "PolicyRegistry": {"policies": {}},
    "Preflight": {},
    "QualityGate": {"name": "g", "metrics": [runtime.QualityMetric("a", minimum=1)]},
    "QualityMetric": {"name": "a", "minimum": 1},
    "Quarantine": {"directory": "out"},
    "QueueOptions": {},
    "Quota": {"concurrency": 1},
    "RateLimit": {"calls": 1},
    "RateLimiter": {"calls": 1},
    "Recovery": {},
    "RecoveryManager": {"strategies": {}},
    "RedactionLimits": {},
    "Redactor": {},
    "ResourceMonitor": {"thresholds": []},
    "ResourceThreshold": {"resource": "disk", "limit": 1},
    "RetryBudget": {},
    "RetryPolicy": {"on": OSError},
    "RetryingAdapter": {},
    "RetryingPool": {},
    "RetryingTransport": {},
    "Rule": {"name": "r", "verdict": runtime.TransientError, "types": (OSError,)},
    "RunFolders": {"root": "runs"},
    "SetColumns": {"columns": {"a": 1}},
    "Shutdown": {},
    "ShutdownOptions": {},
    "SqliteRows": {"database": "rows.db", "table": "rows"},
    "StageBudget": {},
    "SupervisedProgram": {"command": ["true"]},
    "SupervisionOptions": {},
    "Supervisor": {},
    "TaskSupervisor": {},
    "Telemetry": {},
    "TextFormatter": {},
    "Timeout": {"seconds": 1},
    "VirtualClock": {},
    "WebhookChannel": {"url": "http://x/"},
    "band": {"share": 0.1},
    "breakers_closed": {"breakers": []},
    "database_answers": {"connect": yes},
    "deadline": {"seconds": 1},
    "disk_left": {"path": ".", "least": 1},
    "hedge": {"after": 1},
    "join_all": {"threads": [], "timeout": 1},
    "log_to": {},
    "memory_left": {"least": 1},
    "queue_age": {"oldest": yes, "warn": 1, "most": 5},
    "retries_without_waits": {},
    "subscribe": {"listener": yes},
    "tools_present": {},
}
"""The least arguments that each of them takes."""


def _names(text: str) -> set[str]:
    return set(text.split())


ELSEWHERE = ("durable", "operations", "settings", "strategy_settings", "core", "failures.taxonomy")
"""Modules whose exports are in ``test_wrong_durable_kinds.py``, and errors."""

HANDED_OUT = _names(
    "BreakerGuard SharedRecord Choice Rejection RecoveredCall Decision Symptoms Manifest ManifestEntry "
    "ArchiveMember ConsistencyReport Disagreement RepairReport Quarantined GateFinding GateResult "
    "PublishedState HealthFinding HealthReport Row Notice NotifierStatistics PreflightReport "
    "ResourceCheck QuotaUse Deviation Subscription LogGuard Rate RecoveryOutcome RecoveryReport "
    "ReconcileReport RemoteRun FlaggedRun FailedAttempt RetryContext Attempt Ticket ItemFailure "
    "ItemSuccess Summary Worker ShutdownStep TaskWorker"
)
"""Records of what happened, and guards: users get them, and make none."""

OF_DATA = _names(
    "remaining classify parse_retry_after extract inspect_archive read_rows read_text emit "
    "observer_errors add_context is_secret_name redact_text policy_of retry"
)
"""Functions that answer at once, and keep nothing; ``retry`` has the options of its class."""

WITHOUT = _names(
    "SystemClock RemoveRow Stop retries_off ready_policies reference_policies ContextFilter Listener "
    "ContextProcessPool ContextThreadPool"
)
"""Without arguments, or with those of the standard library, which checks them."""

WITH_A_STORE = {
    "CheckpointRows",
    "CheckpointsHold",
    "RemoteRuns",
    "StatePublisher",
    "LetterWatch",
    "store_healthy",
}
"""Made with a store: see below."""

BAD: dict[str, tuple[object, ...]] = {
    # by the beginning of the annotation
    "Clock | None": OPTIONAL_CLOCKS,
    "Clock": CLOCKS,
    "threading.Event | None": EVENTS,
    "Sequence[Listener]": SEVERAL,
    "tuple[Listener": SEVERAL,
    "tuple[Hook": SEVERAL,
    "str | os.PathLike[str] | None": (object(), 3, Path),
    "str | os.PathLike[str]": (None, object(), 3, Path),
    "str | None": TEXTS[1:],
    "str": TEXTS,
    "bool | None": SWITCHES[1:],
    "bool": SWITCHES,
    "float | None": NUMBERS,
    "int | None": NUMBERS,
    "float": (None, *NUMBERS),
    "int": (None, *NUMBERS),
    "Chance": (None, object(), "x", 3, random.Random),
    "Mapping[": MAPS,
    "Steps | None": MAPS[1:],
    "frozenset[str]": (None, object(), "x", 3, [3]),
    "tuple[": (None, object(), "x", 3, yes, [object()]),
    "Sequence[str": (None, object(), 3, "SIGTERM", [3]),
    "Sequence[": (None, object(), 3, "x", ["x"], [3]),
    "Iterable[": (None, object(), 3, "x", [3]),
    "Callable[..., Hashable] | None": FUNCTIONS,
    "Callable": FUNCTIONS,
    "Strategy | None": (object(), "x", 3, [], later, RetryPolicy, object),
    "type[Exception] |": (None, object(), "x", 3, [OSError], int, (OSError, 3)),
    "On": (object(), "x", 3, (), int, later),
    "Errors": (None, object(), "x", 3, int, later),
    "CircuitBreaker | Callable": (object(), "x", 3, later, runtime.CircuitBreaker),
    "Backoff": (None, object(), "x", 3, runtime.Constant),
    "Generators": (None, "x", 3, True),
    "AboveCap": (None, "x", 3, True),
    "Attempts": ("x", 0, True, 1.5),
    "RecoveryStep": (None, "x", 3),
    "CallbackOrder | str": ("x", 3, True),
    "Repair": (object(), "x", 3),
    "Any": (),
}
NOT_SO: dict[str, tuple[object, ...]] = {
    "Candidate.quality": (object(), "x", [], later),
    "Candidate.get": (None, object(), "x", 3),
    "Recovery.alternative": (object(), "x", 3, []),
    "PerKey.make": (None, *FUNCTIONS),
    "Pipeline.deadline": (object(), "x", True, [], later, runtime.Deadline),
    "BreakerLink.store": (None, object(), "x", Serves, runtime.StoredBreakers),
    "Shutdown.grace": (object(), "x", float("nan"), True),
    "Shutdown.exit": (None, *FUNCTIONS),
    "HealthServer.report": (None, *FUNCTIONS),
    "CrossCheck.holds": (None, *FUNCTIONS),
    "HealthServer.host": (*TEXTS, "localhost"),
    "EventLog.default": (None, object(), "INFO", 1.5, True),
    "EventLog.levels": ("x", 3, ["x"], {"retry": "INFO"}),
    "EventLog.logger": (object(), "chaoskit", 3, logging.Logger),
    "ErrorDetails.directory": (None, object(), 3, Path),
    "DetailOptions.directory": (None, object(), 3, "out", Path),
    "Rule.message": (object(), 3, "("),
    "Rule.stderr": (object(), 3, "("),
    "Rule.verdict": (None, object(), "x", OSError),
    "Rule.names_file": ("no", 3, object()),
    "Rule.types": (None, object(), 3, OSError, [3]),
    "WebhookChannel.form": (None, "x", []),
    "EmailChannel.security": (None, "x", []),
    "Classifier.unknown": (None, "x", OSError),
    "ResourceThreshold.resource": (None, "x", []),
    "WebhookChannel.headers": (object(), "x", 3, ["x"]),
    "Quota.budgets": (object(), "x", 3, {"a": 5}),
    "Quota.priorities": (object(), "x", 3, {"a": "x"}),
    "SupervisedProgram.environment": (object(), "x", 3, ["x"]),
    "SupervisedProgram.directory": (object(), 3, b"x", Path),
    "ResourceThreshold.path": (None, object(), 3),
    "RunFolders.root": (None, object(), 3, Path),
    "RateLimiter.also": (None, object(), 3, "x", [3], [RateLimit], RateLimit(1)),
    "RetryPolicy.attempts_by": (*MAPS[:-1], {OSError: 5}, {"x": 5}, {Category.TRANSIENT: "5"}),
    "RetryPolicy.waits": (*MAPS[:-1], {OSError: runtime.Constant(1)}, {Category.TRANSIENT: 5}),
    "Recovery.by": (object(), "x", 3, ["x"], {OSError: "skip"}, {Category.TRANSIENT: "x"}),
    "RecoveryManager.strategies": (*MAPS[:-1], {"transient": yes}, {OSError: later}),
    "RecoveryManager.skips": (None, object(), "validation", 3, ["validation"]),
    "PolicyRegistry.policies": (*MAPS[:-1], {"a": RetryPolicy}, {3: retry(on=OSError)}),
    "ShutdownOptions.order": (None, "reverse", 3),
    "JobRunner.clock": OPTIONAL_CLOCKS,
    "Redactor.patterns": (None, object(), "x", 3, ["x"]),
    "EmailChannel.least": (None, object(), 3),
    "WebhookChannel.least": (None, object(), 3),
    "EmailChannel.port": ("x", object(), True, 0),
    "log_to.target": (object(), "out.log", 3, logging.StreamHandler),
    "log_to.level": (None, object(), "loud", 1.5),
    "subscribe.listener": (None, *FUNCTIONS),
    "database_answers.query": (),  # drivers take objects for it
    "database_answers.connect": (None, *FUNCTIONS),
    "queue_age.oldest": (None, *FUNCTIONS),
    "Consistency.sources": (
        None,
        object(),
        "x",
        3,
        [],
        {"a": 3},
        {"a": later},
        {"a": runtime.CheckpointRows},
    ),
    "Consistency.rules": (None, object(), 3, "x", ["x"], runtime.NotStuck),
    "Preflight.tmpfs": (object(), "x", 3, ("x",), ("x", "5")),
    "Preflight.disk": (*MAPS[:-2], {"x": "5"}),
    "Shutdown.signals": (object(), 3, "SIGTERM", [3], ["SIGKILL"]),
    "PartialFailureCollector.progress": FUNCTIONS,
    "NoOrphans.of": (None, object(), 3, "ab", ["ab"], [("a", 3)], [("a",)], []),
    "Agree.columns": (None, object(), 3, "ab", ["ab"], [("a", 3)], [("a",)]),
    "Agree.on": (object(), 3, "ab", ("a",), ("a", 3)),
    "FileExists.base": (None, object(), 3, Path),
    "FileExists.remedy": (),
    "NoOrphans.remedy": (),
    "NotStuck.remedy": (),
    "Agree.remedy": (),
}
"""Parameters that want more, or take more, than their annotation says.

A remedy is checked together with its source, by ``Consistency``."""

OUT_OF_BOUNDS = {"JobOptions.stuck_after", "QualityMetric.minimum"}
"""Numbers whose default or absence is out of bounds without another one; they have tests of their own."""


def parameters() -> Iterator[Any]:
    for name, least in MADE.items():
        made = getattr(runtime, name)
        for one in inspect.signature(made).parameters.values():
            said = f"{name}.{one.name}"
            if one.kind is not one.VAR_KEYWORD and said not in OUT_OF_BOUNDS:
                yield pytest.param(made, least, one, said, id=said)


def wrong_ones(said: str, annotation: str) -> tuple[object, ...]:
    if said in NOT_SO:
        return NOT_SO[said]
    found = next((bad for start, bad in BAD.items() if annotation.startswith(start)), None)
    if found is not None:
        return found
    # A part of ours: its class is given in the place of an object.
    kind = getattr(runtime, re.sub(r"\W.*", "", annotation), None)
    none = () if "None" in annotation else (None,)
    return (*none, *PARTS, *([kind] if inspect.isclass(kind) else []))


def told(make: Callable[[], Any]) -> str:
    """The message of the error that ``make`` gives; a block checks its arguments when it is entered."""
    try:
        if isinstance(made := make(), Block):
            made.__enter__()
    except UsageError as error:
        return str(error)
    return "it was accepted"


@pytest.mark.parametrize(("made", "least", "one", "said"), [*parameters()])
def test_a_value_of_the_wrong_kind_is_refused(
    made: Any, least: dict[str, Any], one: inspect.Parameter, said: str
) -> None:
    """By an error of wrong use that says what was expected; no bare TypeError, and never in silence."""
    for wrong in wrong_ones(said, str(one.annotation)):
        kwargs = dict(least)
        args: tuple[object, ...] = ()
        if one.kind in (one.VAR_POSITIONAL, one.POSITIONAL_ONLY):
            args = (wrong,)
        else:
            kwargs[one.name] = wrong
        assert "; expected " in told(lambda: made(*args, **kwargs)), f"{said}={wrong!r}"  # noqa: B023


def test_everything_that_users_make_is_in_the_table() -> None:
    """A new class or function belongs there, or says why it does not."""
    untold = []
    for module, names in EXPORTS.items():
        if any(module == one or module.startswith(f"{one}.") for one in ELSEWHERE):
            continue
        for name in set(names.split()) - MADE.keys() - HANDED_OUT - OF_DATA - WITHOUT - WITH_A_STORE:
            value = getattr(runtime, name)
            record = inspect.isclass(value) and issubclass(value, (Event, BaseException, enum.Enum))
            if callable(value) and not record and not getattr(value, "_is_protocol", False):
                untold.append(name)
    assert untold == []


@pytest.mark.parametrize("name", sorted(WITH_A_STORE))
def test_what_is_made_with_a_store_refuses_what_can_never_work(name: str, tmp_path: Path) -> None:
    """As above, for the parameters of those whose least arguments are a store."""
    with Store.open(tmp_path / "s.db") as store:
        least: dict[str, dict[str, Any]] = {
            "CheckpointRows": {"store": store, "pipeline": "default"},
            "CheckpointsHold": {"source": "a", "store": store, "base": tmp_path, "read": True},
            "RemoteRuns": {"store": store, "service": Serves(), "name": "n"},
            "StatePublisher": {"store": store, "name": "n"},
            "LetterWatch": {"store": store, "notifier": runtime.Notifier([])},
            "store_healthy": {"store": store},
        }
        for parameter in least[name]:
            for bad in (None, object(), 3, later):
                with pytest.raises(UsageError):
                    getattr(runtime, name)(**{**least[name], parameter: bad})


def test_a_log_that_is_refused_is_not_attached() -> None:
    """An unknown level was found after the handler had been added, and no guard could remove it."""
    before = logging.getLogger("refused").handlers[:]
    with pytest.raises(UsageError, match="level is 'loud'"):
        log_to(logger="refused", level="loud")
    assert logging.getLogger("refused").handlers == before


def test_a_limit_that_a_key_cannot_have_is_refused_with_its_maker() -> None:
    """What ``make`` returns is known at the first call of a key, and told there by its name."""
    limits: PerKey[Any] = PerKey(lambda key: key)
    with pytest.raises(UsageError, match=r"the result of make is 'a' \(str\); expected a strategy"):
        limits.of("a")


@pytest.mark.parametrize("signal", [threading.Event(), Stop(), multiprocessing.get_context("spawn").Event()])
def test_what_works_like_an_event_is_one(signal: Any) -> None:
    """Its class does not matter, and a clock or a source of chance may be any object with the methods."""
    clock: Any = Delegate(VirtualClock())
    signal.set()
    policy = retry(on=OSError, wake=signal, clock=clock, random=random, attempts=9)  # type: ignore[arg-type]
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise OSError

    with pytest.raises(OSError):
        policy.call(fails)
    assert calls == [1]


class Delegate:
    """An object that has the methods of another one, and is of no known class."""

    def __init__(self, other: object) -> None:
        self._other = other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._other, name)
