"""Run one case of a test item: set up its function-scoped fixtures, call it, and observe the outcome."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.case import CaseFailure
from chaoskit.core.operation import Caveat, Frame
from chaoskit.explore.errors import InvariantBroken
from chaoskit.explore.execute import Watch
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.snapshot import EMPTY, take
from chaoskit.inject import removal
from chaoskit.invariants import Evidence
from chaoskit.plugin.fixture import prepared
from chaoskit.plugin.names import PLUGIN
from chaoskit.plugin.state import STATE, Underway

try:
    from _pytest.tmpdir import tmppath_result_key
except ImportError:  # It is not a public name of pytest.
    tmppath_result_key = None  # type: ignore[assignment]

_LONGEST = 12_000
"""Characters kept of what pytest prints for one failure."""

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_HARNESS = tuple(os.path.join(_PACKAGE, name) for name in ("session/", "inject/"))
"""Where the harness raises its own errors. The runtime is not part of it, since it may be under test."""


_NO_RAISE = (
    "With a fault in it, chaos.run does not raise what the workload raises: it returns an outcome, whose "
    "error has it. Around chaos.run, pytest.raises works in the baseline only."
)


class ParentOf:
    """Stands in for a next item with the same parents, so that only the item itself is torn down."""

    def __init__(self, item: pytest.Item) -> None:
        self._chain = item.listchain()[:-1]

    def listchain(self) -> list[Any]:
        """The nodes that stay set up."""
        return self._chain


def tear_down(item: pytest.Item) -> None:
    """Finalize the function-scoped fixtures of the item, and nothing else."""
    item.session._setupstate.teardown_exact(ParentOf(item))  # type: ignore[arg-type]


def _needs_chaos_alone(item: pytest.Function) -> bool:
    """Return True if pytest would make only the plugin's own fixture ``chaos`` for the test.

    A test with ``request`` may ask for others while it runs.
    """
    definitions = item._fixtureinfo.name2fixturedefs.get("chaos", ())
    return (
        type(item) is pytest.Function
        and not hasattr(item, "callspec")
        and item._fixtureinfo.argnames == ("chaos",)
        and set(item.fixturenames) <= {"chaos", "request"}
        and [one.func.__module__ for one in definitions] == [PLUGIN]
    )


class ItemRunner:
    """Executes jobs by running a test item again.

    ``propagate`` lets errors through while fixtures are still set up: for a debugger.
    """

    def __init__(self, item: pytest.Function, propagate: bool = False) -> None:
        self.item = item
        self.propagate = propagate
        self._chaos_alone = _needs_chaos_alone(item)
        self._told: set[tuple[type[BaseException], Frame | None]] = set()

    def __call__(self, job: Job, watch: Watch) -> Observation:
        state = self.item.stash[STATE]
        state.job, state.watch, state.chaos = job, watch, None
        state.failed_subtests.clear()
        # caplog must show only this case.
        _forget_logs(self.item.config)
        _let_tmp_path_end(self.item)
        began = time.perf_counter()
        failure, skipped = self._call(state, job)
        # After the test, which may remove files itself: those are not extra.
        failure = failure or _invariants(state, job)
        seen = observed(state, look=failure is not None or job.record)
        # The teardown may fail because the test did, so the test's failure comes first.
        failure_after = self._tear_down()
        seconds = time.perf_counter() - began
        if mounts := removal.met():
            # As a caveat: the warnings of a worker are not shown.
            seen = replace(seen, caveats=(*seen.caveats, *map(_left_mount, mounts)))
        return replace(seen, failure=failure or failure_after, skipped=skipped, seconds=seconds)

    def _call(self, state: Underway, job: Job) -> tuple[CaseFailure | None, str]:
        """Set up and call; return the failure, or the reason why the test skipped itself."""
        try:
            # This case must not see attributes that the last one has set.
            _renew_instance(self.item)
            self._set_up()
            self.item.runtest()
            raise_kept(self.item)
        except pytest.skip.Exception as skip:
            return None, str(skip) or "no reason given"
        except BaseException as error:
            if self.propagate:
                error.add_note(f"chaoskit: in the case '{job.schedule}'")
                state.stopped = failure_of(self.item, error)
                raise
            return self._failure(error, job), ""
        return None, ""

    def _failure(self, error: BaseException, job: Job) -> CaseFailure:
        """The failure that ``error`` means, with pytest's text only where it may be shown.

        Formatting the text takes longer than most cases do, and a finding shows only one: that of the run
        that is recorded again for it. The first failure of each kind has its text, too.
        """
        kind = (type(error), _site(self.item, error))
        shown = job.record or kind not in self._told
        self._told.add(kind)
        return failure_of(self.item, error, in_full=shown)

    def _set_up(self) -> None:
        """Set up as pytest does. If ``chaos`` is the only fixture, make it directly, which is cheaper."""
        item, made = self.item, contextlib.ExitStack()
        item._initrequest()
        if self._chaos_alone:
            item.funcargs |= {"chaos": None, "request": item._request}  # Pytest sets up the rest.
        # The same set-up as for any test, so that fixtures behave as their authors expect.
        item.session._setupstate.setup(item)
        if self._chaos_alone:
            item.addfinalizer(made.close)
            item.funcargs["chaos"] = made.enter_context(prepared(item))

    def _tear_down(self) -> CaseFailure | None:
        tmp_path = self.item.funcargs.get("tmp_path")
        try:
            tear_down(self.item)
        except BaseException as error:
            if self.propagate:
                self.item.stash[STATE].stopped = failure_of(self.item, error)
                raise
            return failure_of(self.item, error)
        finally:
            _remove_tmp_path(tmp_path)
        return None


def baseline_again(item: pytest.Function, state: Underway) -> None:
    """Call the test as if for the first time, with fresh function-scoped fixtures.

    Raises:
        Exception: what the test raises.
    """
    tear_down(item)
    state.job, state.chaos = state.exploration.baseline, None
    state.failed_subtests.clear()
    _forget_logs(item.config)
    _let_tmp_path_end(item)
    _renew_instance(item)
    item._initrequest()
    item.session._setupstate.setup(item)
    began = time.perf_counter()
    item.runtest()
    state.seconds = time.perf_counter() - began


def kept_error(item: pytest.Item) -> BaseException | None:
    """The error with which the test failed without raising it.

    The runner of ``unittest`` keeps errors for pytest's report, and pytest keeps those of subtests.
    """
    kept: list[pytest.ExceptionInfo[BaseException]] = getattr(item, "_excinfo", None) or []
    if kept:
        return kept[0].value
    subtests = item.stash[STATE].failed_subtests
    return AssertionError(f"a subtest failed:\n{subtests[0]}") if subtests else None


def raise_kept(item: pytest.Item) -> None:
    """Raise the kept error, as every other test would have."""
    error = kept_error(item)
    if error is not None:
        raise error


def observed(state: Underway, *, look: bool) -> Observation:
    """The observation of the current case so far; ``look`` also reads its directory."""
    if state.chaos is None:
        return Observation()
    seen = state.chaos.observed()
    if not look:
        return seen
    expected = state.job.expected
    beside = EMPTY if expected is None else expected.snapshot
    return replace(seen, snapshot=take(str(state.chaos.path), keep=expected is None, beside=beside))


def _invariants(state: Underway, job: Job) -> CaseFailure | None:
    """Check the invariants that the scenario asked for in addition to its own assertions."""
    if not state.exploration.spec.invariants or state.chaos is None or job.expected is None:
        return None
    resumed = state.chaos.observed().resumed
    evidence = Evidence(job.expected.snapshot, take(str(state.chaos.path)), job.patterns, resumed)
    for invariant in state.exploration.spec.invariants:
        try:
            invariant(evidence)
        except AssertionError as error:
            name = error.name if isinstance(error, InvariantBroken) else invariant.__name__
            return CaseFailure("invariant", name, str(error), str(error))
    return None


def failure_of(item: pytest.Function, error: BaseException, *, in_full: bool = True) -> CaseFailure:
    """The failure that an exception from the test means; ``in_full``: with the text that pytest prints."""
    hide_harness(item, error)
    info = pytest.ExceptionInfo.from_exception(error)
    if isinstance(error, InvariantBroken):
        return CaseFailure("invariant", error.name, str(error), str(error))
    if isinstance(error, pytest.fail.Exception) and str(error).startswith("DID NOT RAISE"):
        error.add_note(_NO_RAISE)
    text = _shortened(str(item.repr_failure(info))) if in_full else ""
    kind = "assertion" if isinstance(error, AssertionError | pytest.fail.Exception) else "error"
    name = type(error).__name__
    message = f"{name}: {error}" if str(error) else name
    return CaseFailure(kind, name, message, text, _site(item, error))  # type: ignore[arg-type]


def hide_harness(item: pytest.Item, error: BaseException) -> None:
    """Let the traceback end where the test called chaoskit, unless all of it was asked for."""
    last = None
    step = error.__traceback__
    while step is not None:
        if not step.tb_frame.f_code.co_filename.startswith(_HARNESS):
            last = step
        step = step.tb_next
    if last is not None and not item.config.getoption("fulltrace", False):
        last.tb_next = None


def _shortened(text: str) -> str:
    """``text`` without its middle if it is very long: there may be thousands of cases with such a text."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]}\n[… {len(text) - _LONGEST} characters …]\n{text[-_LONGEST // 2 :]}"


