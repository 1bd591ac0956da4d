"""Time is charged for what processors have done and what a server took, never for a busy machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from chaoskit.inject.kernel.clock import keeper
from chaoskit.inject.kernel.clock.dial import SECOND
from chaoskit.inject.kernel.clock.keeper import Keeper


@dataclass
class Machine:
    """Stands for the clocks, for the threads of a workload, and for what else a keeper asks."""

    now: float = 100.0
    ours: int = 0
    sleeping: bool = False
    computed: int = 0
    let_go: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def thread_time_ns(self) -> int:
        return self.ours

    def threads(self) -> list[tuple[int, int]]:
        return [(1, 1)]

    def worked(self, threads: object) -> int:
        return self.computed

    def asleep(self, threads: object) -> tuple[()] | None:
        return () if self.sleeping else None

    def may_be_woken(self, *asked: object) -> bool:
        return True


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(keeper, "time", made)
    return made


def kept(machine: Machine) -> Keeper:
    """A keeper that lets something go after a second of the workload's time."""
    nothing: Any = None
    made = Keeper(nothing, nothing, nothing, machine)  # type: ignore[arg-type]
    made.later(1.0, lambda: machine.let_go.append(machine.now))
    made.look(False)
    return made


def test_a_thread_that_waits_for_a_processor_uses_up_no_time(machine: Machine) -> None:
    """Ten seconds in which a twentieth of one was computed are no second; a second of computing is one."""
    keeps = kept(machine)
    for _ in range(100):
        machine.now += 0.1
        machine.computed += SECOND // 2000
        keeps.look(False)
    machine.now, machine.computed = machine.now + 10, machine.computed + SECOND // 2
    keeps.look(False)
    assert machine.let_go == []
    # What the calls of a program cost us is time of the program as well.
    machine.now, machine.computed, machine.ours = machine.now + 1, machine.computed + SECOND // 4, SECOND // 2
    keeps.look(False)
    assert machine.let_go == [machine.now]


def test_a_look_that_comes_late_charges_no_server_for_it(machine: Machine) -> None:
    """A server that is waited for has a second of looks in time, however late single ones are."""
    keeps, machine.sleeping = kept(machine), True
    for _ in range(20):
        machine.now += 5
        keeps.look(False)
    assert machine.let_go == []
    for _ in range(100):
        machine.now += 0.01
        keeps.look(False)
    assert len(machine.let_go) == 1
