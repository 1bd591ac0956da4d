"""Replaces functions wherever they are bound, and restores them.

``from os import rename`` binds a function under a name of another module, and ``def f(write=os.write)`` in a
default. So the heap is searched for references. That takes some 40 ms for 50,000 objects, so the places are
kept, and later only modules are searched again; an audit hook (:mod:`chaoskit.inject.inprocess.witness`)
notices if that was too little, and then everything is searched once more.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import CellType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any

Slot = tuple[Callable[[Any], object], Any]
"""A setter for a place, and the function that the place holds now."""
Instead = Mapping[int, tuple[Any, Any]]
"""By the identity of an original: the original, and its replacement."""

_found: dict[int, Callable[[], Any]] = {}
"""How to reach the holders of originals; weak references where possible, since they belong to the program."""
_searched_for: frozenset[int] = frozenset()


def forget() -> None:
    """Search the heap again next time: a place was missed."""
    global _searched_for
    _searched_for = frozenset()


def replaced(pairs: Mapping[Any, Any]) -> Callable[[], None]:
    """Replace each key by its value wherever the key is bound; return a function that undoes it.

    ``pairs`` maps originals to replacements, and both are compared by identity.
    """
    instead = {id(old): (old, new) for old, new in pairs.items()}
    undo: list[tuple[Callable[[Any], object], Any]] = []
    for put, old in list(_slots(instead)):
        put(instead[id(old)][1])
        undo.append((put, old))

    def restore() -> None:
        while undo:
            put, old = undo.pop()
            put(old)

    return restore


def _slots(instead: Instead) -> Iterator[Slot]:
    if _searched_for != frozenset(instead):
        _search(instead)
    seen: set[int] = set()
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        if isinstance(module, ModuleType) and isinstance(names, dict) and id(names) not in seen:
            seen.add(id(names))
            yield from _in_mapping(names, instead)
    for get in list(_found.values()):
        holder = get()
        if holder is not None and id(holder) not in seen:
            yield from _in(holder, instead)


def _search(instead: Instead) -> None:
    """Find everything that holds one of the originals, except frames, whose variables cannot be written."""
    global _searched_for
    _searched_for = frozenset(instead)
    _found.clear()
    ours = {id(pair) for pair in instead.values()}
    with _thawed():
        holders = [
            one for one in gc.get_referrers(*(old for old, _ in instead.values())) if id(one) not in ours
        ]
        # A tuple of defaults cannot be changed, and the namespace of a class only through the class.
        tuples = [one for one in holders if isinstance(one, tuple)]
        spaces = [one for one in holders if isinstance(one, dict)]
        functions = (
            [one for one in gc.get_referrers(*tuples) if isinstance(one, FunctionType)] if tuples else []
        )
        classes = [one for one in gc.get_referrers(*spaces) if isinstance(one, type)] if spaces else []
    of_classes = {id(one) for owner in classes for one in gc.get_referents(owner)}
    for one in [*functions, *classes, *holders]:
        if id(one) not in of_classes and next(_in(one, instead), None) is not None:
            _found[id(one)] = _held(one)


@contextlib.contextmanager
def _thawed() -> Iterator[None]:
    """Let the collector, which finds referrers, see what a program has frozen, as some do before a fork."""
    if not gc.get_freeze_count():
        yield
        return
    gc.unfreeze()
    try:
        yield
    finally:
        gc.freeze()


def _held(one: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(one)
    except TypeError:
        return lambda: one


def _in(holder: Any, instead: Instead) -> Iterator[Slot]:
    if isinstance(holder, dict):
        yield from _in_mapping(holder, instead)
    elif isinstance(holder, list | deque):
        for place, value in enumerate(holder):
            if id(value) in instead:
                yield partial(holder.__setitem__, place), value
    elif isinstance(holder, staticmethod):
        if id(holder.__func__) in instead:
            # Changed in place: others may look it up by identity, and there may be several references.
            yield holder.__init__, holder.__func__  # type: ignore[misc]
    elif isinstance(holder, partial):
        if id(holder.func) in instead:
            yield partial(_set_called, holder), holder.func
    elif isinstance(holder, CellType):
        # An empty cell raises ValueError.
        with contextlib.suppress(ValueError):
            if id(holder.cell_contents) in instead:
                yield partial(setattr, holder, "cell_contents"), holder.cell_contents
    elif isinstance(holder, type):
        for name, value in list(vars(holder).items()):
            if id(value) in instead:
                yield partial(setattr, holder, name), value
    else:
        if isinstance(holder, FunctionType):
            yield from _in_defaults(holder, instead)
        if isinstance(getattr(holder, "__dict__", None), dict):
            yield from _in_mapping(vars(holder), instead)
        yield from _in_slots(holder, instead)


def _in_mapping(names: dict[Any, Any], instead: Instead) -> Iterator[Slot]:
    for name, value in list(names.items()):
        # A wrapper names its function under __wrapped__, but calls it by another name.
        if id(value) in instead and name != "__wrapped__":
            yield partial(names.__setitem__, name), value


def _in_defaults(function: FunctionType, instead: Instead) -> Iterator[Slot]:
    for place, value in enumerate(function.__defaults__ or ()):
        if id(value) in instead:
            yield partial(_set_default, function, place), value
    yield from _in_mapping(function.__kwdefaults__ or {}, instead)


def _in_slots(holder: Any, instead: Instead) -> Iterator[Slot]:
    for owner in type(holder).__mro__:
        # Only for classes in Python: members of C classes cannot be written.
        for member in vars(owner).values() if "__slots__" in vars(owner) else ():
            # An empty slot raises AttributeError.
            with contextlib.suppress(AttributeError):
                if isinstance(member, MemberDescriptorType) and id(member.__get__(holder)) in instead:
                    yield partial(member.__set__, holder), member.__get__(holder)


def _set_called(holder: partial[Any], value: Any) -> None:
    # As pickle would: functools.partial can be changed in no other way.
    state: Any = holder.__reduce__()[2]
    holder.__setstate__((value, *state[1:]))  # type: ignore[attr-defined]


def _set_default(function: FunctionType, place: int, value: Any) -> None:
    kept = list(function.__defaults__ or ())
    kept[place] = value
    function.__defaults__ = tuple(kept)
