"""The object that a scenario's test works with: the fixture ``chaos``."""

from __future__ import annotations

import functools
import os
import signal as signals
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chaoskit.core.case import RunSummary
from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.operation import Caveat, Operation, Receipt, Trace
from chaoskit.core.words import PYTEST, Words
from chaoskit.explore.border import CaseSource, World
from chaoskit.explore.errors import InvariantBroken, WorkloadFailed
from chaoskit.explore.execute import Patience, Watch
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.snapshot import differences, take
from chaoskit.inject import channel
from chaoskit.inject.base import Backend, Command, Leaks, Plan, Ran
from chaoskit.session import chance, lines

# A backend kills a workload that hangs and reports it with its stacks; the watchdog of the whole
# case comes in only when that has not worked.
_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a workload ended.

    ``ok``
        True if it returned; ``value`` is then what it returned (a copy: it ran in another process).
        For a command: True if it exited with 0; ``value`` has its ``returncode``, ``stdout`` and
        ``stderr`` in any case.
    ``error``
        What it raised, as an exception of the same type where that can be sent; ``traceback`` is
        the text of it.
    ``signal``
        The number of the signal that killed it, or None.
    ``timed_out``
        True if it was killed because it hung; ``stacks`` is where.
    ``power_lost``
        True if it ended in a power loss: ``chaos.path`` holds what was left on the disk.
    ``faults``
        The receipts of the faults that struck in it.
    """

    ok: bool
    value: Any = None
    error: BaseException | None = None
    signal: int | None = None
    timed_out: bool = False
    power_lost: bool = False
    faults: tuple[Receipt, ...] = ()
    traceback: str = ""
    stacks: str = ""


class Chaos:
    """Runs workloads, with the faults that are due in them. The fixture makes one for every case."""

    def __init__(
        self,
        path: Path,
        backend: Backend,
        job: Job,
        watch: Watch | None = None,
        sources: Sequence[CaseSource] = (),
        words: Words | None = None,
    ) -> None:
        self._path = path
        # Once as text: backends and sources compare paths of system calls.
        self._root = str(path)
        self._backend = backend
        self._job = job
        self._watch = watch or Patience()
        self._sources = sources
        self._words = words or PYTEST
        self._runs: list[RunSummary] = []
        self._leaks: list[Leaks] = []
        self._operations: list[Operation] = []
        self._caveats: dict[tuple[str, str], Caveat] = {}
        self._promised: list[Any] = []
        self._struck: list[str] = []
        self._reached = 0
        self._refused = ""
        self._noted: dict[int, Any] = {}

    @property
    def path(self) -> Path:
        """A directory that was empty when this case began. Operations below it count, no others."""
        return self._path

    @property
    def promised(self) -> list[Any]:
        """All that the workloads of this case have promised so far, in order."""
        # A copy: a test that changes it must not change what it is held to.
        return list(self._promised)

    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Outcome:
        """Execute ``fn(*args, **kwargs)`` as the workload: faults strike in it and nowhere else.

        It runs in a forked process: what it changes in memory stays there, and what it returns must
        be plain data, a dataclass or an exception. A coroutine function is run on a fresh event loop. In
        the baseline an error
        is raised here; in a case it is part of the outcome.

        Raises:
            UsageError: from inside of a workload; with other threads running or a file below
                ``path`` open; for a result that cannot be sent.
        """
        if not callable(fn):
            raise self._refusing(
                wrong("chaos.run's first argument", fn, "a function", "For a program: chaos.run_command.")
            )
        return self._execute(functools.partial(fn, *args, **kwargs))

    def run_command(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        input: bytes = b"",
        promise_stdout: bool = True,
    ) -> Outcome:
        """Execute a program as the workload, and everything that it starts.

        ``cwd`` defaults to ``path``, ``env`` to this process's environment. Each line on standard
        output is a promise, unless ``promise_stdout`` is False. In the baseline an exit status other
        than 0 is raised as an error.

        Raises:
            UsageError: as for :meth:`run`, and for a command that is no list of words.
        """
        if isinstance(argv, str | bytes) or not argv:
            raise self._refusing(wrong("argv", argv, "a list of the program and its arguments"))
        words = tuple(os.fspath(word) for word in argv)
        where = self._root if cwd is None else os.fspath(cwd)
        return self._execute(Command(words, where, env, input, promise_stdout))

    def recover(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Execute the recovery ``fn(*args, **kwargs)``, and see that doing so again changes nothing.

        It runs in a forked process like a workload, so it must bring everything that it needs from
        the disk, and its result must be plain data. Faults strike in it only with ``strike_recovery``
        or as the second fault of a pair; it is then run again without faults, as after a restart.

        Returns:
            What ``fn`` returned.

        Raises:
            BaseException: whatever ``fn`` raises without a fault.
            InvariantBroken: if a second recovery changes anything below ``path``.
        """
        work = functools.partial(fn, *args, **kwargs)
        outcome = self._execute(work, recovery=True)
        # A recovery that a fault has broken may be repeated, as after a second crash.
        if outcome.faults and not outcome.ok:
            outcome = _outcome(self._without_faults(work))
        if not outcome.ok:
            _raise(outcome, "the recovery", self._words)
        # After the first recovery: only what a second one changes is compared.
        before = take(self._root)
        again = _outcome(self._without_faults(work))
        if not again.ok:
            _raise(again, "a second recovery, after a first that succeeded,", self._words)
        changed = [f"{d.path} {d.change}" for d in differences(before, take(self._root))]
        if changed:
            text = f"recovering a second time changed the disk: {', '.join(changed)}"
            raise InvariantBroken("recovery_is_idempotent", text)
        return outcome.value

    def promise(self, value: Any) -> None:
        """Called inside a workload: acknowledge ``value``. From then on no crash may take it back.

        Raises:
            UsageError: outside of a workload, or for a value that cannot be sent.
        """
        channel.promise(value)

    def observed(self) -> Observation:
        """What happened so far, for the explorer."""
        # Those of the first run have their indices already.
        numbered = enumerate(self._operations)
        operations = tuple(o if o.index == i else replace(o, index=i) for i, o in numbered)
        caveats = tuple(self._caveats.values())
        return Observation(
            runs=tuple(self._runs),
            struck=tuple(self._struck),
            reached=self._reached,
            trace=Trace(operations, caveats, self._root),
            caveats=caveats,
            leaks=tuple(self._leaks),
            with_data=self._job.note is not None,
            refused=self._refused,
            noted=self._noted,
        )

    def _execute(self, work: Callable[[], Any] | Command, *, recovery: bool = False) -> Outcome:
        if channel.inside():
            raise UsageError(
                "chaos.run was called inside of a workload; expected a call from the test itself. "
                "Call the function directly: its operations are seen already."
            )
        number = len(self._runs) + 1
        for source in self._sources:
            source.before_run(number, self._root)
        if self._job.note is not None:
            self._noted[number] = self._job.note(self._root)
        world = self._job.world
        # The world stands for this run, so the workload is not executed.
        if world is not None and world.run == number:
            return self._lose_power(world)
        began = time.monotonic()
        ran = self._with_lines(work, self._plan(number, recovery))
        self._note(ran, number, recovery, time.monotonic() - began)
        for source in self._sources:
            source.after_run(number, self._root)
        outcome = _outcome(ran)
        baseline = not self._job.schedule.strikes
        if baseline and not outcome.ok and not recovery:
            _raise(outcome, "the workload", self._words, ran.stray_interrupts)
        return outcome

    def _refusing(self, error: UsageError) -> UsageError:
        """Remember wrong use for a test that catches the error: it must not pass as if it never called."""
        # The first: what follows is often only its consequence.
        self._refused = self._refused or str(error)
        return error

    def _plan(self, number: int, recovery: bool) -> Plan:
        # Recoveries are left alone unless asked for: their faults would be blamed on the workload.
        quiet = recovery and not self._job.strike_recovery
        strikes = () if quiet else self._due(number)
        record = self._job.record and not quiet
        return Plan(self._root, number, record, strikes, self._job.patterns, self._job.timeout)

    def _due(self, number: int) -> tuple[Any, ...]:
        """The next strikes of the schedule that belong to this run."""
        waiting = self._job.schedule.strikes[self._reached :]
        # In order: a strike of a later run is not due, nor is what stands behind it.
        end = next((i for i, s in enumerate(waiting) if s.point.place.run != number), len(waiting))
        return waiting[:end]

    def _without_faults(self, work: Callable[[], Any]) -> Ran:
        return self._backend_run(work, Plan(self._root, len(self._runs), timeout=self._job.timeout))

    def _with_lines(self, work: Callable[[], Any] | Command, plan: Plan) -> Ran:
        """Run; in the first recording, count the workload's lines for coverage.py if it is measuring."""
        if self._job.expected is not None or isinstance(work, Command) or not lines.active():
            return self._backend_run(work, plan)
        ran = self._backend_run(functools.partial(lines.with_lines, work), plan)
        if ran.ok:
            value, executed = ran.value
            lines.add(executed)
            ran = replace(ran, value=value)
        return replace(ran, trace=_without_frames_of(lines.__file__, ran.trace))

    def _backend_run(self, work: Callable[[], Any] | Command, plan: Plan) -> Ran:
        # The backend has its own limit; the watchdog gets a little more.
        self._watch.expect(self._job.timeout + _GRACE)
        try:
            with chance.inherited():
                return self._backend.run(work, plan)
        except UsageError as error:
            self._refusing(error)
            raise
        finally:
            self._watch.expect(self._job.timeout)

    def _note(self, ran: Ran, number: int, recovery: bool, seconds: float) -> None:
        self._runs.append(_summary(ran, number, recovery, seconds))
        self._leaks.append(ran.leaks)
        self._operations += ran.trace.operations
        self._caveats |= {(caveat.kind, caveat.target): caveat for caveat in ran.caveats}
        self._promised += ran.promised
        self._struck += [receipt.strike for receipt in ran.receipts]
        self._reached += ran.reached
        self._watch.tell(tuple(self._runs))

    def _lose_power(self, world: World) -> Outcome:
        # First the content, since what was promised may name files in it.
        receipts = world.build(self._root)
        promised = world.promised(self._root)
        summary = RunSummary(
            run=world.run,
            how="lost power",
            promised=len(promised),
            receipts=receipts,
        )
        self._runs.append(summary)
        self._leaks.append(Leaks())
        self._promised += promised
        self._struck += [receipt.strike for receipt in receipts]
        self._reached += len(receipts)
        self._watch.tell(tuple(self._runs))
        return Outcome(False, power_lost=True, faults=receipts)