def _site(item: pytest.Function, error: BaseException) -> Frame | None:
    """Where ``error`` was raised: the innermost frame in the test's file, or else the innermost of all."""
    frames = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        frames.append(Frame(code.co_filename, step.tb_lineno, code.co_qualname))
        step = step.tb_next
    # A helper in a library raises for a hundred reasons; the test's line distinguishes them.
    own = [frame for frame in frames if frame.file == str(item.path)]
    return next(reversed(own or frames), None)


def _renew_instance(item: pytest.Function) -> None:
    """Give a test in a class a fresh instance, as pytest does for every test."""
    if item.cls is not None:
        for kept in ("_obj", "_instance", "_excinfo"):
            vars(item).pop(kept, None)


def _let_tmp_path_end(item: pytest.Item) -> None:
    """Set what pytest's tmp_path reads in its teardown; in a case no report of the test sets it."""
    if tmppath_result_key is not None:
        item.stash[tmppath_result_key] = {}


def _remove_tmp_path(path: object) -> None:
    """Remove it at once: pytest counts the directories one by one, and there may be thousands of cases."""
    if isinstance(path, Path):
        removal.remove(path)


def _left_mount(path: str) -> Caveat:
    name = os.path.basename(path)
    text = (
        f"the workload left a mount behind at {name}, which was detached before the directory was removed: a "
        "fault kept it from unmounting. Unmount it in the test's own clean-up too."
    )
    return Caveat("left-mount", name, text)


def _forget_logs(config: pytest.Config) -> None:
    """Drop the log records of the previous case."""
    logging_plugin = config.pluginmanager.get_plugin("logging-plugin")
    for name in ("caplog_handler", "report_handler"):
        handler = getattr(logging_plugin, name, None)
        if handler is not None:
            handler.reset()
