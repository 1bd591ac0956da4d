"""The part of the plugin that explores. Loaded when a collected test has the marker."""

from __future__ import annotations

import os
import tempfile
import time
import unittest
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest

from chaoskit.core.case import CaseFailure, CaseResult
from chaoskit.core.errors import BackendUnavailable, ChaoskitError, UsageError, wrong
from chaoskit.core.finding import Finding
from chaoskit.core.result import Budget, ScenarioResult
from chaoskit.core.schedule import printable
from chaoskit.explore.errors import ScenarioInconclusive, ScenarioViolated
from chaoskit.explore.execute import Executor, Serial
from chaoskit.explore.observation import Observation
from chaoskit.explore.workers import Workers
from chaoskit.inject import backends
from chaoskit.inject.base import Backend
from chaoskit.plugin import cases
from chaoskit.plugin.names import MARKER, RESULT
from chaoskit.plugin.options import backend_asked, in_force, request
from chaoskit.plugin.progress import Progress
from chaoskit.plugin.state import PLAIN_ERROR, STATE, Places, Underway
from chaoskit.report.explain import inconclusive_text, violation_text
from chaoskit.session import chance
from chaoskit.session.exploring import Exploration, Specimen
from chaoskit.session.spec import ScenarioSpec

_RESULT = pytest.StashKey[ScenarioResult | None]()
_CHANCE = pytest.StashKey[Callable[[], None]]()


