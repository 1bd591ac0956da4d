"""Settings mean what they say: zero and None, excluded classes, and an open period in seconds."""

from __future__ import annotations

import abc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.breaker_adapter import BreakerAdapter, BreakerPlan, BreakerWorld, Subject
from chaoskit.contracts.breaker_rows.doubles import FAILURES, Broken, fails, is_let_through, seen, trip
from chaoskit.contracts.report import Row, demand

__all__ = ["SETTINGS"]


def wall_clock(adapter: BreakerAdapter, example: tuple[float, str]) -> None:
    """B8: changes of the wall clock and of the time zone make the open period neither shorter nor longer."""
    # Zones in which a naive clock is wrong by hours, or by a whole day (Apia).
    step, zone = example
    with adapter.world() as world:
        subject = adapter.make(BreakerPlan(failures=1))
        trip(subject, 1)
        with _zone(zone):
            world.step(step)
            demand(
                not is_let_through(subject), f"a wall clock step of {step} s to {zone} ended the open period"
            )
            world.advance(10.0)
            demand(
                is_let_through(subject),
                f"a wall clock step of {step} s to {zone} made the open period longer",
            )


@contextmanager
def _zone(name: str) -> Iterator[None]:
    """Run the block in time zone ``name``."""
    before = os.environ.get("TZ")
    try:
        _set_zone(name)
        yield
    finally:
        _set_zone(before)


def _set_zone(name: str | None) -> None:
    if name is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = name
    if hasattr(time, "tzset"):
        time.tzset()


def zero_and_none(adapter: BreakerAdapter, example: tuple[str, Any]) -> None:
    """B9: a setting of zero or None is refused, or has its literal meaning; no default replaces it."""
    setting, value = example
    if setting == "probes" and "probes" not in adapter.features:
        return
    with adapter.world() as world:
        plan = replace(BreakerPlan(failures=1), **{setting: value})
        try:
            # A refusal may be any exception; the library chooses which.
            subject = adapter.make(plan)
        except Exception:
            return
        # A late refusal counts too, when the value is first compared with a number.
        try:
            _HONOURED[setting](subject, world, value)
        except TypeError:
            return


def _failures_honoured(subject: Subject, world: BreakerWorld, value: Any) -> None:
    # 0 may mean "open from the start" or "at the first failure", None "never"; 5 is the usual default.
    before = 0
    while before < 50 and seen(subject, fails(Broken())) == "error":
        before += 1
    demand(
        before in (0, 1, 50), f"failures={value!r} opened after {before} failures: a default took its place"
    )


def _open_for_honoured(subject: Subject, world: BreakerWorld, value: Any) -> None:
    trip(subject, 1)
    if value is None:
        # Longer than any default.
        world.advance(10 * 365 * 86400.0)
        demand(not is_let_through(subject), "open_for=None came to an end: a default took its place")
    else:
        demand(is_let_through(subject), "open_for=0 did not end at once: a default took its place")


def _probes_honoured(subject: Subject, world: BreakerWorld, value: Any) -> None:
    trip(subject, 1)
    world.advance(10.0)
    demand(not is_let_through(subject), f"probes={value!r} let a probe through: a default took its place")


_HONOURED: dict[str, Callable[[Subject, BreakerWorld, Any], None]] = {
    "failures": _failures_honoured,
    "open_for": _open_for_honoured,
    "probes": _probes_honoured,
}


class Plain(Exception):
    """An ordinary exception class."""


class Abstract(Exception, metaclass=abc.ABCMeta):
    """A class whose metaclass is ABCMeta, the only one in common use."""


# isinstance asks the metaclass, and except does not: a breaker that uses isinstance misses caught errors.
class _Liar(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return False


class Lying(Exception, metaclass=_Liar):
    """A class whose metaclass denies its instances; ``except`` catches them anyway."""


class LyingChild(Lying):
    """A subclass, since for the exact class ``isinstance`` answers without asking the metaclass."""


class _Odd(type):
    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("comparing classes")

    __hash__ = None  # type: ignore[assignment]


class Unhashable(Exception, metaclass=_Odd):
    """A class that can be neither compared nor put into a set."""


class PlainChild(Plain):
    """A subclass of an excluded class."""


class AbstractChild(Abstract):
    """A subclass of an excluded class with a metaclass."""


_PAIRS: list[tuple[type[Exception], type[Exception]]] = [
    (Plain, Plain),
    (Plain, PlainChild),
    (Abstract, Abstract),
    (Abstract, AbstractChild),
    (Lying, Lying),
    (Lying, LyingChild),
    (Unhashable, Unhashable),
]


def exclusions(adapter: BreakerAdapter, example: tuple[int, tuple[type[Exception], type[Exception]]]) -> None:
    """B11: an excluded class and its subclasses never open the breaker, whatever their metaclass."""
    failures, (excluded, raised) = example
    with adapter.world():
        subject = adapter.make(BreakerPlan(failures=failures, ignore=(excluded,)))
        # Twice the threshold, in case a breaker excludes the first ones only.
        for _ in range(2 * failures):
            error = raised()
            try:
                subject.call(fails(error))
            except BaseException as caught:
                demand(caught is error, f"excluding {excluded.__name__}, {raised.__name__} led to {caught!r}")
        demand(
            is_let_through(subject), f"excluding {excluded.__name__}, {raised.__name__} opened the breaker"
        )
        # An implementation that excludes every error must not pass.
        trip(subject, failures)
        demand(not is_let_through(subject), f"excluding {excluded.__name__} keeps other errors from counting")


SETTINGS: tuple[Row, ...] = (
    Row(
        "B8",
        "Wall clock and time zone do not matter.",
        wall_clock,
        st.tuples(
            st.floats(-1e6, 1e6).map(lambda s: round(s, 1)),
            st.sampled_from(["UTC", "Asia/Kolkata", "Pacific/Apia"]),
        ),
    ),
    Row(
        "B9",
        "Zero and None are honoured or refused, never replaced by a default.",
        zero_and_none,
        st.tuples(st.sampled_from(sorted(_HONOURED)), st.sampled_from([0, None])),
    ),
    Row(
        "B11",
        "Exclusions work for any exception class, those with a metaclass too.",
        exclusions,
        st.tuples(FAILURES, st.sampled_from(_PAIRS)),
        needs=frozenset({"ignore-classes"}),
    ),
)
