"""State to a tree that JSON can hold, and raw buffers.

Visiting values one by one would cost most of the time, so values of one kind are handled together: a list of
floats becomes raw bytes in one call, a list of dictionaries with the same keys becomes one list for each key,
and a list of lists becomes one list and its lengths. Few values are then left to visit, however long the
lists.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from chaoskit.runtime.durable.snapshots import frames, numeric
from chaoskit.runtime.durable.snapshots.container import Buffer
from chaoskit.runtime.durable.snapshots.registry import Registry
from chaoskit.runtime.durable.snapshots.scalars import LARGEST, TO_JSON
from chaoskit.runtime.durable.snapshots.signed import SignedPickle

__all__ = ["MAX_DEPTH", "Encoder", "Unstorable"]

MAX_DEPTH = 100
"""Deeper states are refused. That also ends the walk through a state whose cycle was not recognized."""

_FEW = 4
"""Lists shorter than this are visited item by item, since handling them together costs more than it saves."""

_LARGE_BYTES = 256
"""Bytes of this length and more go to a buffer instead of the head, where they would be text."""

_AS_IT_IS = frozenset({str, bool, type(None)})


class Unstorable(Exception):
    """A part of the state that cannot be written: why, and the steps that lead to it, innermost first."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.steps: list[str] = []


class Encoder:
    """Encodes one state.

    ``precise`` visits every value. That is slower, but finds the part that cannot be stored. It also suits
    states in which one object occurs in several places: handling lists together could write such an object
    exponentially often.
    """

    def __init__(self, registry: Registry, pickle: SignedPickle | None, *, precise: bool = False) -> None:
        self._registry = registry
        self._pickle = pickle
        self._precise = precise
        self._depth = 0
        self._within: set[int] = set()
        self._floats: array[float] = array("d")
        self._buffers: list[Buffer] = []

    def put(self, data: Any) -> int:
        """Keep a buffer and return its number. Number 0 is the buffer of all floats."""
        # Kept without a copy: the only copy is the one in the file.
        self._buffers.append(data)
        return len(self._buffers)

    def buffers(self) -> list[Buffer]:
        """All buffers. Valid once the whole state is encoded."""
        if sys.byteorder == "big":
            self._floats.byteswap()
        return [memoryview(self._floats).cast("B"), *self._buffers]

    def __call__(self, value: Any) -> Any:
        """A value as JSON.

        Raises:
            Unstorable: the value, or a part of it, cannot be written.
        """
        kind = type(value)
        simple = TO_JSON.get(kind)
        if simple is not None:
            return self._simple(kind, simple, value)
        self._enter(value)
        try:
            if kind is dict:
                return self._dict(value)
            if kind is list:
                return self._list(value)
            walk = _CONTAINERS.get(kind)
            return walk(self, value) if walk else self._other(kind, value)
        finally:
            self._depth -= 1
            self._within.discard(id(value))

    def _enter(self, value: Any) -> None:
        if id(value) in self._within:
            raise Unstorable("it contains itself")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._depth -= 1
            raise Unstorable(f"it is more than {MAX_DEPTH} levels deep")
        self._within.add(id(value))

    def _simple(self, kind: type, to_json: Callable[[Any], Any], value: Any) -> Any:
        if kind is bytes and len(value) >= _LARGE_BYTES:
            return {"$": "raw", "b": self.put(value)}
        # Unless precise, a lone surrogate is found when the JSON of the whole state is encoded, at no cost.
        if self._precise and kind is str:
            _check_text(value)
        try:
            return to_json(value)
        except (TypeError, ValueError) as error:
            raise Unstorable(str(error)) from error

    def _dict(self, value: dict[Any, Any]) -> Any:
        if set(map(type, value)) <= {str} and "$" not in value:
            if self._precise:
                for key in value:
                    self._step(f"key {key!r}", _check_text, key)
            return {key: self._step(f"[{key!r}]", self, item) for key, item in value.items()}
        keys = [self._step(f"key {key!r}", self, key) for key in value]
        return {"$": "dict", "k": keys, "v": [self._step(f"[{k!r}]", self, v) for k, v in value.items()]}

    def _list(self, items: list[Any]) -> Any:
        if not self._precise and len(items) >= _FEW:
            kinds = set(map(type, items))
            if kinds <= _AS_IT_IS:
                return items
            if len(kinds) == 1:
                together = _TOGETHER.get(next(iter(kinds)))
                found = together(self, items) if together else None
                if found is not None:
                    return found
        return [self._step(f"[{at}]", self, item) for at, item in enumerate(items)]

    def _ints(self, items: list[int]) -> Any:
        return items if min(items) >= -LARGEST and max(items) <= LARGEST else None

    def _float_list(self, items: list[float]) -> Any:
        start = len(self._floats)
        self._floats.extend(items)
        return {"$": "floats", "at": start, "n": len(items)}

    def _lists(self, items: list[list[Any]]) -> Any:
        self._refuse_shared(items)
        # Joined into one list, since tables often consist of many short ones.
        flat = list(chain.from_iterable(items))
        return {"$": "lists", "n": list(map(len, items)), "v": self(flat)}

    def _dicts(self, items: list[dict[Any, Any]]) -> Any:
        keys = list(items[0])
        if not keys or not set(map(type, keys)) <= {str}:
            return None
        # In the same order too: a dictionary must not come back with its keys in another order.
        if any(list(item) != keys for item in items):
            return None
        self._refuse_shared(items)
        return {"$": "records", "k": keys, "v": [self([item[key] for item in items]) for key in keys]}

    def _refuse_shared(self, items: Iterable[Any]) -> None:
        """Raise Unstorable, so that the precise walk takes over, if an object is repeated or holds itself."""
        numbers = list(map(id, items))
        if len(set(numbers)) < len(numbers) or not self._within.isdisjoint(numbers):
            raise Unstorable("one object stands at several places")

    def _tuple(self, value: tuple[Any, ...]) -> Any:
        return {"$": "tuple", "v": self._list(list(value))}

    def _set(self, value: Any) -> Any:
        try:
            # Sorted, so that equal states have equal bytes. Items that cannot be compared keep any order.
            items = sorted(value)
        except TypeError:
            items = list(value)
        return {"$": type(value).__name__, "v": self._list(items)}

    def _other(self, kind: type, value: Any) -> Any:
        known = self._registry.by_type.get(kind)
        if known is not None:
            plain = self._calling(f"encode of {known.name!r}", known.encode, value)
            return {"$": "object", "t": known.name, "v": self._step(f".({known.name})", self, plain)}
        for package, name, encode in _FOREIGN:
            # Looked up, not imported: a value of a package can exist only if the package is loaded.
            module = sys.modules.get(package)
            if module is not None and isinstance(value, base := getattr(module, name)):
                # The exact class, since a subclass may hold more data. NumPy scalars all derive from generic.
                if type(value) is base or (package == "numpy" and name == "generic"):
                    return self._calling(f"{package}.{name}", encode, self, value)
                break
        pandas = sys.modules.get("pandas")
        if pandas is not None and (value is pandas.NaT or value is pandas.NA):
            return frames.missing_to_json(value)
        if self._pickle is not None:
            text = self._calling("pickle", self._pickle.dumps, value)
            return {"$": "pickle", "b": self.put(text)}
        raise Unstorable(
            f"it is a {kind.__module__}.{kind.__qualname__}; expected a type that snapshots know."
            " Register it with codec.register, or save what it is made of"
        )

    def _calling(self, what: str, fn: Callable[..., Any], *args: Any) -> Any:
        try:
            return fn(*args)
        except Unstorable:
            raise
        except Exception as error:
            raise Unstorable(f"{what} failed with {type(error).__name__}: {error}") from error

    def _step(self, step: str, fn: Callable[[Any], Any], value: Any) -> Any:
        try:
            return fn(value)
        except Unstorable as error:
            error.steps.append(step)
            raise


