"""Sets of faults: what a scenario asks for, combined with ``|`` and narrowed with ``on`` and ``only``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.finding import FaultClass
from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults import errnos
from chaoskit.faults.narrowing import Named, On, Only, Without

OneOrMore = str | Sequence[str]

_REMOTE = frozenset({"reset", "status", "aws", "kill", "delay", "power_loss"})
"""A set with one of these faults may strike at operations with a peer, so ``host`` may narrow it."""


class Family(Protocol):
    """One way in which the world goes wrong. Families are frozen, hashable data without machinery."""

    @property
    def names(self) -> frozenset[str]:
        """The names of all faults that this family can ever offer."""

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        """The faults that can really happen at ``operation``, in a fixed order.

        ``trace`` is the whole baseline that ``operation`` is a part of.
        """

    def __repr__(self) -> str:
        """The expression that the user wrote: ``faults.kill()``."""


F = TypeVar("F", bound=Family)


@dataclass(frozen=True, slots=True)
class _FilteredFamily:
    """One family, with filters that must all let a fault pass, and the class of its faults."""

    family: Family
    filters: tuple[On | Named, ...] = ()
    fault_class: FaultClass = "local"

    def __repr__(self) -> str:
        return repr(self.family) + "".join(map(repr, self.filters))

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        # Check the place first, and once: it excludes most operations of a narrowed set.
        places = [f for f in self.filters if isinstance(f, On)]
        if not all(place.lets(operation) for place in places):
            return
        kinds = [f for f in self.filters if not isinstance(f, On)]
        for fault in self.family.offers(operation, trace):
            if all(kind.lets(fault) for kind in kinds):
                yield fault

    def narrowed(self, narrowing: On | Named) -> _FilteredFamily:
        """The same family with one more filter."""
        return replace(self, filters=(*self.filters, narrowing))

    @property
    def names(self) -> frozenset[str]:
        """The names of all faults that pass the filters somewhere."""
        kinds = [f for f in self.filters if not isinstance(f, On)]
        return frozenset(name for name in self.family.names if all(kind.could(name) for kind in kinds))


@dataclass(frozen=True, slots=True, repr=False)
class FaultSet:
    """An immutable set of faults; made by the functions of ``chaoskit.faults``, not directly.

    ``a | b`` has the faults of both, in the order written; each fault is offered once at an operation, even
    if several parts of the set have it.
    """

    entries: tuple[_FilteredFamily, ...] = ()

    @classmethod
    def of(cls, family: Family, fault_class: FaultClass = "local") -> Self:
        """The set of everything that one family offers."""
        return cls((_FilteredFamily(family, fault_class=fault_class),))

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

    def _each(self, kind: type[F], change: Callable[[F], F]) -> Self:
        """The same set, with ``change`` applied to every family of ``kind``."""
        entries = (
            replace(entry, family=change(entry.family)) if isinstance(entry.family, kind) else entry
            for entry in self.entries
        )
        return type(self)(tuple(entries))

    @property
    def names(self) -> frozenset[str]:
        """The names of all faults that this set could offer somewhere, filters by name included."""
        return frozenset(name for entry in self.entries for name in entry.names)

    @property
    def families(self) -> tuple[str, ...]:
        """The names of the functions that made its parts, each once: ``disk``, ``kill`` …"""
        written = (repr(entry.family).partition("(")[0] for entry in self.entries)
        return tuple(dict.fromkeys(name.rpartition(".")[2] for name in written))

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        """The faults that can really happen at ``operation`` of ``trace``, each once, in fixed order."""
        seen: set[Fault] = set()
        for entry in self.entries:
            for fault in entry.offers(operation, trace):
                if fault not in seen:
                    seen.add(fault)
                    yield fault

    def class_of(self, fault: Fault, operation: Operation, trace: Trace) -> FaultClass:
        """The class of ``fault`` at ``operation``, by the first family that offers it there.

        A schedule may name a fault that this set does not offer; then the table of errors decides.
        """
        for entry in self.entries:
            if fault in entry.offers(operation, trace):
                return entry.fault_class
        return errnos.class_of(operation.call, fault.name, fault.argument)

    def misses(self, operations: Sequence[Operation]) -> tuple[str, ...]:
        """A sentence for each path that narrows this set but that no operation has."""
        places = (place for one in self.entries for place in one.filters if isinstance(place, On))
        return tuple(dict.fromkeys(text for place in places for text in place.misses(operations)))

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
            ``Store.save`` or ``*_atomic``. Any frame of the call's stack may fit, so naming a function
            includes everything that it calls.
        ``host``
            A glob for the name of the other side of a connection: ``api.example``, ``*.internal``.

        Raises:
            UsageError: for a call that does not exist, for an empty narrowing, and for ``host`` if no fault
            of the set concerns a network.
        """
        if host and self.names.isdisjoint(_REMOTE):
            raise wrong("host=", host, "to be left out, since none of these faults touches a network")
        narrowing = On.checked(call, path, site, host)
        # Filters add up: narrowing twice narrows further.
        return FaultSet(tuple(e.narrowed(narrowing) for e in self.entries))

    def only(self, *names: str) -> FaultSet:
        """Keep the faults named: ``ENOSPC`` in all its forms, or one form, ``ENOSPC[persistent]``.

        ``*`` in the brackets matches anything: ``kill[torn *]``. ``ENOSPC[once]`` is the form that does not
        last. Parts of the set without any of these faults are dropped.

        Raises:
            UsageError: for a name that no part of this set knows, and for brackets that it cannot have.
        """
        return self._narrowed(Only.checked(names, self.names, repr(self)))

    def without(self, *names: str) -> FaultSet:
        """Leave out the faults named, spelt as for :meth:`only`; everything else stays.

        Raises:
            UsageError: as for :meth:`only`.
        """
        return self._narrowed(Without.checked(names, self.names, repr(self)))

    def _narrowed(self, narrowing: Named) -> FaultSet:
        return FaultSet(tuple(one for e in self.entries if (one := e.narrowed(narrowing)).names))


def _not_a_set(other: object) -> UsageError:
    hint = f"Call it: faults.{getattr(other, '__name__', '…')}()." if callable(other) else ""
    return wrong("the other side of |", other, "a set of faults such as faults.kill()", hint)
