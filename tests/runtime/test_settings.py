"""Every number of the five reference systems can be written in a file and comes out as a strategy."""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    BreakerOpen,
    Candidate,
    CircuitBreaker,
    DiskFull,
    RecoveryStep,
    RetryPolicy,
    ValidationError,
    VirtualClock,
)
from chaoskit.runtime.config import ConfigurationProblems, from_mapping, load
from chaoskit.runtime.config.options import info_of
from chaoskit.runtime.failures.taxonomy import Category, Unreachable
from chaoskit.runtime.observing.metrics import AlertRule
from chaoskit.runtime.retrying.backoff import EQUAL, NONE, Exponential, band
from chaoskit.runtime.retrying.backoffs import Constant, Decorrelated, Linear
from chaoskit.runtime.settings import RuntimeSettings, live_settings, read_settings
from chaoskit.runtime.strategy_settings import RetrySettings, WaitSettings

SYSTEMS = """\
retry:
  default:
    on: [transient, resource]
    attempts: 3
    wait: {initial: 300, cap: 3600, factor: 2, jitter: 20%}
  conversion: {attempts: 2, wait: {initial: 300, cap: 1800}}
  preprocessing: {wait: {initial: 1800, cap: 7200}}
  reconstruction: {wait: {initial: 1800, cap: 3600}}
  parcellation: {wait: {initial: 300, cap: 1800}}
  share:
    on: [BlockingIOError]
    attempts: none
    quiet: 1
    wait: {initial: 5, cap: 1d, jitter: none}
    waits:
      Unreachable: {initial: 60, cap: 1h}
      transient: {kind: decorrelated, initial: 1, cap: 10}
  relogin: {on: [PermissionError], attempts: 2, wait: {kind: constant, initial: 0}}
  transport: {on: [ConnectionError], attempts: 20}
  ingest: {wait: {initial: 1, cap: 60}}
breakers:
  default: {failures: 5, open_for: 300}
metrics:
  alerts: [{ratio: 10%, window: 300}]
jobs: {timeout: 300, attempts: 3, stuck_after: 600, concurrency: 3}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the numbers of the reference systems."""
    path = tmp_path / "systems.yaml"
    path.write_text(SYSTEMS)
    return path


def load_only(file: Path, **given: Any) -> RuntimeSettings:
    given = {"environment": {}, "pyproject": "/nonexistent", **given}
    return read_settings(file, **given).value


def test_the_reference_systems_are_expressible(file: Path) -> None:
    """Attempts, waits, caps, jitter, breaker, alert and job limits are exactly those of the systems."""
    settings = load_only(file)
    policies = settings.policies()
    waits = {name: (p.attempts, p.wait) for name, p in policies.items()}
    jitter = band(0.2)
    assert waits["default"] == (3, Exponential(300, 3600, 2, jitter))
    assert waits["conversion"] == (2, Exponential(300, 1800, 2, jitter))
    assert waits["preprocessing"] == (3, Exponential(1800, 7200, 2, jitter))
    assert waits["reconstruction"] == (3, Exponential(1800, 3600, 2, jitter))
    assert waits["share"] == (None, Exponential(5, 86400, 2, NONE))
    assert waits["relogin"] == (2, Constant(0, jitter))
    assert waits["transport"][0] == 20
    assert waits["ingest"] == (3, Exponential(1, 60, 2, jitter))
    assert policies["share"].quiet == 1
    assert policies["share"].waits[Unreachable] == Exponential(60, 3600, 2, EQUAL)
    assert policies["share"].waits[Category.TRANSIENT] == Decorrelated(1, 10)
    assert settings.metrics.alerts == (AlertRule(ratio=0.1, window=300),)
    assert (settings.jobs.timeout, settings.jobs.stuck_after, settings.jobs.concurrency) == (300, 600, 3)


def test_the_breaker_is_built_from_its_settings(file: Path) -> None:
    """The options of a file make a breaker that opens after five failures."""
    options = load_only(file).breakers["default"]
    breaker = CircuitBreaker(**dataclasses.asdict(options))

    def fail() -> None:
        raise OSError

    for _ in range(5):
        with pytest.raises(OSError):
            breaker.call(fail)
    assert "open" in str(breaker.state).lower()


