"""Data and a schedule drawn together: what needs both is found, made small, and repeated by a line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from budgets import tried
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from chaoskit import faults
from chaoskit.core.errors import ScheduleError, UsageError
from chaoskit.session.worlds import DrawnWorld
from chaoskit.strategies import world, worlds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

BOTH = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
LINES = st.lists(st.sampled_from(["a", "", "b c"]), max_size=3)


def save(path: Path, lines: list[str]) -> None:
    """Replaces the file as a whole; wrong with an empty line, for which it writes in place."""
    if "" not in lines:
        (path / "new").write_text("".join(f"{line}\n" for line in lines))
        os.replace(path / "new", path / "lines")
        return
    with open(path / "lines", "w") as file:
        file.write("".join(f"{line}\n" for line in lines))


def save_well(path: Path, lines: list[str]) -> None:
    """The clean twin."""
    (path / "new").write_text("".join(f"{line}\n" for line in lines))
    os.replace(path / "new", path / "lines")


def prepare(path: Path, lines: list[str]) -> None:
    (path / "lines").write_text("old\n")


def check(one: DrawnWorld[list[str]]) -> None:
    found = (one.path / "lines").read_text()
    assert found in ("old\n", "".join(f"{line}\n" for line in one.data))


def failure(test: object) -> AssertionError:
    with pytest.raises(AssertionError) as caught:
        test()  # type: ignore[operator]
    return caught.value  # type: ignore[return-value]


def test_a_bug_that_needs_both_is_found_and_made_small() -> None:
    """The data shrink to one empty line, the schedule to one kill; the line that is printed repeats it."""

    @BOTH
    @given(worlds(LINES, faults.kill(), prepare=prepare))
    def test(one: DrawnWorld[list[str]]) -> None:
        one.run(save)
        check(one)

    notes = "\n".join(failure(test).__notes__)
    line = next(text for text in notes.splitlines() if text.startswith("@example(world("))
    again = eval(line.removeprefix("@example(").removesuffix(")"), {"world": world})
    assert again.data == [""]
    assert again.schedule.endswith("=kill")
    repeated = world(again.data, again.schedule, prepare=prepare)
    repeated.run(save)
    assert repeated.struck
    with pytest.raises(AssertionError):
        check(repeated)


@pytest.mark.parametrize(
    ("data", "asked"), [(st.just(["a"]), faults.kill()), (LINES, faults.kill().on(call="rename"))]
)
def test_neither_alone_shows_it(data: st.SearchStrategy[list[str]], asked: faults.FaultSet) -> None:
    """Without an empty line no kill does harm, and without a kill in the middle no data do."""

    @settings(BOTH, max_examples=tried(25))
    @given(worlds(data, asked, prepare=prepare))
    def test(one: DrawnWorld[list[str]]) -> None:
        one.run(save)
        check(one)

    test()


def test_the_clean_twin_passes() -> None:
    """Whatever is drawn; an example that is given runs under its schedule."""
    struck = []

    @settings(BOTH, max_examples=tried(25))
    @given(worlds(LINES, faults.kill(), prepare=prepare))
    @example(world([""], "rename(new -> lines)#1=kill", prepare=prepare))
    def test(one: DrawnWorld[list[str]]) -> None:
        outcome = one.run(save_well)
        struck.append((one.schedule, bool(outcome.faults)))
        check(one)

    test()
    # Every fault that was drawn has left its receipt, and the empty schedule is no fault.
    assert all(bool(schedule) is proven for schedule, proven in struck)
    assert ("rename(new -> lines)#1=kill", True) in struck


def test_a_power_loss_is_drawn_too() -> None:
    """Crash states are schedules as any other: a file that is replaced without a sync may come out empty."""

    @BOTH
    @given(worlds(st.just(["a"]), faults.power_loss(), prepare=prepare))
    def test(one: DrawnWorld[list[str]]) -> None:
        one.run(save_well)
        check(one)

    notes = "\n".join(failure(test).__notes__)
    assert "power_loss" in notes


def test_wrong_use_is_refused() -> None:
    """A second run, a schedule that does not happen, and anything but a set of faults are refused."""
    one = world(["a"], "", prepare=prepare)
    one.run(save)
    with pytest.raises(UsageError, match="second time"):
        one.run(save)
    with pytest.raises(ScheduleError):
        world(["a"], "unlink(nothing)#1=kill", prepare=prepare).run(save)
    with pytest.raises(UsageError, match=r"faults.disk\(\)"):
        worlds(LINES, "kill")  # type: ignore[arg-type]
