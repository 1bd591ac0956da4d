"""One run of a workload in this process, from its first call to its outcome."""

from __future__ import annotations

import errno
import gc
import inspect
import os
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.core.operation import Trace
from chaoskit.core.schedule import Fault, Schedule
from chaoskit.faults.shapes import Shape, shape_of, unsupported
from chaoskit.inject import channel, plain
from chaoskit.inject.base import Check, Command, Leaks, Plan, Ran, WorkloadError
from chaoskit.inject.handlers.watching import watching
from chaoskit.inject.inprocess import effects
from chaoskit.inject.inprocess.arming import armed
from chaoskit.inject.inprocess.death import ProcessKilled, WorkloadStopped
from chaoskit.inject.inprocess.machine import machine
from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.stopping import Limit
from chaoskit.inject.leftovers import scratch

_COMMAND = (
    "chaos.run_command was given {!r} with the inprocess backend; expected a Python function, since it sees "
    "no other process. Use backend='kernel', or call the program's main function with chaos.run."
)


class InProcessBackend:
    """Watches and strikes calls that Python code makes in this process."""

    name = "inprocess"

    def unavailable(self) -> str | None:
        """Return why this backend cannot work here, or None if it can. It needs nothing but CPython."""
        missing = [check for check in self.examine() if not check.ok]
        return "; ".join(f"{one.name}: {one.detail}. {one.hint}" for one in missing) or None

    def time_is_real(self) -> str | None:
        """Why time cannot be virtual here: the process has only one clock, and the test is in it, too."""
        return (
            "the inprocess backend runs in the test's own process, whose time is real. Use backend='kernel', "
            "or set clocks with chaos.inject"
        )

    def clocks_cannot_be_set(self) -> str | None:
        """None: reads of ``time.time`` and sleeps of Python code can be struck."""
        return None

    def examine(self) -> tuple[Check, ...]:
        """Try two calls in this process: each must be seen and struck, and must not be carried out."""
        with scratch() as root:
            return (
                self._tried("Python calls", root, lambda: os.mkdir(f"{root}/made"), "mkdir(made)#1=EIO"),
                self._tried("buffered files", root, lambda: _write(f"{root}/file"), "write(file)#1=EIO"),
            )

    def _tried(self, name: str, root: str, work: Callable[[], Any], schedule: str) -> Check:
        ran = self.run(work, Plan(root, strikes=Schedule.parse(schedule).strikes))
        ok = len(ran.receipts) == 1 and isinstance(ran.error, OSError) and ran.error.errno == errno.EIO
        hint = "" if ok else "Use CPython, whose functions can be replaced; please report it."
        seen = "struck, and not carried out" if ok else f"the workload came back with {ran.error!r}"
        return Check(name, ok, f"{schedule}: {seen}", hint)

    def check(self, fault: Fault) -> None:
        """Refuse a fault that this backend cannot inject.

        Raises:
            ScheduleError: naming the fault, and the faults that exist.
        """
        self._check(fault, shape_of(fault))

    def _check(self, fault: Fault, shape: Shape) -> None:
        if not isinstance(shape, effects.HANDLED):
            raise unsupported(fault, self.name)

    def run(self, work: Callable[[], Any] | Command, plan: Plan) -> Ran:
        """Execute ``work`` here and now; see :class:`chaoskit.inject.base.Backend`.

        Its changes in memory persist, since no process ends with it.

        Raises:
            UsageError: for a command; inside another run; for a result that could not leave a process.
            ScheduleError: for a fault that this backend does not know.
        """
        for strike, shape in zip(plan.strikes, plan.shapes, strict=True):
            self._check(strike.fault, shape)
        if isinstance(work, Command):
            # Raised rather than returned as the workload's error: the workload has not run.
            raise UsageError(_COMMAND.format(work.argv[0]))
            raise UsageError(_COMMAND.format(work.argv[0]))
        run = WatchedRun(plan, machine())
        threads = set(threading.enumerate())
        with armed(run), Limit(run, plan.timeout) as limit:
            channel.install(run.promise)
            try:
                with watching(plan.handlers):
                    ended = call_workload(work, run)
            finally:
                channel.install(None)
        return _outcome(run, ended, _leaks(run, threads), limit.stacks)


