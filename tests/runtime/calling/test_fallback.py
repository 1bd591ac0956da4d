"""The fallback chain: the first acceptable candidate, and a record of why not the others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Candidate, FallbackChain, LastGood
from chaoskit.runtime.calling.candidates import CandidateRejected, ChoiceMade, Rejection, Why
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.failures.taxonomy import NoCandidate


class Down(ConnectionError):
    """The service is down."""


def down(*_: object) -> Any:
    """A candidate that fails."""
    raise Down("down")


def gives(value: Any) -> Any:
    """A candidate's function that gives ``value``, whatever it is called with."""
    return lambda *args, **kwargs: value


def test_the_first_acceptable_candidate_is_chosen() -> None:
    """Order decides; what comes later is not even tried."""
    chain: FallbackChain[str] = FallbackChain(
        Candidate("primary", down), Candidate("mirror", gives("data")), Candidate("never", down)
    )
    choice = chain.choose()
    assert (choice.value, choice.candidate, choice.age) == ("data", "mirror", None)
    assert [str(r) for r in choice.rejections] == ["primary: failed (Down('down'))"]
    assert isinstance(choice.rejections[0].error, Down)
    assert chain.call() == "data"


def test_candidates_get_the_arguments() -> None:
    """Every candidate is called with the arguments of the call."""
    chain: FallbackChain[Any] = FallbackChain(
        Candidate("a", down), Candidate("b", lambda *args, **kwargs: (args, kwargs))
    )
    assert chain.call(1, x=2) == ((1,), {"x": 2})


@pytest.mark.parametrize(
    ("now", "why"),
    [(99.0, Why.NOT_YET_VALID), (100.0, None), (199.0, None), (200.0, Why.EXPIRED), (1e9, Why.EXPIRED)],
)
def test_a_candidate_counts_only_within_its_validity(now: float, why: Why | None) -> None:
    """From ``valid_from`` on and before ``valid_until``, by wall clock; an expired one is never called."""
    called: list[int] = []
    clock = VirtualClock(epoch=now)
    chain: FallbackChain[str] = FallbackChain(
        Candidate("old", lambda: called.append(1) or "old", valid_from=100.0, valid_until=200.0),
        Candidate("other", gives("other")),
        clock=clock,
    )
    choice = chain.choose()
    assert choice.candidate == ("old" if why is None else "other")
    assert [r.why for r in choice.rejections] == ([] if why is None else [why])
    assert bool(called) is (why is None)


def test_an_unavailable_candidate_is_not_called() -> None:
    """``available`` saying no, or raising, rejects the candidate before it is called."""
    chain: FallbackChain[str] = FallbackChain(
        Candidate("off", gives("off"), available=lambda: False),
        Candidate("unknown", gives("unknown"), available=down),
        Candidate("on", gives("on"), available=lambda: True),
    )
    choice = chain.choose()
    assert choice.value == "on"
    assert choice.rejections[0] == Rejection("off", Why.UNAVAILABLE)
    assert (choice.rejections[1].why, choice.rejections[1].detail) == (Why.UNAVAILABLE, "Down('down')")


@pytest.mark.parametrize(
    ("quality", "accepted"),
    [
        (0.9, True),
        (0.8, True),
        (0.79, False),
        (None, False),
        (math.nan, False),
        (len, True),
        (down, False),
        (lambda value: "9", False),
    ],
    ids=["above", "equal", "below", "unknown", "nan", "function", "raising", "text"],
)
def test_quality_must_reach_the_minimum(quality: Any, accepted: bool) -> None:
    """A value below the minimum, or of unknown quality, is refused."""
    chain: FallbackChain[str] = FallbackChain(
        Candidate("first", gives("x"), quality=quality),
        Candidate("last", gives("y"), quality=1.0),
        minimum_quality=0.8,
    )
    choice = chain.choose()
    assert choice.value == ("x" if accepted else "y")
    assert [r.why for r in choice.rejections] == ([] if accepted else [Why.TOO_POOR])


def test_nothing_acceptable_is_an_error_with_all_reasons() -> None:
    """``NoCandidate`` lists every rejection in order, and has the last error as its cause."""
    clock = VirtualClock(epoch=1000.0)
    chain: FallbackChain[str] = FallbackChain(
        Candidate("late", gives("x"), valid_until=400.0),
        Candidate("poor", gives("x"), quality=0.5),
        Candidate("down", down),
        minimum_quality=0.8,
        name="calibration",
        clock=clock,
    )
    with pytest.raises(NoCandidate) as caught:
        chain.call()
    reasons = ["late: expired (600 s ago)", "poor: not good enough (0.5, at least 0.8 is needed)"]
    reasons.append("down: failed (Down('down'))")
    assert caught.value.context["rejections"] == reasons
    assert str(caught.value) == f"calibration: nothing acceptable: {'; '.join(reasons)}"
    assert isinstance(caught.value.__cause__, Down)
    with pytest.raises(NoCandidate, match="it has no candidates"):
        FallbackChain().call()


