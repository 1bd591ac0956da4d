"""Sets of faults: what a scenario asks for, combined with ``|`` and narrowed with ``on`` and ``only``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.narrowing import On, Only

OneOrMore = str | Sequence[str]


class Family(Protocol):
    """One way in which the world goes wrong. Families are frozen, hashable data without machinery."""

    @property
    def names(self) -> frozenset[str]:
        """The names of all faults that this family can ever offer."""

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        """The faults that can really happen at ``operation``, in an order that never varies.

        ``trace`` is the whole baseline that ``operation`` is a part of.
        """

    def __repr__(self) -> str:
        """How the user wrote it: ``faults.kill()``."""


@dataclass(frozen=True, slots=True)
class _FilteredFamily:
    """One family with the filters that all must let a fault pass."""

    family: Family
    filters: tuple[On | Only, ...] = ()

    def __repr__(self) -> str:
        return repr(self.family) + "".join(map(repr, self.filters))

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        # The place is asked first and once: most operations of a narrowed set end here.
        places = [f for f in self.filters if isinstance(f, On)]
        if not all(place.lets(operation) for place in places):
            return
        kinds = [f for f in self.filters if isinstance(f, Only)]
        for fault in self.family.offers(operation, trace):
            if all(kind.lets(fault) for kind in kinds):
                yield fault

    def leaves(self, only: Only) -> bool:
        return not self.family.names.isdisjoint(only.names)


@dataclass(frozen=True, slots=True, repr=False)
class FaultSet:
    """An immutable set of faults; made by the functions of ``chaoskit.faults``, not directly.

    ``a | b`` has the faults of both, in the order written; each fault is offered once at an
    operation, however many parts of the set know it.
    """

    entries: tuple[_FilteredFamily, ...] = ()

    @classmethod
    def of(cls, family: Family) -> FaultSet:
        """The set of everything that one family offers."""
        return cls((_FilteredFamily(family),))

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.entries)) or "FaultSet()"

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __or__(self, other: FaultSet) -> FaultSet:
        if not isinstance(other, FaultSet):
            raise _not_a_set(other)
        return FaultSet(tuple(dict.fromkeys(self.entries + other.entries)))

    def __ror__(self, other: object) -> FaultSet:
        raise _not_a_set(other)

    @property
    def names(self) -> frozenset[str]:
        """The names of all faults that this set could offer somewhere, filters by name included."""
        return frozenset(
            name
            for entry in self.entries
            for name in entry.family.names
            if all(name in only.names for only in entry.filters if isinstance(only, Only))
        )

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        """The faults that can really happen at ``operation`` of ``trace``, each once, in fixed order."""
        seen: set[Fault] = set()
        for entry in self.entries:
            for fault in entry.offers(operation, trace):
                if fault not in seen:
                    seen.add(fault)
                    yield fault

    def on(
        self,
        *,
        call: OneOrMore = (),
        path: OneOrMore = (),
        site: OneOrMore = (),
        host: OneOrMore = (),
    ) -> FaultSet:
        """Strike only at operations that fit every keyword given (any of its values, if several).

        ``call``
            The family of the call: ``write``, ``rename``, ``fsync`` …
        ``path``
            A glob for either target, relative to the scenario's directory. ``*`` stops at ``/``,
            ``**`` does not. A pattern without ``/`` is for the last part of a name: ``*.tmp``.
        ``site``
            Where in the Python code: ``store.py:42``, ``pkg/store.py:*``, or a glob for a function,
            ``Store.save`` or ``*_atomic``. Any frame of the call's stack may fit, so that naming a
            function means all that is done beneath it.

        Raises:
            UsageError: for a call that does not exist, for an empty narrowing, and for ``host``:
                no family offered yet touches a network.
        """
        if host:
            raise wrong("host=", host, "to be left out, since none of these faults touches a network")
        narrowing = On.checked(call, path, site)
        # Filters add up and never replace one another: narrowing twice narrows further.
        return FaultSet(tuple(_FilteredFamily(e.family, (*e.filters, narrowing)) for e in self.entries))

    def only(self, *names: str) -> FaultSet:
        """Keep the faults named: ``ENOSPC`` in all its forms, or one form, ``ENOSPC[persistent]``.

        ``*`` in the brackets stands for anything: ``kill[torn *]``. ``ENOSPC[]`` is the bare form.
        Parts of the set that cannot make any of these faults fall out.

        Raises:
            UsageError: for a name that no part of this set knows.
        """
        narrowing = Only.checked(names, self.names, repr(self))
        kept = tuple(e for e in self.entries if e.leaves(narrowing))
        return FaultSet(tuple(_FilteredFamily(e.family, (*e.filters, narrowing)) for e in kept))


def _not_a_set(other: object) -> UsageError:
    hint = f"Call it: faults.{getattr(other, '__name__', '…')}()." if callable(other) else ""
    return wrong("the other side of |", other, "a set of faults such as faults.kill()", hint)
