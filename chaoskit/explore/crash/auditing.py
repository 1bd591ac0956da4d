"""Crash states that a sync prevents: those of the same recording if the call had made nothing durable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from chaoskit.explore.border import Spared, World
from chaoskit.explore.crash.materialise import Materialiser
from chaoskit.explore.crash.snapshot import TOP, Inode, NodeKind
from chaoskit.explore.crash.states import CrashState, CrashStates, crash_states
from chaoskit.explore.crash.steps import Effect, Script, StepKind, Sync
from chaoskit.explore.crash.worlds import CrashHistory, CrashWorld


def without_syncs(recorded: CrashHistory, places: Sequence[int], broken: Sequence[World]) -> Iterator[Spared]:
    """For each call that made something durable, the states that would be possible if it had not.

    The power may fail after the operations ``places``. A state that lacks everything that one of the
    ``broken`` worlds lacks is left out: what breaks the program in spite of the sync says nothing about the
    sync.
    """
    script = recorded.states.script
    known = {_content(recorded.states, state) for state in recorded.states}
    causes = [world for world in broken if isinstance(world, CrashWorld)]
    for effect in script.effects:
        if effect.sync is None or effect.sync.failed:
            continue
        # A sync changes nothing at the operations before it.
        later = {place for place in places if place >= effect.operation}
        states = crash_states(_without(script, effect), recorded.models, at=later)
        history = replace(recorded, states=states, materialiser=Materialiser(states), _aftermaths={})
        new = [
            state
            for state in states
            if _content(states, state) not in known
            and not history.is_unknown(state)
            and not any(_explains(cause, history, state) for cause in causes)
        ]
        files = _files(states, new, effect.sync)
        yield Spared(effect.operation, tuple(map(history.planned, new)), files)


def _without(script: Script, spared: Effect) -> Script:
    effects = tuple(replace(one, sync=None) if one is spared else one for one in script.effects)
    return replace(script, effects=effects)


def _content(states: CrashStates, state: CrashState) -> tuple[int, int, int]:
    # With the promises: the same tree is right before a promise and wrong after it.
    return states.script.trace[state.moment.operation].place.run, state.hash, state.moment.promises


def _explains(cause: CrashWorld, history: CrashHistory, state: CrashState) -> bool:
    """True if the state lacks everything that is missing in ``cause``, which breaks the test anyway."""
    run = history.states.script.trace[state.moment.operation].place.run
    missing = set(cause.state.dropped)
    if run != cause.run or not missing <= set(state.dropped):
        return False
    return bool(missing) or state.moment.operation == cause.state.moment.operation


def _files(states: CrashStates, new: Sequence[CrashState], sync: Sync) -> tuple[str, ...]:
    """The files that the sync is about, by their names at the end.

    That is the file itself; for a sync of a directory, or of everything, each file there that lacks something
    in one of the ``new`` states.
    """
    steps, nodes = states.script.steps, states.script.nodes
    if sync.inode is not None and nodes[sync.inode].kind is NodeKind.FILE:
        inodes: dict[Inode | None, None] = {sync.inode: None}
    else:
        missing = [steps[number] for state in new for number in state.dropped]
        of_it = [step for step in missing if sync.inode in (None, step.owner)]
        inodes = {step.child if step.kind is StepKind.ENTRY else step.owner: None for step in of_it}
    files = [inode for inode in inodes if inode is not None and nodes[inode].kind is NodeKind.FILE]
    return tuple(dict.fromkeys(name for inode in files if (name := _name(states, inode))))


def _name(states: CrashStates, inode: Inode) -> str:
    """One name of an inode at the end, relative to the top; empty if it has none."""
    if inode == TOP:
        return ""
    everything = sum(1 << step.index for step in states.script.steps if step.torn_from is None)
    for directory, name in states.tables.names_of(inode):
        if states.tables.child(directory, name, everything) == inode:
            above = _name(states, directory)
            if above or directory == TOP:
                return f"{above}/{name}" if above else name
    return ""