def test_only_named_errors_lead_on() -> None:
    """An error that ``on`` does not name comes through at once, and so does Ctrl-C."""
    for error in (KeyError, KeyboardInterrupt):
        chain: FallbackChain[str] = FallbackChain(
            Candidate("a", lambda error=error: (_ for _ in ()).throw(error())),
            Candidate("b", gives("b")),
            on=ConnectionError,
        )
        with pytest.raises(error):
            chain.call()


def test_the_last_good_value_is_the_last_resort() -> None:
    """When all fail the last acceptable value is offered, with its age, until it is too old."""
    clock = VirtualClock()
    up = [True]
    chain: FallbackChain[str] = FallbackChain(
        Candidate("service", lambda: "fresh" if up[0] else down(), quality=0.9),
        last_good=LastGood(60.0),
        clock=clock,
    )
    up[0] = False
    with pytest.raises(NoCandidate, match="last known good: no last known good value"):
        chain.call()
    up[0] = True
    assert chain.choose().age is None
    up[0] = False
    clock.advance(60.0)
    choice = chain.choose()
    assert (choice.value, choice.candidate, choice.age, choice.quality) == ("fresh", "service", 60.0, 0.9)
    assert [r.why for r in choice.rejections] == [Why.FAILED]
    clock.advance(0.5)
    with pytest.raises(NoCandidate, match=r"too old \(60 s, at most 60 s\)"):
        chain.call()


def test_a_last_good_value_comes_before_a_last_resort_and_is_never_one() -> None:
    """A default that is always at hand would be offered in place of the service's own value ever after."""
    up = [False]
    chain: FallbackChain[str] = FallbackChain(
        Candidate("service", lambda: "fresh" if up[0] else down()),
        Candidate("default", lambda: "default", last_resort=True),
        last_good=LastGood(60.0),
        clock=VirtualClock(),
    )
    for _ in range(2):
        choice = chain.choose()
        assert (choice.value, choice.age) == ("default", None)
    up[0] = True
    assert chain.call() == "fresh"
    up[0] = False
    assert (chain.choose().value, chain.choose().age) == ("fresh", 0.0)


def test_a_wall_clock_step_does_not_age_the_last_good_value() -> None:
    """The age of a kept value is measured on the monotonic clock."""
    clock = VirtualClock()
    results = iter(["fresh"])
    chain: FallbackChain[str] = FallbackChain(
        Candidate("service", lambda: next(results, None) or down()), last_good=LastGood(60.0), clock=clock
    )
    assert chain.call() == "fresh"
    clock.step(1e9)
    assert chain.call() == "fresh"


def test_a_value_is_kept_for_its_own_call_only() -> None:
    """With arguments a key is demanded; one call's value is never offered for another; old ones leave."""
    broken = [False]

    def lookup(name: str) -> str:
        return down() if broken[0] else name.upper()

    with pytest.raises(UsageError, match="the value of one call would be offered for another"):
        FallbackChain(Candidate("a", lookup), last_good=LastGood(60.0)).call("x")
    chain: FallbackChain[str] = FallbackChain(
        Candidate("a", lookup), last_good=LastGood(60.0, key=lambda name: name, size=2)
    )
    for name in ("x", "y", "x", "z"):
        chain.call(name)
    broken[0] = True
    assert (chain.call("x"), chain.call("z")) == ("X", "Z")
    with pytest.raises(NoCandidate):
        chain.call("y")


def test_a_falsy_value_is_a_value() -> None:
    """None, 0 and the empty text are values like others, kept ones too."""
    values = iter([None])
    chain: FallbackChain[Any] = FallbackChain(
        Candidate("a", lambda: next(values)), on=StopIteration, last_good=LastGood(60.0)
    )
    assert chain.choose().value is None
    assert chain.choose().value is None


def test_as_a_decorator_the_function_comes_first() -> None:
    """The decorated function is the first candidate, sync or async, and its value comes back alone."""
    chain: FallbackChain[str] = FallbackChain(Candidate("cache", lambda n: f"cached {n}"))

    @chain
    def fetch(n: int) -> str:
        return down() if n else "live"

    @chain
    async def afetch(n: int) -> str:
        return down() if n else "live"

    assert (fetch(0), fetch(1)) == ("live", "cached 1")
    assert asyncio.run(afetch(0)) == "live"
    assert asyncio.run(afetch(1)) == "cached 1"
    assert fetch.__name__ == "fetch"


