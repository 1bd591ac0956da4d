"""What the runner without the runtime does not bear: each of these scenarios is violated.

Run by ``test_comparison.py``.
"""

from __future__ import annotations

from chaoskit import Chaos, faults, scenario
from scenarios.neuro import world as containers
from scenarios.neuro.peers import world
from scenarios.neuro.test_neuro import TIMEOUT


def ends_well(chaos: Chaos) -> None:
    containers.prepare(chaos.path)
    chaos.run(world.night, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)
    chaos.run(world.night, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised, settled=True)


@scenario(faults.kill().on(call="promise"), budget=12, timeout=TIMEOUT, oracle="off")
def test_attempts_of_a_killed_worker(chaos: Chaos) -> None:
    ends_well(chaos)


@scenario(
    faults.power_loss().on(path="state/derivatives/**"),
    model="strict",
    budget=12,
    timeout=TIMEOUT,
    oracle="off",
)
def test_output_when_the_power_goes(chaos: Chaos) -> None:
    ends_well(chaos)