def test_the_policy_works(file: Path) -> None:
    """A policy from a file retries what it names, and code adds what only code can."""
    calls = []
    policy = load_only(file).retry["relogin"].policy("relogin", listeners=(lambda e: None,))

    def work() -> str:
        calls.append(1)
        if len(calls) < 2:
            raise PermissionError
        return "in"

    assert policy.call(work) == "in"
    assert policy.name == "relogin"


def test_a_policys_defaults_are_the_policys_own() -> None:
    """A settings record that says only what to retry makes the same policy as code that does."""
    made = RetrySettings(on=(OSError,)).policy()
    assert made == RetryPolicy(on=(OSError,))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kind": "linear", "initial": 1, "step": 2, "jitter": "none"}, Linear(1, 2, 60, NONE)),
        (
            {"kind": "constant", "initial": 3, "jitter": "full"},
            Constant(3, dataclasses.replace(EQUAL, low=0.0)),
        ),
        ({"jitter": 0.5}, Exponential(0.5, 60, 2, band(0.5))),
        ({}, Exponential(0.5, 60, 2, EQUAL)),
    ],
)
def test_waits_are_built(given: dict[str, Any], expected: object) -> None:
    """Each kind of backoff and jitter can be written down."""
    assert load(WaitSettings, from_mapping(given)).value.backoff() == expected


def test_everything_wrong_is_found_at_once(tmp_path: Path) -> None:
    """Problems of policies, breakers and jobs stand in one error, with their lines."""
    path = tmp_path / "a.yaml"
    path.write_text(
        "retry:\n"
        "  a: {attempts: 0, on: [transient]}\n"
        "  b: {attempts: 2}\n"
        "  c: {on: [transient], wait: {initial: 9, cap: 1}}\n"
        "  d: {on: [transient], waits: {nonsense: {}}}\n"
        "  e: {on: []}\n"
        "breakers: {x: {failures: 0}}\n"
        "jobs: {timeout: 900}\n"
        "shutdwon: {}\n"
    )
    with pytest.raises(ConfigurationProblems) as caught:
        load_only(path)
    found = {p.path: p.where.rpartition(":")[2] for p in caught.value.problems}
    assert found == {
        "shutdwon": "9",
        "retry.a.attempts": "2",
        "retry.b.on": "3",
        "retry.c.wait": "4",
        "retry.d": "5",
        "retry.e": "6",
        "breakers.x": "7",
        "jobs": "8",
    }
    assert "did you mean 'shutdown'" in str(caught.value)


def test_the_order_of_sources(file: Path, tmp_path: Path) -> None:
    """pyproject.toml is weaker than the file, the file than the environment, that than code."""
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text("[tool.chaoskit.runtime.jobs]\nattempts = 9\nrequeues = 9\n")
    environment = {"CHAOSKIT_JOBS__CONCURRENCY": "7", "CHAOSKIT_JOBS__TIMEOUT": "7"}
    code = {"jobs": {"timeout": 8.0}}
    jobs = load_only(file, pyproject=pyproject, environment=environment, code=code).jobs
    assert (jobs.requeues, jobs.attempts, jobs.concurrency, jobs.timeout) == (9, 3, 7, 8.0)


def test_settings_may_change_while_the_program_runs(file: Path) -> None:
    """live_settings() reloads the file, and reports what changed."""
    settings = live_settings(file, environment={}, pyproject="/nonexistent")
    file.write_text(SYSTEMS.replace("concurrency: 3", "concurrency: 5"))
    assert [c.path for c in settings.reload().changes] == ["jobs.concurrency"]
    assert settings.value.jobs.concurrency == 5


def test_wrong_settings_in_code_are_refused() -> None:
    """A record made in code is checked as one from a file is."""
    with pytest.raises(UsageError, match="on is"):
        RetrySettings(on=())
    with pytest.raises(UsageError, match="waits is"):
        RetrySettings(on=(OSError,), waits={"nope": WaitSettings()})


ARCHIVE = {
    "retry": {"archive": {"on": ["transient"], "attempts": 2, "wait": {"kind": "constant", "initial": 0}}},
    "breakers": {"default": {"failures": 2}, "archive": {"open_for": 300}},
    "rate_limiters": {"archive": {"calls": 100, "per": "1m", "burst": 50}},
    "bulkheads": {"archive": {"limit": 4, "queue": 8, "max_wait": "2s"}},
    "timeouts": {"archive": {"seconds": "30s", "abandon": 2}},
}


