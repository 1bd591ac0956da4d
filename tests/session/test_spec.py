"""Arguments of a scenario are checked at once, with an answer that helps."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit import faults, scenario
from chaoskit.core.errors import UsageError
from chaoskit.session.spec import ScenarioSpec


def work() -> None:
    """Something other than a set of faults."""


WRONG: list[tuple[tuple[Any, ...], dict[str, Any], list[str]]] = [
    ((work,), {}, ["first argument", "@scenario()"]),
    ((faults.disk,), {}, ["faults.disk()", "Call it"]),
    (("disk",), {}, ["'disk' (str)", "faults.disk()"]),
    ((), {"depth": 0}, ["depth is 0", "at least 1"]),
    ((), {"depth": 3}, ["depth is 3", "1 or 2"]),
    ((), {"depth": True}, ["depth is True (bool)"]),
    ((), {"budget": 0}, ["budget is 0", "at least 1"]),
    ((), {"budget": 2.5}, ["budget is 2.5 (float)"]),
    ((), {"backend": "fuse"}, ["backend is 'fuse'", "auto, kernel"]),
    ((), {"model": "ntfs"}, ["model is 'ntfs'", "names out of ext4, "]),
    ((), {"model": []}, ["model is []", "at least one of ext4, "]),
    ((), {"allow_inconclusive": 2}, ["allow_inconclusive is 2", "between 0 and 1"]),
    ((), {"timeout": 0}, ["timeout is 0", "more than 0"]),
    ((), {"timeout": float("inf")}, ["timeout is inf"]),
    ((), {"strike_recovery": 1}, ["strike_recovery is 1 (int)", "True or False"]),
    ((), {"invariants": ["no_extra_files"]}, ["invariants is", "chaoskit.invariants"]),
]


@pytest.mark.parametrize(("args", "kwargs", "parts"), WRONG)
def test_a_wrong_argument_is_refused_where_it_is_written(
    args: tuple[Any, ...], kwargs: dict[str, Any], parts: list[str]
) -> None:
    """The decorator raises, not the run: the traceback points at the line."""
    with pytest.raises(UsageError) as raised:
        scenario(*args, **kwargs)
    print(raised.value)
    for part in parts:
        assert part in str(raised.value)


def test_a_misspelt_fault_is_refused_with_the_nearest_name() -> None:
    """At the line where it is written."""
    with pytest.raises(UsageError, match=r"'kil'.*Did you mean 'kill'"):
        faults.kil()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"ENOSPCC.*Did you mean 'ENOSPC'"):
        faults.disk().only("ENOSPCC")


def test_an_argument_that_does_not_exist_is_refused() -> None:
    """In a marker no type checker would see it."""
    with pytest.raises(UsageError, match=r"'deph'.*depth, budget"):
        ScenarioSpec.checked((), {"deph": 2})


def test_without_faults_the_default_ones_are_taken() -> None:
    """@scenario() means faults.default(); several sets are united."""
    assert ScenarioSpec.checked((), {}).faults == faults.default()
    assert ScenarioSpec.checked((faults.disk(), faults.kill()), {}).faults == faults.disk() | faults.kill()


def test_the_marker_has_the_arguments_that_were_written() -> None:
    """What was left to its default is left out, so that an ini file may fill it in."""

    @scenario(faults.kill(), budget=3)
    def test() -> None: ...

    [mark] = test.pytestmark  # type: ignore[attr-defined]
    assert (mark.name, mark.args, mark.kwargs) == ("chaoskit", (faults.kill(),), {"budget": 3})