def test_async_candidates_are_awaited_and_sync_ones_may_be_among_them() -> None:
    """``achoose`` takes both kinds; ``choose`` refuses an async candidate rather than give a coroutine."""

    async def aget() -> str:
        return "async"

    async def afail() -> str:
        return down()

    mixed: FallbackChain[str] = FallbackChain(
        Candidate("a", afail), Candidate("b", down), Candidate("c", aget), Candidate("d", gives("never"))
    )
    choice = asyncio.run(mixed.achoose())
    assert (choice.value, [r.candidate for r in choice.rejections]) == ("async", ["a", "b"])
    with pytest.raises(UsageError, match="since the call is one"):
        FallbackChain(Candidate("c", aget), on=ConnectionError).choose()


def test_every_rejection_and_the_choice_are_told() -> None:
    """Listeners hear of each rejection, and of a choice that is not the first."""
    told: list[Any] = []
    clock = VirtualClock(start=5.0)
    chain: FallbackChain[str] = FallbackChain(
        Candidate("a", down), Candidate("b", gives("b")), name="n", clock=clock, listeners=[told.append]
    )
    chain.call()
    error = told[0].error
    assert told == [
        CandidateRejected(
            at=5.0, chain="n", candidate="a", why=Why.FAILED, detail="Down('down')", error=error
        ),
        ChoiceMade(at=5.0, chain="n", candidate="b", rejected=1, age=None),
    ]
    told.clear()
    FallbackChain(Candidate("b", gives("b")), listeners=[told.append]).call()
    assert told == []


def test_what_cannot_work_is_refused() -> None:
    """Equal names, an empty validity, generators, and limits of zero are errors at once."""
    with pytest.raises(UsageError, match="each one once"):
        FallbackChain(Candidate("a", down), Candidate("a", down))
    with pytest.raises(UsageError, match="valid_until is 1"):
        Candidate("a", down, valid_from=1.0, valid_until=1.0)
    with pytest.raises(UsageError, match="expected a callable"):
        Candidate("a", 5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="max_age is 0"):
        LastGood(0)
    with pytest.raises(UsageError, match="size is 0"):
        LastGood(1.0, size=0)


def test_it_shows_its_candidates() -> None:
    """The repr is fit for a log."""
    assert repr(FallbackChain(Candidate("a", down), name="n")) == "<FallbackChain 'n': a>"


def test_a_function_that_is_no_candidate_is_refused_by_name() -> None:
    """It would have no name to be told by; the message says how to write it."""
    with pytest.raises(UsageError, match=r"expected a Candidate.*Candidate\(name, function\)"):
        FallbackChain(len)  # type: ignore[arg-type]


def test_arguments_may_have_any_name():
    """What the function calls its arguments is its own affair."""
    chain = FallbackChain(Candidate("only", lambda **given: given))
    assert chain.call(self=1) == chain.choose(self=1).value == {"self": 1}
    assert asyncio.run(chain.achoose(self=1)).value == {"self": 1}
    assert chain(lambda **given: given)(self=1, fn=2) == {"self": 1, "fn": 2}


def test_a_key_that_cannot_be_hashed_is_refused_before_anything_is_called() -> None:
    """A candidate made its value, and the value was lost with a TypeError of the keeping."""
    calls: list[int] = []
    chain: FallbackChain[None] = FallbackChain(
        Candidate("a", calls.append), last_good=LastGood(60, key=lambda x: [x])
    )
    with pytest.raises(UsageError, match=r"expected something hashable.*A tuple instead of a list"):
        chain.choose(1)
    assert calls == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: FallbackChain(Candidate("a", print), on="ValueError"),  # type: ignore[arg-type]
        lambda: FallbackChain(Candidate("a", print), on=[ValueError]),  # type: ignore[arg-type]
        lambda: FallbackChain(Candidate("a", print), on=None),  # type: ignore[arg-type]
        lambda: FallbackChain(Candidate("a", print), on=KeyboardInterrupt),  # type: ignore[arg-type]
        lambda: FallbackChain(Candidate("a", print), last_good=60),  # type: ignore[arg-type]
        lambda: FallbackChain(Candidate("a", print), minimum_quality="high"),  # type: ignore[arg-type]
        lambda: FallbackChain(Candidate(["a"], print)),  # type: ignore[arg-type]
        lambda: Candidate("a", print, valid_until=datetime.now(UTC)),  # type: ignore[arg-type]
        lambda: Candidate("a", print, valid_from="2026-01-01"),  # type: ignore[arg-type]
        lambda: Candidate("a", print, valid_until=float("nan")),
    ],
)
def test_what_would_be_found_only_at_the_moment_of_need_is_refused(make: Callable[[], object]) -> None:
    """When it is made: an ``on`` that no except takes, a time that is none and so never over."""
    with pytest.raises(UsageError, match="expected"):
        make()