def test_a_pipeline_comes_from_the_settings_of_its_name() -> None:
    """Each group that has the name gives one strategy, and each strategy does what its numbers say."""
    settings = load(RuntimeSettings, from_mapping(ARCHIVE)).value
    clock, told, calls = VirtualClock(), [], []
    pipeline = settings.pipeline("archive", listeners=[told.append], clock=clock)
    breaker = dict(pipeline.strategies)["breaker"]
    assert isinstance(breaker, CircuitBreaker)
    retry, *rest = str(pipeline).splitlines()
    assert retry.startswith("retry         RetryPolicy(on=")
    assert rest == [
        "rate limiter  RateLimiter 'archive' 100 calls per 60 s, burst 50",
        "bulkhead      Bulkhead 'archive' 0 of 4 in use, 0 waiting",
        "breaker       CircuitBreaker 'archive' closed",
        "timeout       Timeout 30 s",
        "the call",
    ]

    def fail() -> None:
        calls.append(1)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        pipeline.call(fail)
    assert len(calls) == 2
    with pytest.raises(BreakerOpen) as caught:
        breaker.call(fail)
    assert caught.value.retry_after == 300.0
    assert {"breaker.changed", "retry.scheduled"} <= {event.name for event in told}


def test_a_group_without_the_name_gives_no_strategy() -> None:
    """What was not configured is not there, rather than there with defaults."""
    settings = load(RuntimeSettings, from_mapping({"timeouts": {"ask": {"seconds": 1, "abandon": 1}}})).value
    assert str(settings.pipeline("ask")) == "timeout       Timeout 1 s\nthe call"


def test_a_name_that_no_group_has_is_refused() -> None:
    """A misspelt name would protect nothing; the error has those that there are."""
    settings = load(RuntimeSettings, from_mapping(ARCHIVE)).value
    with pytest.raises(UsageError, match="archive, default"):
        settings.pipeline("achive")


def test_every_strategy_has_its_settings() -> None:
    """Deadline, fallback, recovery, shared budget, throttle and further rates come from a file as well."""
    groups = {
        "retry": {
            "archive": {"on": ["transient"], "shared_budget": "archive", "throttle": "archive"},
            "catalog": {"on": ["transient"], "shared_budget": "archive"},
        },
        "budgets": {"archive": {"floor": 3, "ratio": "20%", "window": "2m", "cap": 50}},
        "throttles": {"archive": {"k": 3, "window": "1m", "minimum": 20}},
        "deadlines": {"archive": {"seconds": "5m"}},
        "fallbacks": {"archive": {"on": ["OSError"], "last_good": {"max_age": "1h", "size": 10}}},
        "rate_limiters": {"archive": {"calls": 10, "also": [{"calls": 1000, "per": "1h", "burst": 50}]}},
        "recoveries": {"items": {"by": {"validation": "give-up", "DiskFull": "skip"}, "then": "skip"}},
    }
    settings = read_settings(code=groups, environment={}, pyproject="/nonexistent").value
    clock = VirtualClock()
    made = settings.strategies(clock=clock)
    archive, catalog = made.policy("archive"), made.policy("catalog", attempts=7)
    assert archive.budget is catalog.budget is made.policy("archive").budget
    assert (catalog.attempts, archive.clock) == (7, clock)
    assert repr(archive.budget) == "<RetryBudget 3 and 0.2 of the requests in 120 s>"
    assert repr(archive.throttle) == "<AdaptiveThrottle k=3 from 20 attempts in 60 s>"
    budgets = [policy.budget for policy in settings.policies().values()]
    assert budgets[0] is budgets[1] is not archive.budget
    pipeline = made.pipeline("archive", Candidate("cache", lambda: "from the cache"))
    assert [place for place, _ in pipeline.strategies] == ["fallback", "deadline", "retry", "rate_limiter"]
    assert "1000 calls per 3600 s, burst 50" in str(pipeline)
    assert "at 0x" not in str(pipeline)

    def fail() -> str:
        raise FileNotFoundError

    assert pipeline.call(fail) == "from the cache"
    recovery = settings.recoveries["items"].recovery()
    assert recovery.step_for(ValidationError("x")) is RecoveryStep.GIVE_UP
    assert recovery.step_for(DiskFull("x")) is RecoveryStep.SKIP
    with pytest.raises(UsageError, match="a name in the group fallbacks"):
        settings.pipeline("catalog", Candidate("cache", lambda run: ""))
    with pytest.raises(UsageError, match="expected one of: archive, catalog"):
        made.policy("other")


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"retry": {"a": {"on": ["transient"], "shared_budget": "b"}}}, r"retry\.a\.shared_budget is 'b'"),
        ({"retry": {"a": {"on": ["transient"], "throttle": "b"}}}, r"retry\.a\.throttle is 'b'"),
        (
            {"retry": {"a": {"on": ["transient"], "shared_budget": "b", "budget": {}}}, "budgets": {"b": {}}},
            "None, since the policy has a budget",
        ),
        ({"recoveries": {"a": {"by": {"nonsense": "skip"}}}}, "nonsense"),
    ],
)
def test_a_name_that_no_group_has_is_a_problem_of_the_file(groups: dict[str, Any], said: str) -> None:
    """What is shared has to be configured, once."""
    with pytest.raises(ConfigurationProblems, match=said):
        read_settings(code=groups, environment={}, pyproject="/nonexistent")


