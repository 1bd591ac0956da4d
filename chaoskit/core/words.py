"""The words in the engine's messages that differ between the fronts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one front; the defaults are those of pytest.

    ``listing`` is the option that prints the points; ``allowance`` names, in brackets and after a space, the
    option that allows a share of cases without a verdict. The others are whole sentences: ``more_time`` says
    how to wait longer for the workload, ``idle`` that it did nothing, ``unsteady`` that it worked only once.
    """

    listing: str = "--chaoskit-list"
    allowance: str = " (allow_inconclusive)"
    more_time: str = "The scenario's argument timeout= allows more time."
    idle: str = (
        "the workload did nothing below chaos.path, so there is nothing that could go wrong; expected it "
        "to work on files there. Give it chaos.path, or a path below it."
    )
    unsteady: str = (
        "the test passed once without faults and failed the second time; expected a test that can be run "
        "again in the same process. What it changes outside its fixtures stays changed."
    )


PYTEST = Words()