def _check_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Unstorable(f"the text {value!r:.80} cannot be written: {error.reason}") from error


_CONTAINERS: dict[type, Callable[[Encoder, Any], Any]] = {
    tuple: Encoder._tuple,
    set: Encoder._set,
    frozenset: Encoder._set,
    array: lambda encoder, value: encoder._calling("array", numeric.array_to_json, value, encoder),
}

_TOGETHER: dict[type, Callable[[Encoder, list[Any]], Any]] = {
    float: Encoder._float_list,
    int: Encoder._ints,
    list: Encoder._lists,
    dict: Encoder._dicts,
}

_FOREIGN: tuple[tuple[str, str, Callable[[Encoder, Any], Any]], ...] = (
    ("numpy", "ndarray", lambda encoder, value: numeric.ndarray_to_json(value, encoder)),
    ("numpy", "generic", lambda encoder, value: numeric.scalar_to_json(value, encoder)),
    ("pandas", "DataFrame", lambda encoder, value: frames.frame_to_json(value, encoder)),
    ("pandas", "Series", lambda encoder, value: frames.series_to_json(value, encoder)),
    ("pandas", "Timestamp", lambda encoder, value: frames.timestamp_to_json(value, encoder)),
)
"""Types of other packages, and how their values are encoded. No package is imported to recognize one."""