class Scenarios:
    """Turns the call of a marked test into its exploration."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._backends: dict[str, tuple[Backend | None, str]] = {}
        self._places: list[Places] = []
        self._at: Underway | None = None

    # First, so that wrong arguments are an error before any fixture is set up.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        marker = _marker(item)
        if marker is None:
            return
        item.stash[_RESULT] = None
        try:
            item.stash[STATE] = self._at = self._state(item, marker)
        except ChaoskitError as error:
            item.stash[PLAIN_ERROR] = error
            raise

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        state = item.stash.get(STATE, None)
        if state is None:
            return (yield)
        # The ordinary call of the test is the first recording: nothing runs twice for it.
        began = time.perf_counter()
        result = yield
        state.seconds = time.perf_counter() - began
        assert isinstance(item, pytest.Function)
        if cases.kept_error(item) is not None:
            return result  # Pytest reports it: the baseline did not pass.
        try:
            self._explore(item, state)
        except ChaoskitError as error:
            item.stash[PLAIN_ERROR] = error
            raise
        return result

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        if STATE in pyfuncitem.stash:
            put_back = pyfuncitem.stash.get(_CHANCE, None)
            # The first call is the baseline; each case starts from the same numbers.
            if put_back is None:
                pyfuncitem.stash[_CHANCE] = chance.note()
            else:
                put_back()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            if STATE in item.stash:
                self._close()
                self._at = None
                del item.stash[STATE]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Only subtests report while their test is being called, and in a case no one listens to them.
        if self._at is not None and report.failed:
            self._at.failed_subtests.append(report.longreprtext)

    def pytest_sessionfinish(self) -> None:
        # After an interrupt no test is torn down by its own hooks.
        self._close()

    def _close(self) -> None:
        while self._places:
            self._places.pop().close()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        if call.excinfo is not None and _marker(item) is not None:
            cases.hide_harness(item, call.excinfo.value)
        report = yield
        error = item.stash.get(PLAIN_ERROR, None)
        if report.failed and error is not None and call.excinfo is not None and call.excinfo.value is error:
            report.longrepr = str(error)
        result = item.stash.get(_RESULT, None) if call.when == "call" else None
        if result is None and not report.passed and _marker(item) is not None:
            result = _unexplored(item, call)
        if result is not None:
            setattr(report, RESULT, result.to_dict())
        if _marker(item) is not None:
            _make_printable(report)
        return report

    def _state(self, item: pytest.Item, marker: pytest.Mark) -> Underway:
        """Everything that can be refused before the test is called is refused here."""
        spec = in_force(self._config, ScenarioSpec.checked(marker.args, marker.kwargs))
        asked = request(self._config)
        _check_item(item)
        backend = self._backend(spec, backend_asked(self._config) or spec.backend != backends.AUTO)
        exploration = Exploration(_specimen(item), spec, asked, backend)
        places = Places(_tmp(item))
        self._places.append(places)
        return Underway(exploration, places, exploration.baseline)

    def _backend(self, spec: ScenarioSpec, asked: bool) -> Backend:
        if spec.backend not in self._backends:
            self._backends[spec.backend] = backends.found(spec.backend)
        backend, reason = self._backends[spec.backend]
        name = backends.default() if spec.backend == backends.AUTO else spec.backend
        # Asked once for a session: it forks and takes milliseconds.
        if backend is not None:
            return backend
        if asked:
            raise BackendUnavailable(f"backend {name!r} was asked for and does not work here: {reason}")
        pytest.skip(f"chaoskit: the backend {name!r} does not work here: {reason}")

    def _explore(self, item: pytest.Function, state: Underway) -> None:
        seen = Observation() if state.chaos is None else state.chaos.observed()
        if not seen.runs and seen.refused:
            raise UsageError(f"{item.name} caught what chaos.run said about wrong use: {seen.refused}")
        if not seen.runs:
            raise UsageError(
                f"{item.name} never called chaos.run; expected at least one call, since faults strike only "
                "inside of it. Write chaos.run(function, argument) for the part that may go wrong."
            )
        first = replace(cases.observed(state, look=True), seconds=state.seconds)
        # The fixtures of the baseline must not live on into the cases.
        cases.tear_down(item)
        progress = Progress(self._config)
        explorer = state.exploration.explorer(state.seconds, self._executor(item, state), progress)
        try:
            result = explorer.explore(first)
        finally:
            progress.close()
        item.stash[_RESULT] = result
        if result.state == "failed":
            raise ScenarioViolated(violation_text(result))
        if result.state == "inconclusive":
            raise ScenarioInconclusive(inconclusive_text(result))

    def _executor(self, item: pytest.Function, state: Underway) -> Executor:
        # A debugger needs the terminal, so no worker can run the case.
        if self._config.getoption("usepdb", False):
            return Serial(cases.ItemRunner(item, propagate=True))
        capture = self._config.getoption("capture", "no") != "no"
        return Workers(
            cases.ItemRunner(item), state.exploration.request.workers, state.places.become, capture=capture
        )


def _unexplored(item: pytest.Item, call: pytest.CallInfo[None]) -> ScenarioResult | None:
    """What the report says of a scenario that was skipped or failed before its first case."""
    if call.when == "teardown" or call.excinfo is None:
        return None
    state = item.stash.get(STATE, None)
    if state is not None and state.stopped is not None and state.job.schedule.strikes:
        return _stopped(state, state.stopped)
    _, line, _ = item.reportinfo()
    error = call.excinfo.exconly(tryshort=True)
    result = ScenarioResult(item.nodeid, "error", file=str(item.path), line=(line or 0) + 1, error=error)
    return result.printable()


def _stopped(state: Underway, failure: CaseFailure) -> ScenarioResult:
    """What the report says after a debugger has stopped in the first case that broke: this one case."""
    question, schedule = state.exploration.question(state.seconds), str(state.job.schedule)
    runs = () if state.chaos is None else state.chaos.observed().runs
    case = CaseResult(0, schedule, "violated", runs=runs, failure=failure, attempts=1, finding=0)
    call = str(state.job.schedule.strikes[-1].point)
    finding = Finding(0, "violated", schedule, (schedule,), call, None, (), failure)
    result = ScenarioResult(
        question.nodeid,
        "failed",
        file=question.file,
        line=question.line,
        seed=question.seed,
        backend=question.backend,
        options=question.options,
        cases=(case,),
        findings=(finding,),
        budget=Budget(None, 1, 1),
        error="stopped in a debugger: the cases before this one, which passed, are not counted",
    )
    return result.printable()


def _make_printable(report: pytest.TestReport) -> None:
    """Names that are not UTF-8 escaped in all that pytest shows of a scenario, and xdist sends."""
    text = report.longrepr
    if isinstance(text, tuple):
        report.longrepr = (text[0], text[1], printable(text[2]))
    elif text is not None and printable(str(text)) != str(text):
        report.longrepr = printable(str(text))
    report.sections = [(printable(title), printable(content)) for title, content in report.sections]


def _marker(item: pytest.Item) -> pytest.Mark | None:
    """The marker that makes the item a scenario.

    A marker of the whole module or class means those of its tests that ask for the fixture.
    """
    marker = item.get_closest_marker(MARKER)
    if marker is None or "chaos" in getattr(item, "fixturenames", ()):
        return marker
    return next((mark for mark in item.own_markers if mark.name == MARKER), None)


def _check_item(item: pytest.Item) -> None:
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


def _tmp(item: pytest.Item) -> Path:
    """The directory in which the cases have theirs."""
    tmp = str(item.config.getini("chaoskit_tmp") or "")
    if tmp:
        try:
            os.makedirs(tmp, exist_ok=True)
        except OSError as error:
            raise wrong(
                "chaoskit_tmp", tmp, "a directory that is there or can be made", f"{error}."
            ) from error
        return Path(tmp)
    factory: pytest.TempPathFactory | None = getattr(item.config, "_tmp_path_factory", None)
    return Path(tempfile.gettempdir()) if factory is None else factory.getbasetemp()


def _specimen(item: pytest.Item) -> Specimen:
    """The test, with the name for a command line where pytest was started.

    Its node id does for the root directory alone.
    """
    file, colons, rest = item.nodeid.partition("::")
    path = os.path.relpath(item.config.rootpath / file, item.config.invocation_params.dir)
    _, line, _ = item.reportinfo()
    return Specimen(item.nodeid, str(item.path), (line or 0) + 1, f"{path}{colons}{rest}")