def _without_frames_of(file: str, trace: Trace) -> Trace:
    operations = (
        replace(o, stack=tuple(frame for frame in o.stack if frame.file != file)) for o in trace.operations
    )
    return replace(trace, operations=tuple(operations))


def _outcome(ran: Ran) -> Outcome:
    return Outcome(
        ok=ran.ok,
        value=ran.value,
        error=ran.error,
        signal=ran.signal,
        timed_out=ran.timed_out,
        faults=ran.receipts,
        traceback=ran.traceback,
        stacks=ran.stacks,
    )


def _summary(ran: Ran, number: int, recovery: bool, seconds: float) -> RunSummary:
    how = "returned" if ran.ok else "stopped" if ran.timed_out else "died" if ran.signal else "raised"
    return RunSummary(
        run=number,
        how=how,  # type: ignore[arg-type]
        recovery=recovery,
        error=f"{type(ran.error).__name__}: {ran.error}" if ran.error is not None else "",
        traceback=ran.traceback,
        signal=signal_name(ran.signal) if ran.signal else "",
        stacks=ran.stacks,
        promised=len(ran.promised),
        receipts=ran.receipts,
        stray_interrupts=ran.stray_interrupts,
        seconds=seconds,
    )


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; the number as text where the platform has no name for it."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return str(number)


