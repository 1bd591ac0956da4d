"""A value comes back as exactly what was given, or is refused before anything is written."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime.durable.store.codec import (
    MAX_DEPTH,
    MAX_PAYLOAD,
    check_name,
    checksum,
    decode,
    encode,
)
from chaoskit.runtime.failures.taxonomy import CheckpointError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers(-(2**2047), 2**2047) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS.filter(lambda one: one not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


def same(one: Any, other: Any) -> bool:
    """Equal, with equal types all the way down; ``1 == True == 1.0`` is not enough."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(VALUES)
def test_what_is_kept_comes_back_the_same(value: Any) -> None:
    """Types, order of keys, big integers and the last bit of a float included."""
    assert same(decode(encode(value)), value)


class Colour(enum.StrEnum):
    RED = "red"


class Text(str):
    __slots__ = ()


HOLDS_ITSELF: list[Any] = []
HOLDS_ITSELF += [HOLDS_ITSELF, HOLDS_ITSELF]

REFUSED = {
    "not a number": (float("nan"), r"value is nan \(float\); expected None, bool"),
    "infinite": ({"a": [float("inf")]}, r"value\['a'\]\[0\] is inf"),
    "integer keys": ({"a": {1: 2}}, r"a key of value\['a'\] is 1 \(int\); expected str"),
    "two keys in one": ({1: "x", "1": "y"}, r"a key of value is 1"),
    "tuples": ({"a": (1, 2)}, r"value\['a'\] is \(1, 2\) \(tuple\)"),
    "bytes": (b"x", r"value is b'x' \(bytes\)"),
    "subclasses": ([Colour.RED], r"value\[0\] is .*RED"),
    "text of a subclass": ([Text("x")], r"value\[0\] is 'x' \(Text\)"),
    "integers that no reader takes": (10**5000, r"integer of 16,610 bits; expected at most 2,048"),
    "half a surrogate pair": ({"a": "\ud800"}, r"half of a surrogate pair"),
    "half a surrogate pair in a key": ({"\udfff": 1}, r"half of a surrogate pair"),
    "too large": ("x" * MAX_PAYLOAD, r"1,048,578 bytes as JSON; expected at most 1,048,576.*Snapshots"),
    "itself": (HOLDS_ITSELF, r"holds itself|more than 524,288 parts"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_come_back_otherwise_is_refused(name: str) -> None:
    """The message names the place inside the value, and what was expected there."""
    value, said = REFUSED[name]
    with pytest.raises(CheckpointError, match=said):
        encode(value)


def test_the_plain_encoder_would_have_changed_them() -> None:
    """The standard library's encoder takes these without a word, and gives something else back."""
    assert json.loads(json.dumps({1: "x", "1": "y"})) == {"1": "y"}
    assert json.loads(json.dumps((1, 2))) == [1, 2]
    assert json.dumps(float("nan")) == "NaN"


def test_depth_is_bounded_on_both_ways() -> None:
    """What may be written can be read: neither way runs out of stack."""

    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth - 1):
            value = [value]
        return value

    assert same(decode(encode(nested(MAX_DEPTH))), nested(MAX_DEPTH))
    with pytest.raises(CheckpointError, match="more than 100 deep"):
        encode(nested(MAX_DEPTH + 1))
    with pytest.raises(ValueError, match="nested too deeply"):
        decode("[" * 100_000)


def test_a_value_whose_repr_fails_is_refused_too() -> None:
    """The message says what there is to say."""

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(CheckpointError, match="a value whose repr raises RuntimeError"):
        encode([Mute()])


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 1025, 1, None])
def test_names_are_what_every_database_keeps(name: object) -> None:
    """A scope, key, status or operation id is text, bounded, without NUL and without halves of pairs."""
    with pytest.raises(UsageError, match="expected text"):
        check_name("key", name)


@given(st.lists(TEXT.filter(lambda text: "\0" not in text), min_size=5, max_size=5), st.integers(0, 4))
def test_the_checksum_tells_where_a_record_belongs(names: list[str], place: int) -> None:
    """A record under another kind, scope, key or status, or with another payload, does not match."""
    kind, scope, key, status, payload = names
    other = [*names]
    other[place] += "x"
    assert checksum(kind, scope, key, status, 1, payload) != checksum(*other[:4], 1, other[4])  # type: ignore[call-arg, misc, arg-type]
    assert checksum(kind, scope, key, status, 1, payload) != checksum(kind, scope, key, status, 2, payload)
