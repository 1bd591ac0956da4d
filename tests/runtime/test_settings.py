"""Every number of the five reference systems can be written in a file and comes out as a strategy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import CircuitBreaker, RetryPolicy
from chaoskit.runtime.config import ConfigurationProblems, from_mapping, load
from chaoskit.runtime.failures.taxonomy import Category, Unreachable
from chaoskit.runtime.observing.metrics import AlertRule
from chaoskit.runtime.retrying.backoff import EQUAL, NONE, Constant, Decorrelated, Exponential, Linear, band
from chaoskit.runtime.settings import (
    RetrySettings,
    RuntimeSettings,
    WaitSettings,
    live_settings,
    read_settings,
)

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
