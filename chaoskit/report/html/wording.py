"""The page's words for the outcome of something, each explained once."""

from __future__ import annotations

from chaoskit.report import failing, handling
from chaoskit.report.kinds import BROKE, DEGRADED, HELD, NOT_REACHED, NOT_TRIED, UNJUDGED

SYMBOLS = {
    HELD: "✓",
    DEGRADED: "◐",
    BROKE: "✗",
    UNJUDGED: "?",
    NOT_REACHED: "○",
    NOT_TRIED: "–",
}
"""A sign for each state of a cell, so that no meaning depends on colour alone."""

WORDS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "a case",
        (
            ("tolerated", "the work was done in spite of the fault"),
            ("failed safe", "the program reported an error, and what it left was accepted"),
            ("violated", "the check found something wrong"),
            ("hung", "it did not come to an end"),
            ("diverged", "it went another way before the fault, which therefore struck nothing"),
            ("not injected", "the fault could not be made to happen there"),
            ("interpreter", "Python itself failed, which says nothing about the program"),
            ("held, in the verdict", "tolerated, or failed safe"),
        ),
    ),
    (
        "a kind of fault, an operation, or a line of code",
        (
            (
                HELD,
                "all of its cases were tolerated; of a line: every way of failing was tried, and none broke",
            ),
            (DEGRADED, "some of its cases failed safe, and none broke"),
            (BROKE, "some case was violated or hung"),
            (UNJUDGED, "no case says anything: all diverged, were not injected, or ended in the interpreter"),
            (NOT_REACHED, "asked for, and no recorded call can fail in that way"),
            (NOT_TRIED, "not asked for, or left out; of a line: it can fail, and never did"),
            (failing.PARTLY, "some of the ways in which a line can fail were tried, and none broke"),
        ),
    ),
    (
        "a handler of exceptions",
        (
            (handling.NEVER_RAN, "its function was called, and no fault led to it"),
            (handling.NEVER_CALLED, "it may belong to another program"),
            (handling.RAN_AND_BROKE, "a fault led to it, and the case was violated or hung"),
            (handling.RAN, "a fault led to it, and no such case broke"),
        ),
    ),
    (
        "a sync",
        (
            ("needed", "without it some power loss breaks the test"),
            ("not settled", "not all states without it were tried"),
            ("unnoticed", "no state without it breaks the test, since its check does not look there"),
            ("superfluous", "no state without it breaks the test: it costs time and buys nothing"),
        ),
    ),
    (
        "a finding",
        (
            ("new", "the report before does not have it"),
            ("open", "no scenario states it as known"),
            ("known", "stated in its scenario, with the reason why it is accepted"),
            ("stale", "stated as known, and no case showed it"),
        ),
    ),
)
"""Grouped by what a word describes. Every word of a table or drawing is included."""
