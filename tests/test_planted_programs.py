"""Generated programs show each defect that the harness had, when it is put back.

A program shows the same on each Python, so it is watched on one of them.
"""

from __future__ import annotations

import os

import budgets
import pytest
from wild.plants import PLANTS
from wild.running import played

pytestmark = budgets.once

ROOT = os.geteuid() == 0
_SECONDS = 300.0


def _options(*programs: str, disk: bool) -> list[str]:
    given = [word for program in programs for word in ("--program", program)]
    return ["--disk" if disk else "--memory", "--way", "recorded", *given, "--no-reduce"]


@pytest.mark.parametrize("name", PLANTS)
def test_a_defect_that_is_put_back_is_found(name: str) -> None:
    """Each one that the harness had is a difference again."""
    plant = PLANTS[name]
    if plant.root and not ROOT:
        pytest.skip("only root can become another user")
    assert played(*_options(plant.program, disk=plant.disk), "--plant", name, seconds=_SECONDS).differing


@pytest.mark.parametrize("disk", [True, False], ids=["disk", "memory"])
def test_without_a_defect_the_same_programs_are_the_same(disk: bool) -> None:
    """What is found above is the defect that was put back."""
    programs = [one.program for one in PLANTS.values() if one.disk is disk and (ROOT or not one.root)]
    clean = played(*_options(*programs, disk=disk), seconds=_SECONDS)
    assert not clean.differing, clean.text()
    assert clean.counts == {"played": len(programs), "differing": 0, "hung": 0, "unsteady": 0}
