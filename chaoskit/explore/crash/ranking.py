"""Which crash states to check first if not all can be checked."""

from __future__ import annotations

import random
from collections import defaultdict

from chaoskit.explore.crash.states import CrashState, CrashStates
from chaoskit.explore.crash.steps import Script, StepKind, bits


def most_suspicious(states: CrashStates, budget: int, seed: int = 0) -> tuple[CrashState, ...]:
    """At most ``budget`` states to check first; the same for the same seed.

    States that no kill can leave come before those that a kill leaves, too; last come those in which a write
    has its later part but not its earlier one. Every operation has one turn before any has a second.
    """
    # Shuffled before they are ranked: within a rank no operation or file comes first by its position.
    chance = random.Random(seed)
    turns: defaultdict[tuple[int, int], int] = defaultdict(int)
    ranked = []
    shuffled = list(states.states)
    chance.shuffle(shuffled)
    for state in shuffled:
        rank = _rank(states.script, state)
        turn = turns[rank, state.moment.operation] = turns[rank, state.moment.operation] + 1
        ranked.append((rank, turn, state.moment.operation, state.hash, state))
    # Finally by the hash, so that the order does not depend on how states were found.
    ranked.sort(key=lambda entry: entry[:4])
    return tuple(entry[4] for entry in ranked[:budget])


def overtaken_in_one_write(script: Script, state: CrashState) -> bool:
    """True if a later part of one write is there and an earlier part is not.

    No mounted file system has shown that on its own: the whole of a write, or its beginning, is sent at
    once. It takes a sync_file_range of just the later part (measured on ext4, xfs and btrfs), or a disk
    that writes the parts of one request in any order.
    """
    missing: dict[int, int] = {}
    for index in state.dropped:
        step = script.steps[index]
        if step.kind is StepKind.DATA and not step.unasked and step.torn_from is None:
            missing.setdefault(step.operation, index)
    return any(
        missing.get(step.operation, index) < index
        for index in bits(state.persisted & state.moment.pending)
        if (step := script.steps[index]).kind is StepKind.DATA and not step.unasked
    )


def _rank(script: Script, state: CrashState) -> int:
    """The rank, 0 first: a durable name of data that is not durable is the most common bug."""
    if overtaken_in_one_write(script, state):
        return 4
    if state.complete:
        return 3
    if state.garbage or any(script.steps[i].torn_from is not None for i in bits(state.persisted)):
        return 2
    pending = bits(state.persisted & state.moment.pending)
    entries = [i for i in pending if script.steps[i].kind is StepKind.ENTRY and not script.steps[i].creates]
    lost = [i for i in state.dropped if script.steps[i].kind in (StepKind.DATA, StepKind.GROW)]
    return 0 if entries and lost else 1
