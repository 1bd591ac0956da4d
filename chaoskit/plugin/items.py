"""A test that is marked as a scenario: its marker, mistakes in its form, and what a report says of it."""

from __future__ import annotations

import inspect
import os
import unittest
from collections.abc import Callable

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.plugin.divided import whole
from chaoskit.plugin.names import MARKER
from chaoskit.plugin.state import PLAIN_ERROR, STATE
from chaoskit.session.exploring import Specimen
from chaoskit.session.known import beside

_NO_XFAIL = (
    "{} is a scenario and is marked xfail; expected no such mark, since it hides every new finding behind "
    "the old one. Take it off, run the scenario, and state each finding by the id that is printed: "
    '@scenario(…, known={{"3fa9c1": "why it is accepted, until when"}}).'
)


def marker_of(item: pytest.Item) -> pytest.Mark | None:
    """The marker that makes the item a scenario.

    A marker of a whole module or class applies only to tests that ask for the fixture.
    """
    marker = item.get_closest_marker(MARKER)
    if marker is None or "chaos" in getattr(item, "fixturenames", ()):
        return marker
    return next((mark for mark in item.own_markers if mark.name == MARKER), None)


def check(item: pytest.Item) -> None:
    """Refuse a test that cannot be a scenario as it is written.

    Raises:
        UsageError: with what is wrong and what to write instead.
    """
    if any(item.iter_markers("xfail")):
        raise UsageError(_NO_XFAIL.format(item.name))
    if sum(mark.name == MARKER for mark in item.own_markers) > 1:
        raise UsageError(
            f"{item.name} is made a scenario twice, and only one of the two would count; expected one "
            "decorator or marker. Unite the faults: @scenario(faults.disk() | faults.kill())."
        )
    if not isinstance(item, pytest.Function) or "chaos" not in item.fixturenames:
        owner = getattr(item, "cls", None)
        of_unittest = isinstance(owner, type) and issubclass(owner, unittest.TestCase)
        hint = " A unittest.TestCase takes no fixtures: write a function, or a plain class." * of_unittest
        raise UsageError(
            f"{item.name} is a scenario but does not ask for the fixture 'chaos'; expected a test function "
            f"with a parameter named chaos, on which it calls chaos.run.{hint}"
        )
    if getattr(item.obj, "is_hypothesis_test", False):
        raise UsageError(
            f"{item.name} uses chaos together with Hypothesis's @given; expected one of them, since a "
            "scenario explores one recording and @given changes it with every example. Take "
            "@pytest.mark.parametrize for the data, or keep @given in a test without chaos."
        )


class AsyncTests:
    """Refuses a scenario that is a coroutine function and that no plugin for async tests has called."""

    # Neither first nor last: such plugins come first, and last pytest itself, whose answer is to install one.
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> None:
        if STATE not in pyfuncitem.stash or not inspect.iscoroutinefunction(pyfuncitem.obj):
            return
        error = UsageError(
            f"{pyfuncitem.name} is a coroutine function; expected a plain function as the test. Write 'def' "
            "for 'async def', and hand the coroutine function to chaos.run, which runs it on a fresh event "
            "loop: chaos.run(save, chaos.path)."
        )
        pyfuncitem.stash[PLAIN_ERROR] = error
        raise error


def _tests_of(item: pytest.Item) -> Callable[[str], bool]:
    """Return a predicate that tells whether the item's module has a test, named as in a node id."""

    def has(name: str) -> bool:
        found: object = getattr(item.getparent(pytest.Module), "obj", None)
        for part in name.split("::"):
            found = getattr(found, part, None)
        return found is not None

    return has


def specimen(item: pytest.Item) -> Specimen:
    """The test as the exploration names it; its name works on a command line where pytest was started.

    The node id by itself would work only in the root directory.
    """
    nodeid = whole(item)
    file, colons, rest = nodeid.partition("::")
    path = os.path.relpath(item.config.rootpath / file, item.config.invocation_params.dir)
    _, line, _ = item.reportinfo()
    known = beside(item.path, rest, _tests_of(item))
    return Specimen(
        nodeid,
        str(item.path),
        (line or 0) + 1,
        f"{path}{colons}{rest}",
        known=known,
        checked=not item.config.getoption("usepdb", False),
        # Take the paragraph: what looks like the end of a sentence may be an abbreviation.
        promise=" ".join((inspect.getdoc(getattr(item, "obj", None)) or "").partition("\n\n")[0].split()),
    )