def _raise(outcome: Outcome, what: str, words: Words, interrupted: int = 0) -> None:
    """Raise what went wrong although nothing was injected; ``interrupted`` counts calls that we delayed."""
    if isinstance(outcome.error, InterruptedError) and interrupted:
        outcome.error.add_note(
            f"chaoskit: {interrupted} calls were interrupted by a signal that the workload caught while they "
            "waited to be looked at, which takes some 20 to 100 µs; the kernel then answers EINTR where it "
            "otherwise never does. Give the timer a longer interval in this test, install its handler with "
            "signal.siginterrupt(number, False), or block the signal around the calls."
        )
    if isinstance(outcome.error, Exception):
        how = f":\n{outcome.traceback}" if outcome.traceback else "."
        outcome.error.add_note(f"This is how {what} failed, without any fault in it{how}")
        raise outcome.error
    if outcome.error is not None:
        how = f"raised {type(outcome.error).__name__}: {outcome.error}"
        raise WorkloadFailed(f"{what} {how}; expected it to return.\n{outcome.traceback}") from None
    if outcome.timed_out:
        early = (
            f"{interrupted} calls were interrupted by signals before: try again first. "
            if interrupted
            else ""
        )
        raise WorkloadFailed(
            f"{what} hung and was killed, without any fault in it; expected it to return. "
            f"{early}{words.more_time}\n{outcome.stacks}"
        )
    name = signal_name(outcome.signal or 0)
    raise WorkloadFailed(f"{what} was killed by {name}, without any fault in it; expected it to return.")
