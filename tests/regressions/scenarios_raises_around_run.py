"""pytest.raises around chaos.run, as one writes it who expects the workload's error there."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit import faults, scenario
from chaoskit.plugin.cases import failure_of
from chaoskit.session.chaos import Chaos


def save_and_raise(path: Path) -> None:
    (path / "job").write_text("new")
    raise ValueError("always")


def test_the_failure_says_where_the_error_is(request: pytest.FixtureRequest) -> None:
    """DID NOT RAISE in a case comes with the reason, since the workload did raise."""
    with pytest.raises(pytest.fail.Exception) as caught, pytest.raises(ValueError):
        pass
    failure = failure_of(request.node, caught.value)
    assert "chaos.run does not raise" in failure.text


@scenario(faults.disk().only("EIO"))
def test_an_error_of_the_baseline_is_raised_once(chaos: Chaos) -> None:
    """In the baseline the workload's own error is raised; in cases it is in the outcome."""
    try:
        outcome = chaos.run(save_and_raise, chaos.path)
    except ValueError:
        return
    assert isinstance(outcome.error, ValueError | OSError)
