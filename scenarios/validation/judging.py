"""What was found after a power loss, held against all that a model allows there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from unittest import mock

from bed import Cut, Execution

from chaoskit.core.operation import Trace
from chaoskit.explore.crash import Model, Snapshot, needs, order, pieces, script, steps, tables, tree
from chaoskit.explore.crash.image import Image
from chaoskit.explore.crash.order import Order
from chaoskit.explore.crash.playing import play
from chaoskit.explore.crash.states import all_legal, variations
from chaoskit.explore.crash.tables import Tables

_TORN = 8
MOST_STATES = 3000
"""If a model allows more after a call, the cut is counted as not looked at."""


@contextmanager
def grain_of(size: int, most: int) -> Iterator[None]:
    """Let the models speak of blocks of ``size`` bytes, and cut a write into so many pieces at most.

    Their rules are about blocks, whatever size these have; 4096 bytes are what nearly all have.
    """
    modules = (pieces, steps, order, needs, tree, tables)
    with contextlib.ExitStack() as stack:
        for module in modules:
            stack.enter_context(mock.patch.object(module, "PAGE", size))
        stack.enter_context(mock.patch.object(pieces, "_MOST_PIECES", most))
        yield


def digest(found: Snapshot) -> int:
    """The hash of a tree, equal to that of every crash state that leaves the same one."""
    return Image(Tables(script(Trace(()), found, 0o022))).hash


@dataclass
class Judgement:
    """All that ``model`` allows in one execution; worked out as it is asked for."""

    execution: Execution
    model: Model
    grain: tuple[int, int] = (4096, 4)
    seen: set[int] = field(default_factory=set)
    """Legal trees that were found."""
    _legal: dict[int, tuple[list[tuple[Order, set[int]]], dict[int, int]] | None] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        with grain_of(*self.grain):
            self.script = script(self.execution.trace, self.execution.before, 0o022)
            self.tables = Tables(self.script)
            self.image = Image(self.tables)

    def allows(self, found: Snapshot, cut: Cut) -> bool | None:
        """True if the model allows what was found; None if it allows too much there to know."""
        with grain_of(*self.grain):
            return self._allows(digest(found), cut)

    def _allows(self, wanted: int, cut: Cut) -> bool | None:
        legal = self._allowed(self.execution.last(cut))
        if legal is None:
            return None
        orders, trees = legal
        if wanted in trees:
            self.seen.add(wanted)
            return True
        return any(
            self.image.look(self.tables.with_garbage(*torn)) == wanted
            for one, states in orders
            for state in states
            for torn in variations(one, state)
        )

    @property
    def legal(self) -> set[int]:
        """All trees that were legal at some moment that was asked about."""
        return {tree for known in self._legal.values() if known is not None for tree in known[1]}

    def trees(self, last: int) -> set[int] | None:
        """All trees that are legal after the call ``last``, torn writes included; None if there are too many.

        Of the first states only, what may be torn in them: it is the same rules in all.
        """
        with grain_of(*self.grain):
            legal = self._allowed(last)
            if legal is None:
                return None
            return set(legal[1]) | {
                self.image.look(self.tables.with_garbage(*torn))
                for one, states in legal[0]
                for state in sorted(states)[:_TORN]
                for torn in variations(one, state)
            }

    def _allowed(self, last: int) -> tuple[list[tuple[Order, set[int]]], dict[int, int]] | None:
        if last not in self._legal:
            orders, trees = [], {}
            for one in self._orders(last):
                states = all_legal(one, MOST_STATES)
                if states is None:
                    self._legal[last] = None
                    return None
                orders.append((one, states))
                trees.update((self.image.look(state), state) for state in sorted(states))
            self._legal[last] = (orders, trees)
        return self._legal[last]

    def _orders(self, last: int) -> Iterator[Order]:
        """After the call ``last``; in the middle of the next one, with and without what it syncs."""
        effects = self.script.effects
        for until, sync in ((last + 1, True), (last + 2, False), (last + 2, True)):
            if until > len(effects):
                continue
            one = Order(self.script, self.model)
            for effect in effects[: max(until - 1, 0)]:
                play(one, effect)
            if until:
                final = effects[until - 1]
                play(one, final if sync else replace(final, sync=None))
            yield one
