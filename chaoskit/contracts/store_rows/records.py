"""The S rows about one record: values that may be saved, damage, and failures half way."""

from __future__ import annotations

import math
import pickle
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.store_adapter import StoreAdapter, StoreSubject

__all__ = ["RECORDS", "Executed"]


class FailsInside(Exception):
    """Raised by a row inside a transaction."""


class Executed:
    """Loading a pickle of this class runs code, which adds to ``ran``."""

    ran: list[int] = []  # noqa: RUF012 - what a loaded pickle can reach

    def __reduce__(self) -> tuple[Any, ...]:
        return (_note, ())


def _note() -> str:
    Executed.ran.append(1)
    return "executed"


def trouble_passes(adapter: StoreAdapter, example: int) -> None:
    """S5: while the store fails, a step fails and records no result; values stay as they are."""
    with adapter.place() as place, adapter.open(place) as store:
        store.save("k", "old")
        with adapter.busy(place):
            for _ in range(example):
                _demand_raises(lambda: store.save("k", "new"), "a save while the store was held")
                _demand_raises(lambda: store.step("s", lambda: "result"), "a step while the store was held")
            demand(store.load("k") == "old", "a save that failed has changed the value")
        result = store.step("s", lambda: "result")
        demand(result == "result", f"after the trouble the step gives {result!r}")
        store.save("k", "new")
        demand(store.load("k") == "new", "after the trouble a save changes nothing")


def _demand_raises(call: Any, what: str) -> None:
    try:
        call()
    except Exception:
        return
    raise AssertionError(f"{what} raised nothing")


def same_or_refused(adapter: StoreAdapter, example: Any) -> None:
    """S6: a saved value comes back equal and with the same types, or is refused and changes nothing."""
    with adapter.place() as place, adapter.open(place) as store:
        store.save("k", "old")
        try:
            store.save("k", example)
        except Exception:
            found = store.load("k")
            demand(found == "old", f"{example!r} was refused, and left {found!r}")
        else:
            found = store.load("k")
            demand(_same(found, example), f"{example!r} was saved and came back as {found!r}")


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if type(one) is object:
        return True  # Equal only to itself, so no better result is possible.
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            _same(a, b) and _same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    return bool(one == other)


def damage_is_seen(adapter: StoreAdapter, example: int) -> None:
    """S8: a value that was changed without the store is refused; its neighbours can be read."""
    keys = [f"k{n}" for n in range(3)]
    with adapter.place() as place:
        with adapter.open(place) as store:
            for key in keys:
                store.save(key, {"text": "good"})
        adapter.damage(place, keys[example], None)
        with adapter.open(place) as store:
            for n, key in enumerate(keys):
                if n == example:
                    _demand_refused(store, key)
                else:
                    found = store.load(key)
                    demand(found == {"text": "good"}, f"beside a damaged record {key!r} is {found!r}")


def _demand_refused(store: StoreSubject, key: str) -> None:
    try:
        found = store.load(key)
    except Exception:
        return
    raise AssertionError(f"a damaged record was loaded as {found!r}")


def nothing_executes(adapter: StoreAdapter, example: int) -> None:
    """S9: loading never runs stored code, whatever is stored."""
    stored = pickle.dumps(Executed(), protocol=example)
    with adapter.place() as place:
        with adapter.open(place) as store:
            store.save("k", {"text": "good"})
        adapter.damage(place, "k", stored)
        Executed.ran.clear()
        with adapter.open(place) as store:
            try:
                found: Any = store.load("k")
            except Exception as error:
                found = error
    demand(not Executed.ran, f"loading ran code that was stored, and gave {found!r}")


def all_or_nothing(adapter: StoreAdapter, example: tuple[int, bool]) -> None:
    """S11: several writes that fail before their commit leave nothing, even after the store is reopened."""
    count, reopened = example
    values = {f"k{n}": n for n in range(count)}

    def fail() -> None:
        raise FailsInside

    with adapter.place() as place:
        with adapter.open(place) as store:
            store.save("k0", "old")
            try:
                store.together(values, fail)
            except FailsInside:
                pass
            else:
                raise AssertionError("the error in a transaction was swallowed")
            if not reopened:
                _demand_untouched(store, values)
        if reopened:
            with adapter.open(place) as store:
                _demand_untouched(store, values)


def _demand_untouched(store: StoreSubject, values: dict[str, int]) -> None:
    for key in values:
        try:
            found: Any = store.load(key)
        except KeyError:
            found = None
        expected = "old" if key == "k0" else None
        demand(
            found == expected, f"after a failed transaction {key!r} is {found!r}; before it was {expected!r}"
        )


_LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=4)),
    *(st.just(object()), st.complex_numbers(max_magnitude=3), st.dates()),
)
_TRAPS = st.sampled_from([math.nan, -math.inf, 2**70, "\ud800", "a\0", "", {1: 1, "1": 2}, (1,), [b"\xff"]])
"""Values that formats often get wrong, and that random examples rarely contain."""
_DRAWN = st.recursive(
    _LEAVES,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.tuples(below, below),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers(0, 3)), below, max_size=3),
    ),
    max_leaves=5,
)
_VALUES = st.booleans().flatmap(lambda trap: _TRAPS if trap else _DRAWN)

RECORDS = (
    Row(
        "S5",
        "Transient store errors are not recorded as step results; what was refused is unchanged.",
        trouble_passes,
        st.integers(1, 2),
        needs=frozenset({"busy", "steps"}),
    ),
    Row("S6", "An unserialisable value is a loud error and changes nothing.", same_or_refused, _VALUES),
    Row(
        "S8",
        "A corrupt record is refused with a reason; its neighbours are unaffected.",
        damage_is_seen,
        st.integers(0, 2),
        needs=frozenset({"damage"}),
    ),
    Row(
        "S9",
        "Loading never executes stored code.",
        nothing_executes,
        st.integers(0, pickle.HIGHEST_PROTOCOL),
        needs=frozenset({"damage"}),
    ),
    Row(
        "S11",
        "A transaction that fails leaves nothing of it.",
        all_or_nothing,
        st.tuples(st.integers(1, 5), st.booleans()),
        needs=frozenset({"atomic"}),
    ),
)
