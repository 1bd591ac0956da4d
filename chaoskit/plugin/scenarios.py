"""The part of the plugin that explores. Loaded when a collected test has the marker."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest

from chaoskit.core.errors import BackendUnavailable, ChaoskitError, ScheduleError, UsageError, wrong
from chaoskit.core.result import ScenarioResult
from chaoskit.explore.engine import Explorer
from chaoskit.explore.errors import ScenarioInconclusive, ScenarioViolated
from chaoskit.explore.execute import Executor, Serial
from chaoskit.explore.handled import lines_of
from chaoskit.explore.observation import Observation
from chaoskit.explore.sweep import INTERRUPTED_ATTEMPTS
from chaoskit.explore.workers import Workers
from chaoskit.inject import backends
from chaoskit.inject.base import Backend
from chaoskit.plugin import cases, interruption
from chaoskit.plugin.divided import shard_of, whole
from chaoskit.plugin.elsewhere import RunHosts, server_of
from chaoskit.plugin.items import check, marker_of, specimen
from chaoskit.plugin.names import NOT_HERE, RESULT
from chaoskit.plugin.options import backend_asked, detail_for, failed_first, in_force, place, request
from chaoskit.plugin.outcomes import make_printable, unexplored
from chaoskit.plugin.progress import Progress
from chaoskit.plugin.state import PLAIN_ERROR, STATE, Places, Underway
from chaoskit.report.collect import shortener
from chaoskit.report.concealing import concealed
from chaoskit.report.explain import inconclusive_text, violation_text, weak_text
from chaoskit.report.secrets import Secrets
from chaoskit.session import chance, lines
from chaoskit.session.exploring import Exploration
from chaoskit.session.remembered import Remembered
from chaoskit.session.spec import ScenarioSpec

_RESULT = pytest.StashKey[ScenarioResult | None]()
_CHANCE = pytest.StashKey[Callable[[], None]]()


class Scenarios:
    """Turns the call of a marked test into its exploration."""

    def __init__(self, config: pytest.Config, *, alone: bool) -> None:
        self._config = config
        self._alone = alone
        self._remembered: Remembered | None = None
        self._backends: dict[str, tuple[Backend | None, str]] = {}
        self._places: list[Places] = []
        self._at: Underway | None = None
        self._elsewhere = RunHosts(config)
        if not hasattr(config, "workerinput"):
            interruption.arm()

    # First, so that wrong arguments are reported before any fixture is set up.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        marker = marker_of(item)
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
        # The ordinary call of the test is the first recording, so nothing runs twice for it.
        assert isinstance(item, pytest.Function)
        began = time.perf_counter()
        try:
            result = yield
            state.seconds = time.perf_counter() - began
        except Exception as error:
            result = None
            self._recorded_again(item, state, error)
        if cases.kept_error(item) is not None:
            return result  # The baseline did not pass: pytest reports it.
        try:
            self._explore(item, state)
        except ChaoskitError as error:
            item.stash[PLAIN_ERROR] = error
            raise
        return result

    def _recorded_again(self, item: pytest.Function, state: Underway, error: Exception) -> None:
        """Repeat a baseline that failed after calls were interrupted while they waited for the supervisor.

        Without chaoskit none would have been interrupted. Any other failure is the test's own, and is raised.
        """
        for _ in range(INTERRUPTED_ATTEMPTS - 1):
            if state.chaos is None or not state.chaos.observed().interrupted:
                break
            try:
                cases.baseline_again(item, state)
            except Exception as next_error:
                error = next_error
            else:
                return
        raise error

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        if STATE in pyfuncitem.stash:
            put_back = pyfuncitem.stash.get(_CHANCE, None)
            # The first call is the baseline; each case starts from the same random numbers.
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
        # Only subtests report while their test is being called, and nothing else collects their reports in a
        # case.
        if self._at is not None and report.failed:
            self._at.failed_subtests.append(report.longreprtext)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # After an interrupt no test is torn down by its own hooks.
        self._close()
        self._elsewhere.close()
        if number := interruption.disarm():
            # The status of a program that died of the signal, so that a script can tell.
            session.exitstatus = 128 + number

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._elsewhere.lost():
            terminalreporter.write_line(line)

    def _close(self) -> None:
        while self._places:
            self._places.pop().close()

    # Outside pytest's own plugin for xfail, which turns failures into expected ones.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        if call.excinfo is not None and marker_of(item) is not None:
            cases.hide_harness(item, call.excinfo.value)
            _note_lost_memory(item, call)
        report = yield
        error = item.stash.get(PLAIN_ERROR, None)
        if hasattr(report, "wasxfail") and error is not None:
            # Wrong use is never the expected failure.
            del report.wasxfail
            report.outcome = "failed"
        if report.failed and error is not None and call.excinfo is not None and call.excinfo.value is error:
            report.longrepr = str(error)
        result = item.stash.get(_RESULT, None) if call.when == "call" else None
        if result is None and not report.passed and marker_of(item) is not None:
            result = unexplored(item, call)
        if result is not None:
            setattr(report, RESULT, result.to_dict())
        if marker_of(item) is not None:
            make_printable(report)
        return report

    def _state(self, item: pytest.Item, marker: pytest.Mark) -> Underway:
        """Check everything that can be checked before the test is called."""
        check(item)
        spec = in_force(self._config, ScenarioSpec.checked(marker.args, marker.kwargs))
        asked = request(self._config, shard_of(item))
        self._remembered = Remembered(self._config.rootpath) if failed_first(self._config) else None
        if self._remembered is not None:
            asked = replace(asked, first=self._remembered.of(whole(item)))
        backend = self._backend(spec, backend_asked(self._config) or spec.backend != backends.AUTO)
        exploration = Exploration(specimen(item), spec, asked, backend)
        places = Places(_tmp(item))
        self._places.append(places)
        return Underway(exploration, places, exploration.baseline)

    def _backend(self, spec: ScenarioSpec, asked: bool) -> Backend:
        if spec.backend not in self._backends:
            self._backends[spec.backend] = backends.found(spec.backend)
        backend, reason = self._backends[spec.backend]
        name = backends.default() if spec.backend == backends.AUTO else spec.backend
        # Once per session: it forks, which takes milliseconds.
        if backend is not None:
            return backend
        if asked:
            raise BackendUnavailable(f"backend {name!r} was asked for and does not work here: {reason}")
        others = [one for one in backends.NAMES if one != name and backends.found(one)[0] is not None]
        instead = f" These do, for a scenario that can use them: {', '.join(others)}." if others else ""
        pytest.skip(f"chaoskit: the backend {name!r} does not work here: {reason}{instead}")

    def _explore(self, item: pytest.Function, state: Underway) -> None:
        _check_runs(item, state)
        first = replace(cases.observed(state, look=True), seconds=state.seconds)
        # The baseline's fixtures must not live on into the cases.
        cases.tear_down(item)
        local, plans = self._local(item, state), [""]
        spread = self._elsewhere.spread(item, local)
        executor: Executor = local if spread is None else spread
        server = server_of(self._config)
        if server is not None:
            state.exploration.explorer(state.seconds, executor, on_plan=plans.append).explore(first)
            server.serve(item.nodeid, plans[-1], executor)
            return
        progress = Progress(self._config, item.nodeid)
        on_plan = plans.append if spread is None else spread.planned
        explorer = state.exploration.explorer(state.seconds, executor, progress, on_plan)
        try:
            result = explorer.explore(first)
        except ScheduleError as error:
            if self._alone:
                raise
            # The option was pasted without its test: the schedule belongs to another scenario.
            pytest.skip(f"{NOT_HERE}: {error}")
        except (KeyboardInterrupt, pytest.fail.Exception) as stop:
            progress.close()
            self._tell_so_far(item, explorer, stop)
            raise
        finally:
            progress.close()
            if spread is not None:
                spread.close()
        item.stash[_RESULT] = result
        if state.exploration.handlers is not None and lines.active():
            lines.add_to_context(
                f"{whole(item)} under faults", lines_of(state.exploration.handlers, explorer.ran)
            )
        self._conclude(item, state, result)

    def _conclude(self, item: pytest.Function, state: Underway, result: ScenarioResult) -> None:
        """Keep the schedules that broke the scenario, and fail if there are any."""
        replayed = state.exploration.request.replay is not None
        if self._remembered is not None and not replayed and result.state != "listed":
            self._remembered.keep(result)
        if result.state not in ("failed", "inconclusive"):
            if state.exploration.spec.oracle == "strict" and result.oracle and result.oracle.accepted:
                raise UsageError(f"{item.name}: {weak_text(result.oracle)}")
            return
        shown = self._shown(result)
        if result.state == "failed":
            raise ScenarioViolated(violation_text(shown, detail_for(self._config)))
        raise ScenarioInconclusive(inconclusive_text(shown))

    def _shown(self, result: ScenarioResult) -> ScenarioResult:
        """The result as the terminal shows it: without secrets, and with names that the reader knows."""
        show = bool(self._config.getoption("chaoskit_show_secrets"))
        shorten = shortener({self._config.rootpath: ""})
        return concealed(result, None if show else Secrets.of()).renamed(shorten)

    def _tell_so_far(self, item: pytest.Function, explorer: Explorer, stop: BaseException) -> None:
        """Keep the result of the cases that were over when a user or a time limit stopped the rest."""
        result = explorer.so_far()
        if result is None:
            return
        shown = self._shown(result)
        text = interruption.so_far_text(shown, detail_for(self._config))
        if isinstance(stop, KeyboardInterrupt):
            interruption.report_so_far(item, result, text)
            return
        # Another exception, such as pytest-timeout's: pytest reports the failure itself.
        item.stash[_RESULT] = result
        item.add_report_section("call", "chaoskit", text)

    def _local(self, item: pytest.Function, state: Underway) -> Executor:
        # A debugger needs the terminal, so no worker can run the case.
        if self._config.getoption("usepdb", False):
            return Serial(cases.ItemRunner(item, propagate=True))
        capture = self._config.getoption("capture", "no") != "no"
        return Workers(
            cases.ItemRunner(item), state.exploration.request.workers, state.places.become, capture=capture
        )


_LOST_MEMORY = (
    "chaoskit: this failed after chaos.run, without any fault in it. A workload runs in a forked process: "
    "what it changes in memory stays there (lists, mocks, recorded requests, counters). Let it return what "
    "the test wants to know, or write it below chaos.path, or register mocks inside the workload."
)


def _note_lost_memory(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Add the likely reason if a baseline fails although its workload did not."""
    state = item.stash.get(STATE, None)
    error = None if call.excinfo is None else call.excinfo.value
    if state is None or state.chaos is None or item.stash.get(_RESULT, None) is not None:
        return
    runs = state.chaos.observed().runs
    baseline = state.job.expected is None and all(run.how == "returned" for run in runs)
    if runs and baseline and isinstance(error, AssertionError) and not isinstance(error, ChaoskitError):
        error.add_note(_LOST_MEMORY)


def _check_runs(item: pytest.Item, state: Underway) -> None:
    seen = Observation() if state.chaos is None else state.chaos.observed()
    if not seen.runs and seen.refused:
        raise UsageError(f"{item.name} caught the error that chaos.run raised for wrong use: {seen.refused}")
    if not seen.runs:
        raise UsageError(
            f"{item.name} never called chaos.run; expected at least one call, since faults strike only "
            "inside it. Write chaos.run(function, argument) for the part that may go wrong."
        )


def _tmp(item: pytest.Item) -> Path:
    """The parent directory of the cases' directories."""
    tmp = place(item.config)
    try:
        os.makedirs(tmp, exist_ok=True)
    except OSError as error:
        raise wrong(
            "chaoskit_tmp", str(tmp), "a directory that is there or can be made", f"{error}."
        ) from error
    return tmp
