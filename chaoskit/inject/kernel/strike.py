"""When the strikes of a plan are due, what they do, and the proof that they took effect."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from chaoskit.core.operation import Operation, Place, Receipt
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.inner import LargestKilled, MemoryLimited
from chaoskit.faults.shapes import Delayed, Killed, Shape, Signalled
from chaoskit.inject.armed import Armed, waiting
from chaoskit.inject.base import Plan
from chaoskit.inject.interpreter.words import SharedWords
from chaoskit.inject.kernel import interest, shortage
from chaoskit.inject.kernel.border import CannotExecute, FaultEffect, Standing, Timekeeping
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.log import Log
from chaoskit.inject.kernel.seccomp.syscalls import Families
from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.kernel.workload.tree import Task, Tree

PROMISE = "promise"
"""The pseudo-call of a promise, which is an operation too."""


class Killer(Protocol):
    """Can kill the workload at once."""

    def kill_all(self) -> int:
        """Send SIGKILL to every process; return how many of the known ones were alive."""


class Strikes:
    """The strikes of one plan, in order, and the lasting conditions that they have caused."""

    def __init__(
        self,
        plan: Plan,
        workload: Tree,
        log: Log,
        time: Timekeeping,
        killer: Killer,
        words: SharedWords | None = None,
    ) -> None:
        """``words`` is memory shared with the workload, for strikes that do not happen at a call."""
        self._plan = plan
        self._tree = workload
        self._log = log
        self._time = time
        self._killer = killer
        self._armed = waiting(plan)
        self._unproven: list[tuple[FaultEffect, Receipt]] = []
        self.standing: list[Standing] = []
        self.receipts: list[Receipt] = []
        self._words = words
        self._reached = 0

    @property
    def reached(self) -> int:
        """How many strikes of the plan have reached their point, in order."""
        return self._reached if self._words is None else self._words.reached

    @reached.setter
    def reached(self, number: int) -> None:
        if self._words is None:
            self._reached = number
        else:
            self._words.reached = number

    @property
    def pending(self) -> list[Armed]:
        """The strikes that have not reached their points, the next one first."""
        return self._armed[self.reached :]

    def families(self, promised_by_writing: bool) -> Families:
        """Which calls matter now. This changes only when a point is reached or a condition begins."""
        strikes = [one.strike for one in self.pending]
        return interest.from_now_on(self._plan, strikes, self.standing, promised_by_writing)

    def due(self, family: str, target: str, second: str | None, task: Task) -> Armed | None:
        """Count the call for every pending strike; return the next strike if this is its call.

        Later strikes count from the beginning too, since their ordinals are those of the whole run.
        """
        if not self._armed or self.reached == len(self._armed):
            return None
        due = None
        place: Place | None = None
        for position, armed in enumerate(self.pending):
            # The cheapest test first: most calls belong to another family.
            if armed.family != family:
                continue
            if place is None:
                # What a peer sees is counted in the whole run, whichever thread made the call.
                place = Place(self._plan.run) if FAMILIES[family].remote else self.place(task)
            if place == armed.place and armed.due(target, second) and position == 0:
                due = armed
        return due

    def near(self, family: str, within: int) -> bool:
        """True if one of the next ``within`` operations of a family may be struck."""
        # No generator, since this is called for each request.
        for one in self._armed[self.reached :]:
            if one.family == family and one.ordinal - one.seen <= within:
                return True
        return False

    def place(self, task: Task) -> Place:
        """The stream of operations of ``task``; that of the first thread is known without a look-up."""
        if task.tid == self._tree.pid:
            return Place(self._plan.run)
        return self._tree.place(task)

    def common(self, shape: Shape, task: Task) -> FaultEffect | None:
        """The effect of a fault that is the same for all calls; None for other faults.

        Raises:
            CannotExecute: if it can have no effect any more.
        """
        match shape:
            case Killed(caller=True):
                return FaultEffect(f"SIGKILL to process {task.process.pid}", kill="one")
            case Killed():
                return FaultEffect("SIGKILL to all", kill="all")
            case Delayed(text=text, seconds=seconds):
                return FaultEffect(f"{text} s later", delay=seconds)
            case MemoryLimited(mebibytes):
                return FaultEffect(shortage.limit(task.process.pid, mebibytes))
            case LargestKilled():
                return self._out_of_memory()
            case Signalled(name, number):
                return FaultEffect(f"{name} sent", fatal=self._signal_main(number))
        return None

    def _out_of_memory(self) -> FaultEffect:
        """Kill the process with the most memory; the others continue."""
        # A process that only computes has made no stopped call, and is not known yet.
        self._tree.meet(self._tree.pid)
        process = shortage.largest(self._tree.processes.values())
        text = f"SIGKILL to process {process.pid}, which had the most memory"
        if process is self._tree.main:
            return FaultEffect(text, kill="all")
        if not process.kill(signal.SIGKILL):
            raise CannotExecute("the process with the most memory has ended already")
        return FaultEffect(text)

    def _signal_main(self, number: int) -> bool:
        """Send a signal to the workload's own process; True if that kills it.

        Raises:
            CannotExecute: if it has ended.
        """
        main = self._tree.main
        # Ask before sending: afterwards the process may be gone with its handlers.
        fatal = tree.is_fatal(self._tree.pid, number)
        if self._tree.processes.get(self._tree.pid) is not main or not main.kill(number):
            raise CannotExecute("the workload's own process has ended already")
        return fatal

    def not_injected(self, armed: Armed, why: CannotExecute) -> None:
        """Note that the point was reached but the fault could not be injected."""
        self._log.caveat("not-injected", armed.text, f"{armed.text} could not be injected: {why}")

    def deliver(
        self,
        stopped: Stopped,
        armed: Armed,
        operation: Operation,
        effect: FaultEffect,
        go_on: Callable[[], object],
    ) -> bool:
        """Carry out the effect; True if the call has to go on now."""
        if effect.kill:
            if self._kill(operation, effect):
                self.receipts.append(_receipt(armed, operation, effect))
            return False
        if effect.waits is not None:
            effect.waits(partial(self._come, stopped, _receipt(armed, operation, effect)))
            return False
        if effect.answer is not None and not stopped.answer(effect.answer):
            # An answer that comes too late changes nothing.
            return False  # Its thread was gone before: nothing was struck.
        # Made now, since what follows may change the operation.
        proof = _receipt(armed, operation, effect)
        if effect.standing is not None and effect.answer is None:
            self._unproven.append((effect, proof))  # The disk is nearly full, and nothing has failed yet.
        else:
            self.receipts.append(proof)
        if effect.delay:
            self._time.later(effect.delay, go_on, operation.tid)
            return False
        # A process that a signal kills must not be answered: it might still make the call.
        return effect.answer is None and not (effect.fatal and operation.pid == self._tree.pid)

    def _come(self, stopped: Stopped, proof: Receipt, result: int) -> None:
        """The answer that a struck call waited for has come."""
        if stopped.answer(result):
            self.receipts.append(proof)

    def _kill(self, operation: Operation, effect: FaultEffect) -> bool:
        """Kill; True if a process was alive."""
        if effect.kill == "one" and operation.pid != self._tree.pid:
            # It may have ended since the call.
            process = self._tree.processes.get(operation.pid)
            return process is not None and process.kill(signal.SIGKILL)
        return self.kill_all()

    def kill_all(self) -> bool:
        """Kill every process; True if one was alive."""
        return self._killer.kill_all() > 0

    def prove(self, condition: Standing) -> None:
        """A lasting condition has answered a call: the first such call proves its strike."""
        self.receipts += [proof for effect, proof in self._unproven if effect.standing is condition]
        self._unproven = [one for one in self._unproven if one[0].standing is not condition]

    def settle(self) -> None:
        """At the end of the run: add the proof of each condition that was met without a call that we saw."""
        self.receipts += [proof for effect, proof in self._unproven if effect.shown and effect.shown()]
        self._unproven.clear()


def _receipt(armed: Armed, operation: Operation, effect: FaultEffect) -> Receipt:
    """The proof of an effect that was delivered."""
    shown = replace(operation, ordinal=armed.ordinal, result=effect.answer)
    return Receipt(armed.text, str(shown), effect.text)
