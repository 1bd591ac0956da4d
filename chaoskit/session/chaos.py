"""The object that a scenario's test works with: the fixture ``chaos``."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaoskit.core.case import CaseFailure, OutsidePromise, RunSummary
from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.operation import Caveat, Operation, Trace
from chaoskit.core.schedule import Strike
from chaoskit.core.words import PYTEST, Words
from chaoskit.explore.border import CaseSource, World
from chaoskit.explore.errors import InvariantBroken
from chaoskit.explore.execute import Patience, Watch
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.resuming import RecoveryPlace, resumed
from chaoskit.explore.snapshot import differences, take
from chaoskit.inject import channel, plain
from chaoskit.inject.base import Backend, Command, Leaks, Plan, Ran, VirtualTime
from chaoskit.session import chance, lines
from chaoskit.session.failures import raise_failure
from chaoskit.session.handling import HandlerLog
from chaoskit.session.injecting import FaultRule, Injected, injecting
from chaoskit.session.outcomes import Outcome, how_it_failed, outcome_of, summary_of
from chaoskit.session.past import Untold
from chaoskit.session.peers import Peer, Peers
from chaoskit.session.workload import refusal

# A backend kills a workload that hangs and reports it with its stacks; the watchdog of the whole
# case comes in only when that has not worked.
_GRACE = 10.0
_LONGEST_PROMISE = 200
"""Characters kept of the ``repr`` of a promise that the test itself made."""
_REPEATED = "recovery_is_idempotent"


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
        threads: tuple[str, ...] = (),
    ) -> None:
        self._path = path
        # Once as text: backends and sources compare paths of system calls.
        self._root = str(path)
        self._backend = backend
        self._job = job
        self._watch = watch or Patience()
        self._sources = sources
        self._words = words or PYTEST
        self._threads = threads
        self._runs: list[RunSummary] = []
        self._leaks: list[Leaks] = []
        self._operations: list[Operation] = []
        self._caveats: dict[tuple[str, str], Caveat] = {}
        self._promised: list[Any] = []
        self._unsynced: frozenset[str] = frozenset()
        self._outside: list[OutsidePromise] = []
        self._sometimes: dict[str, bool] = {}
        self._unrepeatable: CaseFailure | None = None
        self._untold = ""
        self._struck: list[str] = []
        self._reached = 0
        self._nearest: dict[str, Strike] = {}
        self._refused = ""
        self._noted: dict[int, Any] = {}
        self._skipped = 0
        self._peers = Peers()
        self._handling = HandlerLog(job.handlers)
        self._resumed: list[RecoveryPlace] = []

    @property
    def path(self) -> Path:
        """A directory that was empty when this case began. Only operations below it count."""
        return self._path

    @property
    def promised(self) -> list[Any]:
        """All that was promised so far in this case, by its workloads and outside them, in order."""
        # A copy, so that a test cannot change what it will be held to.
        return list(self._promised)

    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Outcome:
        """Execute ``fn(*args, **kwargs)`` as the workload: faults strike in it and nowhere else.

        It runs in a forked process: what it changes in memory stays there, and what it returns must be plain
        data, a dataclass or an exception. A coroutine function is run on a fresh event loop. In the baseline
        an error is raised here; in a case it is part of the outcome.

        Raises:
            UsageError: for a generator function, whose body would not run; when called inside a workload,
            with other threads running, or with a file below ``path`` open; and for a result that cannot be
            sent.
        """
        if (why := refusal("run", fn)) is not None:
            raise self._refusing(why)
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
            UsageError: as for :meth:`run`, and for a command that is not a list of words.
        """
        if isinstance(argv, str | bytes) or not argv:
            raise self._refusing(wrong("argv", argv, "a list of the program and its arguments"))
        words = tuple(os.fspath(word) for word in argv)
        where = self._root if cwd is None else os.fspath(cwd)
        return self._execute(Command(words, where, env, input, promise_stdout))

    def recover(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Execute the recovery ``fn(*args, **kwargs)``, and check that doing so again changes nothing.

        It runs in a forked process like a workload, so it must read everything that it needs from the disk,
        and its result must be plain data. Faults strike in it only with ``strike_recovery`` or as the second
        fault of a pair; it is then run again without faults, as after a restart.

        Returns:
            What ``fn`` returned.

        Raises:
            BaseException: whatever ``fn`` raises without a fault.
            UsageError: as for :meth:`run`.
            InvariantBroken: if a second recovery changes anything below ``path``. In the baseline that is
                noted as a finding, and the test goes on.
        """
        if (why := refusal("recover", fn)) is not None:
            raise self._refusing(why)
        work = functools.partial(fn, *args, **kwargs)
        promised = tuple(self._promised)
        outcome = self._execute(work, recovery=True)
        # A recovery that a fault has broken may be repeated, as after a second crash.
        if outcome.faults and not outcome.ok:
            outcome = outcome_of(self._without_faults(work))
        if not outcome.ok:
            raise_failure(outcome, "the recovery", self._words)
        course = promised if self._job.expected is None else self._job.expected.promised
        self._resumed.append(resumed(outcome.value, promised, course))
        # Taken after the first recovery, so that only the changes of a second one show.
        before = take(self._root)
        again = outcome_of(self._without_faults(work))
        if not again.ok:
            what = "a second recovery, after a first that succeeded,"
            if not self._told_unrepeatable(f"{what} {how_it_failed(again)}"):
                raise_failure(again, what, self._words)
        changed = [f"{d.path} {d.change}" for d in differences(before, take(self._root))]
        if again.ok and changed:
            text = f"recovering a second time changed the disk: {', '.join(changed)}"
            if not self._told_unrepeatable(text):
                raise InvariantBroken(_REPEATED, text)
        return outcome.value

    def _told_unrepeatable(self, text: str) -> bool:
        """Note ``text`` as a finding, if this is a baseline. Return True unless the caller has to raise it.

        A recovery that is not idempotent without any fault is not in any case either. It is reported once, so
        that it does not hide what else the cases show.
        """
        if not self._job.schedule.strikes:
            self._unrepeatable = CaseFailure("invariant", _REPEATED, text, text)
            return True
        return self._job.expected is not None and not self._job.expected.repeatable

    def inject(self, *rules: FaultRule, must_strike: bool = True) -> AbstractContextManager[Injected]:
        """Inject hand-picked faults in the test's own process, at calls of Python code below ``path``.

        See :func:`chaoskit.injecting`, which does the same in an ordinary test.
        """
        return injecting(*rules, path=self._path, must_strike=must_strike)

    def peer(self, name: str, address: tuple[str, int] | None = None, start: Any = None) -> Peer:
        """Declare a server that workloads may talk to by ``name``; no crash undoes what it has received.

        ``start`` is a function that takes the port and serves; a command with ``{port}`` in it; or HTTP
        routes, such as ``{"POST /pay": {"ok": True}}``. It runs in another process until the case is over.
        ``address`` is that of a server that runs already. The peer's ``requests`` are what it has received.
        """
        return self._peers.add(name, address, start)

    def close(self) -> None:
        """End the servers that this case has started."""
        self._peers.close()

    def promise(self, value: Any) -> None:
        """Acknowledge ``value`` to the outside world. From then on no crash may undo it.

        Inside a workload a promise is an operation at which faults strike, like any other. Outside, as in a
        recovery that the test does itself, it is recorded with the run that it came after.

        Raises:
            UsageError: for a value that cannot be sent.
        """
        if channel.inside():
            channel.promise(value)
            return
        try:
            # The same types of value as inside, and a copy: what the test changes later was not promised.
            self._promised.append(plain.copied(value))
        except plain.NotPlain as error:
            raise UsageError(
                f"promise() was given a value that cannot leave a process ({error}); expected plain data, a "
                "dataclass or an exception. Promise plain data."
            ) from None
        self._outside.append(OutsidePromise(len(self._runs), _cut(repr(value))))

    def sometimes(self, name: str, condition: object) -> None:
        """State that some case must get here with ``condition`` true; ``name`` says what that means.

        A case in which ``condition`` is false breaks nothing. A scenario in which it is never true has not
        tested what it is for, such as "took over a stale lease", and the report says so.

        Raises:
            UsageError: inside a workload, whose memory is lost with it: check what it left behind instead.
        """
        if channel.inside():
            raise UsageError(
                f"chaos.sometimes({name!r}) was called inside a workload; expected a call from the test "
                "itself. Look at what the workload has returned or left on the disk."
            )
        self._sometimes[name] = self._sometimes.get(name, False) or bool(condition)

    def observed(self) -> Observation:
        """What has happened so far, for the explorer."""
        # Operations of the first run have their indices already.
        numbered = enumerate(self._operations)
        operations = tuple(o if o.index == i else replace(o, index=i) for i, o in numbered)
        caveats = tuple(self._caveats.values())
        return Observation(
            runs=tuple(self._runs),
            struck=tuple(self._struck),
            reached=self._reached,
            nearest=self._nearest,
            trace=Trace(operations, caveats, self._root),
            caveats=caveats,
            leaks=tuple(self._leaks),
            with_data=self._job.note is not None,
            refused=self._refused,
            unrepeatable=self._unrepeatable,
            untold=self._untold,
            outside=tuple(self._outside),
            noted=self._noted,
            sometimes=dict(self._sometimes),
            not_waited=self._skipped / 10**9,
            handled=dict(self._handling.seen),
            promised=() if self._job.expected else tuple(self._promised),
            resumed=tuple(self._resumed),
        )

    def _execute(self, work: Callable[[], Any] | Command, *, recovery: bool = False) -> Outcome:
        if channel.inside():
            raise UsageError(
                "chaos.run was called inside a workload; expected a call from the test itself. "
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
        spoiling = self._job.spoiling if self._job.spoiling and self._job.spoiling.run == number else None
        kept = spoiling.before(self._root) if spoiling is not None else {}
        began = time.monotonic()
        ran = self._with_lines(work, self._plan(number, recovery))
        self._note(ran, number, recovery, time.monotonic() - began)
        for source in self._sources:
            source.after_run(number, self._root)
        if spoiling is not None:
            spoiling.after(self._root, kept)
        outcome = outcome_of(ran)
        baseline = not self._job.schedule.strikes
        if baseline and not outcome.ok and not recovery:
            raise_failure(outcome, "the workload", self._words, ran.stray_interrupts)
        return outcome

    def _refusing(self, error: UsageError) -> UsageError:
        """Remember wrong use: a test that catches the error must not pass as if it had never called."""
        # Keep the first: later errors are often only its consequences.
        self._refused = self._refused or str(error)
        return error

    def _plan(self, number: int, recovery: bool) -> Plan:
        # Recoveries are left alone unless asked for: their faults would be blamed on the workload.
        quiet = recovery and not self._job.strike_recovery
        strikes = () if quiet else self._due(number)
        record = self._job.record and not quiet
        job, peers = self._job, self._peers.addresses
        of_test = (job.timeout, peers, self._threads, self._unsynced, self._time(), job.inside)
        return Plan(self._root, number, record, strikes, job.patterns, *of_test)

    def _time(self) -> VirtualTime | None:
        """The virtual time of the next run, which continues where the last run ended."""
        return None if self._job.time is None else replace(self._job.time, ahead=self._skipped)

    def _due(self, number: int) -> tuple[Any, ...]:
        """The next strikes of the schedule that belong to this run."""
        waiting = self._job.schedule.strikes[self._reached :]
        # In order: a strike of a later run is not due yet, nor are those after it.
        end = next((i for i, s in enumerate(waiting) if s.point.place.run != number), len(waiting))
        return waiting[:end]

    def _without_faults(self, work: Callable[[], Any]) -> Ran:
        plan = self._plan(len(self._runs), recovery=False)
        return self._backend_run(work, replace(plan, record=False, strikes=()))

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
            with chance.inherited(), self._handling.watching() as handlers:
                ran = self._backend.run(work, replace(plan, handlers=handlers))
            self._skipped += ran.skipped
            return ran
        except UsageError as error:
            self._refusing(error)
            raise
        finally:
            self._watch.expect(self._job.timeout)

    def _note(self, ran: Ran, number: int, recovery: bool, seconds: float) -> None:
        self._runs.append(summary_of(ran, number, recovery, seconds))
        self._leaks.append(ran.leaks)
        self._operations += ran.trace.operations
        self._caveats |= {(caveat.kind, caveat.target): caveat for caveat in ran.caveats}
        self._promised += ran.promised
        self._peers.note(ran.requests)
        self._unsynced = ran.unsynced
        self._struck += [receipt.strike for receipt in ran.receipts]
        self._reached += ran.reached
        self._nearest |= ran.nearest
        self._watch.tell(tuple(self._runs))

    def _lose_power(self, world: World) -> Outcome:
        receipts = world.build(self._root)
        promised = world.promised
        try:
            self._peers.replay(world.past)
        except Untold as why:
            self._untold = str(why)
        summary = RunSummary(world.run, "lost power", promised=len(promised), receipts=receipts)
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


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_PROMISE else f"{text[:_LONGEST_PROMISE]}…"
