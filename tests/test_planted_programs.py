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


@pytest.mark.parametrize("name", PLANTS)
def test_a_defect_that_is_put_back_is_found(name: str) -> None:
    """Each one that the harness had is a difference again; without it the same program shows none."""
    plant = PLANTS[name]
    if plant.root and not ROOT:
        pytest.skip("only root can become another user")
    options = (
        "--disk" if plant.disk else "--memory",
        "--way",
        "recorded",
        "--program",
        plant.program,
        "--no-reduce",
    )
    assert played(*options, "--plant", name, seconds=_SECONDS).differing
    clean = played(*options, seconds=_SECONDS)
    assert not clean.differing, clean.text()
    assert clean.counts == {"played": 1, "differing": 0, "hung": 0, "unsteady": 0}
