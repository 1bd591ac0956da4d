"""When the strikes of a plan are due, what they do, and the proof that they did it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from chaoskit.core.operation import Operation, Place, Receipt
from chaoskit.faults.shapes import Delayed, Killed, Shape, Signalled
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import interest
from chaoskit.inject.kernel.armed import Armed
from chaoskit.inject.kernel.border import CannotExecute, FaultEffect, Standing
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.log import Log
from chaoskit.inject.kernel.poller import Poller
from chaoskit.inject.kernel.seccomp.syscalls import Families
from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.kernel.workload.tree import Task, Tree

PROMISE = "promise"
"""The call under which a promise is an operation."""


class Killer(Protocol):
    """Ends the workload at once."""

    def kill_all(self) -> int:
        """SIGKILL to every process; returns how many of those that were met were alive."""


class Strikes:
    """The strikes of one plan, in order, and the conditions that they have left behind."""

    def __init__(self, plan: Plan, workload: Tree, log: Log, poller: Poller, killer: Killer) -> None:
        self._plan = plan
        self._tree = workload
        self._log = log
        self._poller = poller
        self._killer = killer
        self._armed = [Armed(strike) for strike in plan.strikes]
        self._unproven: list[tuple[Standing, Receipt]] = []
        self.standing: list[Standing] = []
        self.receipts: list[Receipt] = []
        self.reached = 0

    @property
    def pending(self) -> list[Armed]:
        """The strikes whose points have not been reached, the next one first."""
        return self._armed[self.reached :]

    def families(self, promised_by_writing: bool) -> Families:
        """Which calls matter now; it changes only when a point is reached or a condition begins."""
        strikes = [one.strike for one in self.pending]
        return interest.from_now_on(self._plan, strikes, self.standing, promised_by_writing)

    def due(self, family: str, target: str, second: str | None, task: Task) -> Armed | None:
        """Count the call for every pending strike; return the next one if this is its call.

        A later strike counts from the beginning, too: its ordinal is that of the whole run.
        """
        if self.reached == len(self._armed):
            return None
        due = None
        place: Place | None = None
        for position, armed in enumerate(self.pending):
            # Cheapest first: most calls are of another family than the strike.
            if armed.family != family:
                continue
            if place is None:
                place = self.place(task)
            if place == armed.place and armed.due(target, second) and position == 0:
                due = armed
        return due

    def place(self, task: Task) -> Place:
        """The stream of operations that ``task`` is; that of the first thread is known without a look."""
        if task.tid == self._tree.pid:
            return Place(self._plan.run)
        return self._tree.place(task)

    def common(self, shape: Shape, task: Task) -> FaultEffect | None:
        """The effect of a fault that is the same whatever it strikes; None for one that is not.

        Raises:
            CannotExecute: if it has no effect any more.
        """
        match shape:
            case Killed(caller=True):
                return FaultEffect(f"SIGKILL to process {task.process.pid}", kill="one")
            case Killed():
                return FaultEffect("SIGKILL to all", kill="all")
            case Delayed(text=text, seconds=seconds):
                return FaultEffect(f"{text} s later", delay=seconds)
            case Signalled(name, number):
                return FaultEffect(f"{name} sent", fatal=self._signal_main(number))
        return None

    def _signal_main(self, number: int) -> bool:
        """Send a signal to the workload's own process; True if it dies of it.

        Raises:
            CannotExecute: if it has ended already: its descriptor may stand for another process by now.
        """
        main = self._tree.main
        # Asked before it is sent: afterwards the process may be gone, and its handlers with it.
        fatal = tree.is_fatal(self._tree.pid, number)
        if self._tree.processes.get(self._tree.pid) is not main or not main.kill(number):
            raise CannotExecute("the workload's own process has ended already")
        return fatal

    def not_injected(self, armed: Armed, why: CannotExecute) -> None:
        """Note that the point was reached, and that the fault could not be made to happen there."""
        self._log.caveat("not-injected", armed.text, f"{armed.text} could not be injected: {why}")

    def deliver(
        self,
        stopped: Stopped,
        armed: Armed,
        operation: Operation,
        effect: FaultEffect,
        go_on: Callable[[], object],
    ) -> bool:
        """Make the effect happen; True if the call has to go on now."""
        if effect.kill:
            if self._kill(operation, effect):
                self.receipts.append(_receipt(armed, operation, effect))
            return False
        if effect.answer is not None and not stopped.answer(effect.answer):
            # An answer that came too late has changed nothing.
            return False  # Its thread was gone before: nothing was struck.
        # Made now: the operation is as it stands, and what follows may change it.
        proof = _receipt(armed, operation, effect)
        if effect.standing is not None and effect.answer is None:
            self._unproven.append((effect.standing, proof))  # Nearly full, and nothing has failed of it.
        else:
            self.receipts.append(proof)
        if effect.delay:
            self._poller.later(effect.delay, go_on)
            return False
        # A process that dies of a signal dies here, before the call: answered, it might still make it.
        return effect.answer is None and not (effect.fatal and operation.pid == self._tree.pid)

    def _kill(self, operation: Operation, effect: FaultEffect) -> bool:
        """True if something was alive to be killed."""
        if effect.kill == "one" and operation.pid != self._tree.pid:
            # It may have ended since it made the call.
            process = self._tree.processes.get(operation.pid)
            return process is not None and process.kill(signal.SIGKILL)
        return self._killer.kill_all() > 0

    def prove(self, condition: Standing) -> None:
        """A lasting condition has answered a call: if nothing had failed of it so far, now it has struck."""
        self.receipts += [proof for standing, proof in self._unproven if standing is condition]
        self._unproven = [one for one in self._unproven if one[0] is not condition]


def _receipt(armed: Armed, operation: Operation, effect: FaultEffect) -> Receipt:
    """The proof for an effect that was delivered."""
    shown = replace(operation, ordinal=armed.ordinal, result=effect.answer)
    return Receipt(armed.text, str(shown), effect.text)