PLAIN = {
    *("WaitSettings.factor", "BreakerOptions.growth", "RateSettings.calls", "RateLimitSettings.calls"),
    *("FallbackSettings.minimum_quality", "ThrottleSettings.k", "StageBudget.amount"),
    *("AnomalyOptions.half_life", "AnomalyOptions.threshold", "AnomalyOptions.floor"),
    *("ResourceThreshold.limit", "ResourceThreshold.clear"),
    *("QualityMetric.minimum", "QualityMetric.maximum"),
}
"""Numbers that are neither seconds nor shares, or whose unit is that of something else."""


def without_unit(record: Any) -> Iterator[str]:
    """Every number in ``record`` and the records in it that a file can only write as a bare number."""
    hints = typing.get_type_hints(record)
    for one in dataclasses.fields(record):
        kinds = [hints[one.name]]
        for kind in kinds:
            kinds.extend(typing.get_args(kind))
        yield from itertools.chain.from_iterable(
            without_unit(kind) for kind in kinds if dataclasses.is_dataclass(kind)
        )
        if float in kinds and one.init and not info_of(one.metadata).unit:
            yield f"{record.__name__}.{one.name}"


def test_every_time_and_share_may_be_written_with_its_unit() -> None:
    """``5m`` and ``20%`` are read wherever seconds and shares are meant; no record is left out."""
    assert set(without_unit(RuntimeSettings)) == PLAIN
    said = {"open_for": "5m", "failure_rate": "20%", "window_seconds": "1.5h", "slow_after": "500ms"}
    options = load(
        RuntimeSettings, from_mapping({"breakers": {"default": {**said, "slow_rate": 0.5}}})
    ).value.breakers["default"]
    assert (options.open_for, options.failure_rate) == (300.0, 0.2)
    assert (options.window_seconds, options.slow_after) == (5400.0, 0.5)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"retry": {"a": {"on": ["transient"], "deadline": 1e9}}}, "retry.a: deadline is"),
        ({"retry": {"a": {"on": ["transient"], "attempt_timeout": 1e9}}}, "retry.a: attempt_timeout is"),
        ({"retry": {"a": {"on": ["transient"], "retry_after_cap": 1e9}}}, "retry.a: retry_after_cap is"),
        ({"budgets": {"a": {"floor": 20, "cap": 10}}}, "budgets.a: floor is 20"),
        ({"recoveries": {"a": {"by": {"security": "retry"}}}}, "recoveries.a: by[security]"),
        ({"recoveries": {"a": {"then": "retry"}}}, "recoveries.a: then is"),
    ],
)
def test_what_a_strategy_refuses_is_a_problem_of_the_file(groups: dict[str, Any], said: str) -> None:
    """Not an error of the program, without file and line, when it first needs the strategy."""
    with pytest.raises(ConfigurationProblems) as caught:
        read_settings(code=groups, environment={})
    assert said in str(caught.value)
