"""The kinds of fault by which views sum up: each stands for a dozen names of faults."""

from __future__ import annotations

from collections import Counter

from chaoskit.core.case import BROKEN, NO_JUDGEMENT, Verdict
from chaoskit.core.counted import CountedCases, counted
from chaoskit.core.result import ScenarioResult

KINDS = (
    "error",
    "short",
    "full disk",
    "kill",
    "power",
    "network",
    "clock",
    "memory",
    "interrupt",
    "damage",
    "race",
)
"""The columns of the matrix, in the order in which most programs meet them."""

TALKING = frozenset(
    {"dns", "connect", "exchange", "http", "greeting", "sendto", "socket", "bind", "listen", "accept"}
)
"""The families of calls that use a network, or prepare its use."""

_BY_NAME = {
    "short": "short",
    "full": "full disk",
    "kill": "kill",
    "power_loss": "power",
    "delay": "clock",
    **dict.fromkeys(("step", "set", "freeze", "drift", "same", "suspend", "late"), "clock"),
    **dict.fromkeys(("MemoryError", "memory_limit", "oom"), "memory"),
    "damage": "damage",
    "race": "race",
}

_ASKED = {
    "disk": ("error", "short", "full disk"),
    "share": ("error",),
    "interference": ("error",),
    "kill": ("kill",),
    "power_loss": ("power",),
    "fsync_lies": ("power",),
    "network": ("network",),
    "http": ("network",),
    "delay": ("clock",),
    "clock": ("clock",),
    "memory": ("memory",),
    "signal": ("interrupt",),
    "interrupt": ("interrupt",),
    "corruption": ("damage",),
}

State = str
HELD, DEGRADED, BROKE, UNJUDGED, NOT_REACHED, NOT_TRIED = (
    *("held", "degraded", "broke", "unjudged", "not reached", "not tried"),
)
"""The outcome of one kind of fault. ``held``: the work was done in every case; ``degraded``: some cases
reported the fault, and what they left was accepted; ``not reached``: asked for, but no call can fail like
that."""


def kind_of(fault: str, call: str = "") -> str:
    """The kind of the fault with this name, struck at a call of this family."""
    if fault in _BY_NAME:
        return _BY_NAME[fault]
    if call in TALKING:
        return "network"
    if fault.startswith("SIG") or fault in ("KeyboardInterrupt", "cancel"):
        return "interrupt"
    # Errors are in capitals; the network's words and the numbers of HTTP are not.
    return "error" if fault == "lost" or fault.startswith("E") else "network"


def asked_for(result: ScenarioResult) -> frozenset[str]:
    """The kinds of fault that the scenario asked for."""
    families = set(result.options.families)
    if families & {"default", "all"}:
        families |= {"disk", "kill", "power_loss", "fsync_lies", "network"}
    return frozenset(kind for family in families for kind in _ASKED.get(family, ()))


def struck(result: ScenarioResult) -> tuple[CountedCases, ...]:
    """All cases of a scenario, counted, whether or not they have a record."""
    return counted(result.cases, result.counted)


def cells(result: ScenarioResult) -> dict[str, tuple[State, int]]:
    """The outcome of each kind, and the number of its cases, or of the broken ones if any broke."""
    numbers: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for several in struck(result):
        # Of several faults in one case the last one: those before it are how the case got there.
        call = result.points[several.points[-1]].call if several.points else ""
        for fault, number in several.faults.items():
            numbers[kind_of(fault, call)][_state(several.verdict)] += number
    asked = asked_for(result)
    return {kind: _cell(counts, kind in asked) for kind, counts in numbers.items()}


def _state(verdict: Verdict) -> State:
    if verdict in BROKEN:
        return BROKE
    if verdict in NO_JUDGEMENT:
        return UNJUDGED
    return HELD if verdict == "tolerated" else DEGRADED


def _cell(counts: Counter[str], asked: bool) -> tuple[State, int]:
    if counts[BROKE]:
        return BROKE, counts[BROKE]
    judged = counts[HELD] + counts[DEGRADED]
    if judged:
        return (DEGRADED if counts[DEGRADED] else HELD), judged
    if counts[UNJUDGED]:
        return UNJUDGED, counts[UNJUDGED]
    return (NOT_REACHED if asked else NOT_TRIED), 0
