"""Configuration from a hostile or careless hand: it ends soon, in one error that says where."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chaoskit.runtime import read_settings
from chaoskit.runtime.config import ConfigurationProblems, from_file

NOWHERE = "/nonexistent/pyproject.toml"
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
)


def settings(path: Path) -> ConfigurationProblems:
    """The problems that reading ``path`` gives; it must take no longer than a file may."""
    begun = time.process_time()
    with pytest.raises(ConfigurationProblems) as caught:
        read_settings(path, environment={}, pyproject=NOWHERE)
    assert time.process_time() - begun < 2
    return caught.value


@pytest.mark.parametrize(
    "tail",
    [
        "\njobs: {timeout: *a11}",
        "\nqueues: {q: {size: *a11}}",
        "\nretry: *a11",
        "\nmetrics: {alerts: *a11}",
        "",
    ],
)
def test_a_bomb_of_aliases_is_refused_wherever_it_stands(tmp_path: Path, tail: str) -> None:
    """Twelve lines that stand for a million million values, as a value, in a list, in a table."""
    file = tmp_path / "bomb.yaml"
    file.write_text(BOMB + tail)
    assert "its aliases stand for more than 100000 values" in str(settings(file))


@pytest.mark.parametrize("text", ["retry: &r {x: *r}", "a: &a [*a]", "retry: &r {<<: *r}"])
def test_an_alias_that_holds_itself_is_refused(tmp_path: Path, text: str) -> None:
    """A circle has no end, and no meaning as a configuration."""
    file = tmp_path / "circle.yaml"
    file.write_text(text)
    assert "part of" in str(settings(file)) or "recursive" in str(settings(file))


def test_aliases_that_are_used_as_meant_are_read(tmp_path: Path) -> None:
    """A value that is named once and used twice."""
    file = tmp_path / "fine.yaml"
    file.write_text("jobs: &limits {timeout: 5, stuck_after: 9}\nretry:\n  a: &a {on: [OSError]}\n  b: *a\n")
    found = read_settings(file, environment={}, pyproject=NOWHERE).value
    assert found.retry["a"] == found.retry["b"]
    assert found.jobs.timeout == 5


@pytest.mark.parametrize("name", ["long.json", "long.toml", "long.yaml"])
def test_a_number_of_too_many_digits_is_a_problem(tmp_path: Path, name: str) -> None:
    """Not the raw error of the conversion that Python refuses."""
    file = tmp_path / name
    number = "9" * 5000
    file.write_text({"json": f'{{"a": {number}}}', "toml": f"a = {number}", "yaml": f"a: {number}"}[name[5:]])
    assert "cannot be read" in str(settings(file))


def test_an_unknown_suffix_is_a_problem_like_any_other() -> None:
    """Code that catches the problems of a configuration catches it."""
    with pytest.raises(ConfigurationProblems, match=r"its suffix is '\.ini'"):
        from_file("settings.ini")


def test_a_list_of_records_can_be_set_by_a_variable() -> None:
    """As a JSON list, which the documents promise."""
    alerts = '[{"ratio": 0.5, "operation": "upload"}, {"ratio": 0.25}]'
    found = read_settings(environment={"CHAOSKIT_METRICS__ALERTS": alerts}, pyproject=NOWHERE).value
    assert [(alert.ratio, alert.operation) for alert in found.metrics.alerts] == [
        (0.5, "upload"),
        (0.25, "*"),
    ]
    with pytest.raises(ConfigurationProblems, match=r"metrics\.alerts\.0\.ratio: is 'much'"):
        read_settings(environment={"CHAOSKIT_METRICS__ALERTS": '[{"ratio": "much"}]'}, pyproject=NOWHERE)


def test_variables_of_others_under_the_same_prefix_are_left_alone() -> None:
    """A seed of the harness or a colleague's variable is not an option; a misspelt one still is an error."""
    others = {"CHAOSKIT_SEED": "7", "CHAOSKIT_BUDGET": "x", "CHAOSKIT_COLLEAGUE": ""}
    assert read_settings(environment=others, pyproject=NOWHERE).value.retry == {}
    for name in ("CHAOSKIT_JOBS__TIMEOT", "CHAOSKIT_JBOS__TIMEOUT", "CHAOSKIT_JOBS"):
        with pytest.raises(ConfigurationProblems):
            read_settings(environment={**others, name: "5"}, pyproject=NOWHERE)
