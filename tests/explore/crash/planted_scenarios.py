"""The planted programs as scenarios, run by ``test_planted_end_to_end``: real calls, seen by the backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from budgets import some
from crash_recorder import Recorder
from programs import ALL, PROGRAMS, Program

from chaoskit import faults, scenario
from chaoskit.session.chaos import Chaos


class Live(Recorder):
    """Makes the same calls; what it would have written down is recorded by the backend instead."""

    def __init__(self, path: Path, promise: Callable[[object], None]) -> None:
        super().__init__(path)
        self._promise = promise

    def promise(self, value: object) -> None:
        self._promise(value)


def tree_of(path: Path) -> dict[str, object]:
    return {
        part.name: part.readlink()
        if part.is_symlink()
        else tree_of(part)
        if part.is_dir()
        else part.read_bytes()
        for part in path.iterdir()
    }


def explored(chaos: Chaos, program: Program, work: Callable[[Recorder], None]) -> None:
    program.setup(Recorder(chaos.path))
    live = Live(chaos.path, chaos.promise)
    chaos.run(work, live)
    assert program.check(tree_of(chaos.path), tuple(chaos.promised))


EACH = pytest.mark.parametrize("program", some(PROGRAMS), ids=lambda p: p.name.replace(" ", "-"))


@EACH
@scenario(faults.power_loss(), model=ALL)
def test_wrong(chaos: Chaos, program: Program) -> None:
    explored(chaos, program, program.wrong)


@EACH
@scenario(faults.power_loss(), model=ALL)
def test_right(chaos: Chaos, program: Program) -> None:
    explored(chaos, program, program.right)
