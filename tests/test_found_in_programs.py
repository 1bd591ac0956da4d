"""The page of findings in real programs fits its scenarios: a test, an id that is known there, a schedule."""

from __future__ import annotations

import ast

import pytest

from chaoskit.core.schedule import Schedule
from scenarios.programs import replays

ROWS = replays.rows()


def known(path: str, test: str) -> str:
    """The decorators of a scenario, as they stand in its file."""
    text = (replays.ROOT / path).read_text(encoding="utf-8")
    found = next(
        one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.FunctionDef) and one.name == test
    )
    return "\n".join(ast.unparse(one) for one in found.decorator_list)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_finding_is_held_by_its_scenario(row: replays.Replayed) -> None:
    """A row whose scenario does not know the finding is a claim that nothing checks."""
    path, _, test = row.test.partition("::")
    assert f"'{row.id}'" in known(path, test)
    assert str(Schedule.parse(row.schedule)) == row.schedule


def test_there_are_as_many_rows_as_lines_to_replay() -> None:
    """A row that is written in another way would be left out of all this."""
    text = replays.PAGE.read_text(encoding="utf-8")
    assert len(ROWS) == text.count("--chaoskit-replay '") >= 8
    assert len({row.id for row in ROWS}) == len(ROWS)