def _write(path: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write("text")


@dataclass(slots=True)
class _CameBack:
    """How a call of the workload ended."""

    value: Any = None
    error: BaseException | None = None
    text: str = ""
    leaks: Leaks = field(default_factory=Leaks)


def call_workload(work: Callable[[], Any], run: WatchedRun) -> _CameBack:
    """Call the workload. Return an error that it raises, except for a Ctrl-C from outside."""
    try:
        value = work()
        if inspect.iscoroutine(value):
            import asyncio

            value = asyncio.run(value)
        run.note("end")
        return _CameBack(value)
    except (ProcessKilled, WorkloadStopped):
        return _CameBack()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not run.receipts:
            raise
        # The first frame is this one.
        error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        text = "".join(traceback.format_exception(error))
        with suppress(ProcessKilled):
            run.note("end")
        return _CameBack(None, error, text)


def _leaks(run: WatchedRun, before: set[threading.Thread]) -> Leaks:
    """Report what the workload still holds, then close it: a process that ends holds nothing."""
    if run.dead or run.stopped.is_set():
        run.let_go()
        return Leaks()
    # A reference cycle may keep an unused file; without raw files there is nothing to collect.
    if len(run.raw_files):
        gc.collect()
    held = {id(one): one for one in run.raw_files if not one.closed}
    forgotten = tuple(repr(one) for one in held.values())
    descriptors = tuple(file.target for _, file in run.descriptors if not file.by_object)
    threads = tuple(one.name for one in threading.enumerate() if one not in before and not one.daemon)
    run.let_go()
    root = run.plan.root + "/"
    return Leaks(
        descriptors,
        threads,
        (),
        tuple(text.replace(root, "") for text in run.unclosed),
        tuple(text.replace(root, "") for text in forgotten),
    )


def _outcome(run: WatchedRun, ended: _CameBack, leaks: Leaks, stacks: str) -> Ran:
    caveats = tuple(run.caveats.values())
    root = run.plan.root
    fields: dict[str, Any] = {
        "trace": Trace(tuple(run.operations), caveats, root) if run.plan.record else Trace(root=root),
        "receipts": tuple(run.receipts),
        "reached": run.reached,
        "promised": tuple(run.promised),
        "caveats": caveats,
        "leaks": leaks,
        "requests": tuple(run.requests),
    }
    # Death and hang come first: the workload may have caught what ended it, and returned after all.
    if run.died_of is not None:
        return Ran(ok=False, signal=run.died_of, **fields)
    if run.stopped.is_set():
        return Ran(ok=False, timed_out=True, stacks=stacks, **fields)
    if run.exited is not None:
        message = (
            f"the workload's process ended with status {run.exited} before its function returned; expected "
            "it to return or to raise. For a program that ends its own process: chaos.run_command."
        )
        return Ran(ok=False, error=WorkloadError("", message), **fields)
    if ended.error is not None:
        return Ran(ok=False, error=_copied_error(ended.error), traceback=ended.text, **fields)
    return Ran(ok=True, value=_copied(ended.value), **fields)


def _copied(value: Any) -> Any:
    """Copy the value as if it had left a process, so that what works here works with any backend."""
    try:
        return plain.copied(value)
    except plain.NotPlain as error:
        raise UsageError(
            f"the workload returned a value that cannot leave its process ({error}); expected plain data, "
            "a dataclass or an exception: with other backends it runs in another process. Return plain data, "
            "or nothing."
        ) from None
    except plain.Malformed as error:
        raise UsageError(
            f"the workload returned a value that cannot be made again ({error}); expected plain data, or "
            "objects of classes that can be imported."
        ) from error


def _copied_error(error: BaseException) -> BaseException:
    try:
        copied = plain.copied(error)
    except (plain.NotPlain, plain.Malformed):
        copied = None
    return copied if isinstance(copied, BaseException) else WorkloadError(type(error).__name__, str(error))
