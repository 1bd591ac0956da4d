"""The tree of a snapshot, back to the state. Nothing that a snapshot names is imported or executed."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chaoskit.runtime.durable.snapshots import frames, numeric
from chaoskit.runtime.durable.snapshots.registry import Registry
from chaoskit.runtime.durable.snapshots.scalars import FROM_JSON
from chaoskit.runtime.durable.snapshots.signed import SignedPickle
from chaoskit.runtime.failures.taxonomy import ConfigurationError

__all__ = ["StateDecoder"]

_NESTED = frozenset({dict, list})


class StateDecoder:
    """Decodes one state.

    For a tree that ``Encoder`` did not make it may raise almost any error; the caller turns all of them into
    RecordCorrupt.
    """

    def __init__(
        self, buffers: Sequence[memoryview], registry: Registry, pickle: SignedPickle | None
    ) -> None:
        self._buffers = buffers
        self._registry = registry
        self._pickle = pickle
        self._floats: array[float] = array("d")
        self._floats.frombytes(buffers[0])
        if sys.byteorder == "big":
            self._floats.byteswap()

    def __call__(self, node: Any) -> Any:
        """The value of a node."""
        if type(node) is list:
            if _NESTED.isdisjoint(map(type, node)):
                return node
            return list(map(self, node))
        if type(node) is not dict:
            return node
        tag = node.get("$")
        if tag is None:
            return {key: self(item) for key, item in node.items()}
        simple = FROM_JSON.get(tag)
        # An unknown tag is a KeyError, which the caller turns into RecordCorrupt.
        return simple(node) if simple is not None else _TAGS[tag](self, node)

    def _floats_of(self, node: Mapping[str, Any]) -> list[float]:
        start, count = node["at"], node["n"]
        found = self._floats[start : start + count].tolist()
        # A slice accepts any bounds: without this check, a damaged snapshot would load with fewer values.
        if start < 0 or count < 0 or len(found) != count:
            raise ValueError("there are not this many floats")
        return found

    def _lists(self, node: Mapping[str, Any]) -> list[list[Any]]:
        flat, found, at = self(node["v"]), [], 0
        for length in node["n"]:
            if not 0 <= length <= len(flat) - at:
                raise ValueError("the lists are longer than what they hold")
            found.append(flat[at : at + length])
            at += length
        if at != len(flat):
            raise ValueError("the lists are shorter than what they hold")
        return found

    def _records(self, node: Mapping[str, Any]) -> list[dict[str, Any]]:
        keys, columns = node["k"], [self(column) for column in node["v"]]
        if len(keys) != len(columns):
            raise ValueError("there are not as many columns as keys")
        return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]

    def _dict(self, node: Mapping[str, Any]) -> dict[Any, Any]:
        return dict(zip(map(self, node["k"]), map(self, node["v"]), strict=True))

    def _object(self, node: Mapping[str, Any]) -> Any:
        known = self._registry.by_name.get(node["t"])
        if known is None:
            raise ConfigurationError(
                f"the snapshot holds a {node['t']!r}, not registered here; expected codec.register first",
                hint="Register the class under this name with the codec that loads.",
            )
        return known.decode(self(node["v"]))

    def _pickled(self, node: Mapping[str, Any]) -> Any:
        if self._pickle is None:
            raise ConfigurationError(
                "the snapshot holds a pickle; expected a codec with the key: StateCodec(pickle=…)",
                hint="Give SignedPickle with the key that it was written with, if you trust its holders.",
            )
        return self._pickle.loads(bytes(self._buffers[node["b"]]))


_TAGS: dict[str, Callable[[StateDecoder, Mapping[str, Any]], Any]] = {
    "array": lambda decoder, node: numeric.ndarray_from_json(node, decoder._buffers),
    "dict": StateDecoder._dict,
    "floats": StateDecoder._floats_of,
    "frame": lambda decoder, node: frames.frame_from_json(node, decoder),
    "frozenset": lambda decoder, node: frozenset(decoder(node["v"])),
    "lists": StateDecoder._lists,
    "missing": lambda decoder, node: frames.missing_from_json(node),
    "numbers": lambda decoder, node: numeric.array_from_json(node, decoder._buffers),
    "object": StateDecoder._object,
    "pickle": StateDecoder._pickled,
    "raw": lambda decoder, node: bytes(decoder._buffers[node["b"]]),
    "records": StateDecoder._records,
    "scalar": lambda decoder, node: numeric.scalar_from_json(node, decoder._buffers),
    "series": lambda decoder, node: frames.series_from_json(node, decoder),
    "set": lambda decoder, node: set(decoder(node["v"])),
    "timestamp": lambda decoder, node: frames.timestamp_from_json(node, decoder),
    "tuple": lambda decoder, node: tuple(decoder(node["v"])),
}
