"""Making worlds smaller, on worlds that are plain sets: what is tried, what comes out, what it costs."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import operation

from chaoskit.core.case import CaseFailure
from chaoskit.core.evidence import ALL, EACH
from chaoskit.core.finding import Advice
from chaoskit.core.operation import Operation, Receipt
from chaoskit.core.schedule import Fault, Point, Schedule, Strike
from chaoskit.explore.border import Planned
from chaoskit.explore.case import Case
from chaoskit.explore.job import Job
from chaoskit.explore.judge import Judgement
from chaoskit.explore.shrink import Shrinker, reducing

Needs = dict[int, frozenset[int]]
"""For each part those that it needs: when one of them is missing, it is missing too."""


@dataclass(frozen=True)
class Parts:
    """A world in which some numbered parts are missing."""

    lacks: frozenset[int]
    needs: Any = None
    run: int = 1
    models: tuple[str, ...] = ("ext4",)
    ways: int = 1
    told: Advice = Advice("kind", "text", "fix")  # noqa: RUF009

    @property
    def strike(self) -> Strike:
        numbers = ",".join(map(str, sorted(self.lacks)))
        return Strike(Point("end", "", None, 1), Fault("power_loss", f"drop {numbers}" if numbers else "all"))

    @property
    def operation(self) -> Operation:
        return operation("end", "")

    blamed = guilty = operation

    @property
    def missing(self) -> frozenset[Hashable]:
        return frozenset(self.lacks)

    @property
    def parts(self) -> tuple[Hashable, ...]:
        return tuple(sorted(self.lacks))

    @property
    def content(self) -> Hashable:
        return self.lacks

    def lacking(self, parts: Iterable[Hashable]) -> Parts | None:
        closed = set(parts)
        for part in sorted(self.lacks):
            if self.needs and self.needs.get(part, frozenset()) & closed:
                closed.add(part)
        return replace(self, lacks=frozenset(closed))  # type: ignore[arg-type]

    @property
    def promised(self) -> tuple[Any, ...]:
        return ()

    def build(self, path: str) -> tuple[Receipt, ...]:
        return ()


def reduced(world: Parts, breaks: Callable[[frozenset[int]], bool]) -> tuple[frozenset[int], int]:
    """The smallest that was found, and how many were tried."""
    steps, smallest, tried = reducing(world), world, 0
    try:
        candidate = next(steps)
        while True:
            tried += 1
            assert candidate.missing < smallest.missing
            broke = breaks(candidate.lacks)  # type: ignore[attr-defined]
            smallest = candidate if broke else smallest  # type: ignore[assignment]
            candidate = steps.send(broke)
    except StopIteration:
        return smallest.lacks, tried


@pytest.mark.parametrize("guilty", [0, 500, 998, 999])
def test_one_guilty_part_among_a_thousand_is_found_in_twenty_cases(guilty: int) -> None:
    """Halving: the cost grows with the logarithm, and stays well below the bound for one state."""
    smallest, tried = reduced(Parts(frozenset(range(1000))), lambda lacks: guilty in lacks)
    assert smallest == {guilty}
    assert tried <= 22 < EACH


def test_what_breaks_with_nothing_missing_is_tried_first() -> None:
    """Then no missing part is to blame at all."""
    assert reduced(Parts(frozenset(range(1000))), lambda lacks: True) == (frozenset(), 1)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(1, 24), st.data())
def test_the_smallest_is_as_small_as_can_be(size: int, data: st.DataObject) -> None:
    """Whatever it takes to break it: with any part given back, and what needs it kept, it does not."""
    everything = frozenset(range(size))
    required = data.draw(
        st.sets(st.frozensets(st.sampled_from(range(size)), min_size=1), min_size=1, max_size=3)
    )
    needs = {
        part: data.draw(st.frozensets(st.sampled_from(range(part)), max_size=2)) if part else frozenset()
        for part in range(size)
    }
    world = Parts(everything, needs)

    def breaks(lacks: frozenset[int]) -> bool:
        return any(all_of <= lacks for all_of in required)

    smallest, _ = reduced(world, breaks)
    assert breaks(smallest)
    for part in smallest:
        less = world.lacking(smallest - {part})
        assert less is not None
        assert less.lacks == smallest or not breaks(less.lacks)


def case_of(world: Parts, verdict: str = "violated", message: str = "assert lost == kept") -> Case:
    planned = Planned(Schedule((world.strike,)), world)
    case = Case(planned, (world.blamed,), (), Job(planned.schedule, world=world))
    failure = CaseFailure("invariant", message, message) if verdict == "violated" else None
    case.judgement = Judgement(verdict, failure)  # type: ignore[arg-type]
    return case


@dataclass
class Machine:
    """Runs cases: ``message`` says how a world breaks, or nothing. It answers in an order of its own."""

    message: Callable[[frozenset[int]], str]
    seed: int = 0
    ran: int = 0

    def __call__(self, cases: Sequence[Case]) -> None:
        shuffled = list(cases)
        random.Random(self.seed).shuffle(shuffled)
        for case in shuffled:
            self.ran += 1
            assert isinstance(case.planned.world, Parts)
            message = self.message(case.planned.world.lacks)
            failure = CaseFailure("invariant", message, message) if message else None
            case.judgement = Judgement("violated" if message else "failed safe", failure)


def names(cases: Iterable[Case]) -> list[str]:
    return [str(case.planned.schedule) for case in cases]


def test_the_same_cases_whatever_order_the_answers_have() -> None:
    """Several states at the same time, on any number of workers: what is run does not depend on it."""

    def message(lacks: frozenset[int]) -> str:
        return "seven" if 7 in lacks else "forty" if {40, 41} <= lacks else ""

    added = []
    for seed in range(5):
        origins = [case_of(Parts(frozenset(range(30))), message="seven")]
        origins += [case_of(Parts(frozenset(range(20, 60))), message="forty")]
        shrinker = Shrinker(origins, Machine(message, seed))
        shrinker.shrink(origins)
        added.append(names(shrinker.added))
        assert set(shrinker.origins) == {"end()#1=power_loss[drop 7]", "end()#1=power_loss[drop 40,41]"}
        assert all(shrinker.complete.values())
    assert added == [added[0]] * 5


def test_no_content_is_run_twice() -> None:
    """What an earlier case has shown is taken from there, and two states that meet share their cases."""
    known = [case_of(Parts(frozenset({n})), "failed safe" if n != 3 else "violated") for n in range(8)]
    known.append(case_of(Parts(frozenset()), "failed safe"))
    large = [case_of(Parts(frozenset(range(n)))) for n in (7, 8)]
    machine = Machine(lambda lacks: "assert lost == kept" if 3 in lacks else "")
    shrinker = Shrinker([*known, *large], machine)
    shrinker.shrink(large)
    contents = [
        case.planned.world.content for case in (*known, *large, *shrinker.added) if case.planned.world
    ]
    assert len(set(contents)) == len(contents)
    assert machine.ran == len(shrinker.added)
    assert "end()#1=power_loss[drop 3]" in shrinker.complete


def test_only_what_breaks_in_the_same_way_counts() -> None:
    """A smaller state that breaks another assertion is kept as a case and leads nowhere here."""
    origin = case_of(Parts(frozenset(range(16))), message="one")
    shrinker = Shrinker(
        [origin], Machine(lambda lacks: "one" if {2, 9} <= lacks else "other" if lacks else "")
    )
    shrinker.shrink([origin])
    assert list(shrinker.origins) == ["end()#1=power_loss[drop 2,9]"]
    assert any(
        case.judgement.failure and case.judgement.failure.message == "other" for case in shrinker.added
    )


def test_the_bound_for_one_state_is_kept_and_said() -> None:
    """Where every part is needed it takes one case for each: then the search stops and says so."""
    whole = frozenset(range(200))
    origin = case_of(Parts(whole))
    shrinker = Shrinker([origin], Machine(lambda lacks: "assert lost == kept" if lacks == whole else ""))
    shrinker.shrink([origin])
    assert len(shrinker.added) == EACH - 1
    assert shrinker.complete == {str(origin.planned.schedule): False}
    assert not shrinker.can_be(origin)


def test_the_bound_for_a_scenario_is_kept() -> None:
    """However many states break it, each for a reason of its own."""
    origins = [case_of(Parts(frozenset(range(n * 100, n * 100 + 90))), message=f"{n}") for n in range(20)]
    shrinker = Shrinker(origins, Machine(lambda lacks: f"{min(lacks) // 100}" if len(lacks) > 60 else ""))
    shrinker.shrink(origins)
    assert len(shrinker.added) <= ALL
    assert not any(shrinker.can_be(origin) for origin in origins)
    assert False in shrinker.complete.values()


def test_a_state_that_is_known_elsewhere_is_run_under_its_own_name() -> None:
    """Equal content after another operation answers the question, but the finding has its own proof."""
    origin, known = case_of(Parts(frozenset({1, 2}))), case_of(Parts(frozenset({2})))
    other = Strike(Point("write", "a", None, 1), Fault("power_loss", "drop 1"))
    known.planned = replace(known.planned, schedule=Schedule((other,)))
    known.planned = replace(known.planned, world=Elsewhere(frozenset({2}), at=other))
    machine = Machine(lambda lacks: "assert lost == kept" if 2 in lacks else "")
    shrinker = Shrinker([origin, known], machine)
    shrinker.shrink([origin])
    assert shrinker.origins == {"end()#1=power_loss[drop 2]": "end()#1=power_loss[drop 1,2]"}
    assert "end()#1=power_loss[drop 2]" in names(shrinker.added)


@dataclass(frozen=True)
class Elsewhere(Parts):
    """The same content after another operation."""

    at: Strike | None = None

    @property
    def strike(self) -> Strike:
        assert self.at is not None
        return self.at
