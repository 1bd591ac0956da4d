"""The loop that answers calls for one run, until every process of the workload is gone."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from chaoskit.core.operation import Operation
from chaoskit.faults.calls import FAMILIES
from chaoskit.inject import processes
from chaoskit.inject.armed import Armed
from chaoskit.inject.base import Plan
from chaoskit.inject.interpreter.words import SharedWords
from chaoskit.inject.kernel import catcher, inner
from chaoskit.inject.kernel.border import UNFAITHFUL, Around, CannotExecute, Counter, Domain
from chaoskit.inject.kernel.clock import clockwork
from chaoskit.inject.kernel.domains import Domains, by_number
from chaoskit.inject.kernel.ending import Ending
from chaoskit.inject.kernel.happenings import Begun
from chaoskit.inject.kernel.listener import Listener, Notification, Stopped
from chaoskit.inject.kernel.log import Call, Log, bare
from chaoskit.inject.kernel.poller import Poller
from chaoskit.inject.kernel.promises import Promises
from chaoskit.inject.kernel.seccomp import abi, bpf
from chaoskit.inject.kernel.seccomp.syscalls import Families
from chaoskit.inject.kernel.strike import Strikes
from chaoskit.inject.kernel.watching import Watching
from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.kernel.workload.memory import Unreadable
from chaoskit.inject.kernel.workload.messages import Streams
from chaoskit.inject.kernel.workload.tree import Tree

_AT_ONCE = 256
"""How many calls are counted before the loop checks the clock and other descriptors again."""


class CallSupervisor:
    """Supervises one run; :meth:`serve` returns when it is over.

    It knows when a call stops, whether a strike is due there, and what answers it. The domains, asked in
    order, know what the call means.
    """

    def __init__(
        self,
        workload: Tree,
        plan: Plan,
        streams: Streams,
        inherited: frozenset[int],
        guard: processes.Guard,
        words: SharedWords | None = None,
    ) -> None:
        """``words`` is memory shared with a workload that is also watched from inside."""
        self._guard, self.words = guard, words
        self._tree, self._plan = workload, plan
        self._streams = streams
        self._at_start = inherited
        self._poller = Poller()
        self._listener = Listener()
        self.log = Log(workload, recording=plan.record, words=words)
        self.ending = Ending(workload, self._poller)
        self.clockwork = clockwork.of(plan, workload, self._poller, self.log, self.ending)
        keeping = self.clockwork or self._poller
        self.strikes = Strikes(plan, workload, self.log, keeping, self.ending, words)
        begun = Begun(self.log, self.strikes, self._settle, self._look_again)
        unsynced = set(plan.unsynced)
        around = Around(plan.root, self.log, self._poller, workload, keeping, plan, begun, unsynced=unsynced)
        self._domains = Domains(around)
        self.requests, self.unsynced = around.requests, unsynced
        clockwork.ask(self.clockwork, self._poller, self._domains.values())
        self.promises = Promises(around, self._domains.values(), self.strikes, streams, self._look_again)
        self._watching = Watching(workload, self.log, self._have_caught)
        self.descriptors: list[str] = []
        """Descriptors that the workload's own process has open at its end but had not at its start."""
        self._asked_again = False
        self._caught = self._was_refused_a_catcher = False
        self._calls = by_number()
        # Numbers mean other calls on another architecture.
        self._arch = abi.AUDIT_ARCH[abi.machine()]
        self._families: Families = None
        self._counter: Counter | None = None
        self._only_calls: Callable[[], bool] = bool
        self._look_again()

    # The loop.

    def serve(self, listener: int, before_fork: set[int]) -> int:
        """Answer calls until the tree is gone; return the wait status of the workload's own process."""
        self.ending.begin(before_fork)
        self._listener.attach(listener)
        self._receive_from(listener)
        for fd in self._streams.readable():
            self._poller.watch(fd, partial(self._drain, fd))
        deadline = time.monotonic() + self._plan.timeout
        try:
            while self._tree.pid in self._tree.processes:
                if self._tree.arrivals:
                    self.ending.watch_arrivals()
                self._poller.turn(deadline)
                # Give up once: after that the loop only waits for the end.
                if time.monotonic() >= deadline and not self.ending.dying:
                    self.ending.give_up()
            if self.clockwork is not None:
                self.clockwork.over()
            # Collect it last: until then its number cannot be reused.
            _, status = os.waitpid(self._tree.pid, 0)
            self.ending.wind_up()
            return status
        finally:
            self._let_catch_go()
            self._streams.drain_all()
            self._settle()
            self.strikes.settle()
            if self.withdrawn:
                # This includes threads that died while their call waited: the kernel does not distinguish
                # them.
                text = f"{self.withdrawn} calls were interrupted while they waited; a close may have failed"
                self.log.caveat("interrupted", "", text)
            for domain in self._domains.values():
                domain.close()
            if self.clockwork is not None:
                self.clockwork.close()

    def _receive_from(self, source: int) -> None:
        self._listener.source = source
        self._only_calls = self._poller.only([(source, select.POLLIN)])
        self._poller.watch(source, partial(self._listen, source))

    def _have_caught(self) -> None:
        """Have calls received as soon as they are made; see :mod:`chaoskit.inject.kernel.catcher`."""
        listener = self._listener.source
        if self._caught or self._was_refused_a_catcher:
            return
        source = catcher.receiving(listener, self._guard)
        self._caught = source >= 0
        self._was_refused_a_catcher = not self._caught
        if self._caught:
            self._poller.forget(listener)
            self._receive_from(source)

    def _let_catch_go(self) -> None:
        if self._caught:
            catcher.over()
            os.close(self._listener.source)

    def _drain(self, fd: int, _: int) -> None:
        if not self._streams.drain(fd):
            self._poller.forget(fd)

    def _listen(self, listener: int, event: int) -> None:
        if event & select.POLLIN:
            self._receive()
        elif event & (select.POLLHUP | select.POLLERR):
            self._poller.forget(listener)

    def _receive(self) -> None:
        """Let through the calls that only have to be counted, then receive one and handle it."""
        listener, counter = self._listener, self._counter
        if self.ending.dying:
            listener.drop()
            return
        # With a deferred action the clock must be checked after each call.
        most = 1 if counter is None or self._poller.holding else _AT_ONCE
        # Everything else waits for the next turn of the loop.
        call = listener.receive(None if counter is None else counter.goes_by, self._only_calls, most)
        if listener.withdrawn:
            self._have_caught()
        if call is not None:
            self._see_to(call)

    def _see_to(self, call: Notification) -> None:
        stopped = Stopped(self._listener, call.ident)
        try:
            self._dispatch(call, stopped)
        except Unreadable as why:
            # Missing a call is better than hanging: the workload goes on, and the report says what was
            # missed.
            if stopped.go_on():
                program = tree.comm(call.tid)
                self.log.caveat("unreadable", program, f"calls of {program} were not seen: {why}")

    def _dispatch(self, call: Notification, stopped: Stopped) -> None:
        wanted = self._calls.get(call.number) if call.arch == self._arch else None
        if self.clockwork is not None and call.arch == self._arch:
            kept = self.clockwork.take(call, stopped)
            if kept is None:
                return
            stopped = kept
        if wanted is None:
            self._watching.see_to(call, stopped)
        # No domain may see a write to it: it is meant for us. Other calls on it fail as in the kernel.
        elif call.args[0] == bpf.CONTROL and wanted[0][1].name == "write":
            self.promises.take(call.tid, call.args, stopped, self._holds_more)
        else:
            self._called(call, stopped)

    @property
    def withdrawn(self) -> int:
        """See :attr:`Listener.withdrawn`."""
        return self._listener.withdrawn

    def trace(self) -> tuple[Operation, ...]:
        """The numbered operations of all domains; complete when the run is over."""
        return inner.merged(self.log.operations, self.promises.mailbox.noted, self._plan.run, self._tree.pid)

    # Calls.

    def _look_again(self) -> None:
        """Determine which calls matter: at the start, and whenever a strike's point was reached."""
        pending, promises = self.strikes.pending, self.promises.by_writing
        self._families = self.strikes.families(promises)
        if self.clockwork is not None:
            reads = self._families is None or "clock" in self._families
            self.clockwork.count(reads and self.clockwork.operations)
        # Calls may be counted unexamined only if nothing but one strike can happen.
        only = len(pending) == 1 and not self.strikes.standing and not promises
        self._counter = self._cheap(pending[0]) if only and self._families is not None else None

    def _cheap(self, armed: Armed) -> Counter | None:
        counters = (domain.counter(armed, self._tree.main) for domain in self._domains.of(armed.family))
        return next((counter for counter in counters if counter is not None), None)

    def _called(self, call: Notification, stopped: Stopped) -> None:
        """Find the domain of the call, and handle its operation."""
        families = self._families
        # In a case most families no longer matter: their calls go on unread.
        wanted = self._calls[call.number]
        if families is not None:
            wanted = tuple(one for one in wanted if one[1].always or one[1].family in families)
        task = self._tree.task(call.tid) if wanted else None
        if task is None:
            stopped.go_on()
            return
        for position, spec in wanted:
            domain = self._domains[position]
            decoded = domain.decode(spec, task, call.args)
            if decoded is not None:
                if decoded.family:
                    self._operation(domain, decoded, stopped)
                else:
                    domain.perform(decoded, stopped)
                return
        if not any(self.promises.written(task, spec, call.args, stopped) for _, spec in wanted):
            stopped.go_on()

    def _operation(self, domain: Domain[Any], call: Call, stopped: Stopped) -> None:
        """Handle an operation: strike it, let a lasting condition answer it, or let it go on."""
        if self._plan.record:
            # First, so that a request sent before this call is recorded before it.
            self._settle()
            if self.ending.dying:
                return
        if self._families is None and not FAMILIES[call.family].remote:
            # Processes and threads are numbered in the order of their first operations, struck or not.
            self.strikes.place(call.task)
        armed = self.strikes.due(call.family, call.target, call.second, call.task)
        if armed is not None and self._strike(domain, armed, call, stopped):
            return
        for condition in self.strikes.standing:
            if call.family not in condition.families:
                continue
            # Only one lasting condition answers: the first that began.
            answer, text = condition.answer(call, lambda: bare(call, domain.describe(call, whole=False)))
            if answer is not None or text:
                self.strikes.prove(condition)
            if answer is not None:
                if self._plan.record:
                    self._struck(self._described(domain, call), answer)
                stopped.answer(answer)
                return
        self._go_on(domain, call, stopped)

    def _go_on(self, domain: Domain[Any], call: Call, stopped: Stopped) -> None:
        """Let the call have its ordinary effect."""
        if self._plan.record or call.spec.always:
            domain.perform(call, stopped)
        else:
            stopped.go_on()

    def _settle(self) -> None:
        for domain in self._domains.values():
            domain.settle()

    def _strike(self, domain: Domain[Any], armed: Armed, call: Call, stopped: Stopped) -> bool:
        """Inject the fault; False if the call must have its ordinary effect after all."""
        self.strikes.reached += 1
        self._look_again()
        operation = self._described(domain, call)
        try:
            # Kills, signals and delays are the same in all domains.
            effect = self.strikes.common(armed.shape, call.task) or domain.effect(armed.shape, call)
            if effect.release is not None and not stopped.release(effect.release):
                raise CannotExecute("its descriptor could not be released")
        except UNFAITHFUL as why:
            self.strikes.not_injected(armed, CannotExecute(str(why) or type(why).__name__))
            return False
        if effect.standing is not None:
            self.strikes.standing.append(effect.standing)
            self._look_again()
        if self._plan.record and (effect.answer is not None or effect.kill):
            self._struck(operation, effect.answer)
        go_on = partial(self._go_on, domain, call, stopped)
        if self.strikes.deliver(stopped, armed, operation, effect, go_on):
            go_on()
        return True

    def _described(self, domain: Domain[Any], call: Call) -> Operation:
        """Describe a call that its domain will not perform; in a recording with its data."""
        detail = domain.describe(call, whole=self._plan.record)
        return self.log.operation(call, None, detail)

    def _struck(self, operation: Operation, answer: int | None) -> None:
        """Record a call that was answered by a fault or a lasting condition, not by the kernel."""
        self._settle()
        self.log.add(replace(operation, result=answer))

    # The end.

    def _holds_more(self) -> bool:
        """True, once, if the workload's process has more descriptors than at its start: maybe garbage."""
        self.descriptors = self._extra_descriptors()
        # Once is enough: then garbage is collected, and only real leaks remain.
        again = bool(self.descriptors) and not self._asked_again
        self._asked_again |= again
        return again

    def _extra_descriptors(self) -> list[str]:
        """The descriptors that the workload's own process has open but had not at its start."""
        task = self._tree.task(self._tree.pid)
        if task is None:
            return []
        links = {fd: task.link(fd) for fd in processes.open_files(self._tree.pid) - self._at_start}
        # A descriptor released by a struck close is /dev/null now; the workload did not leak it.
        mine = [fd for fd in self._listener.released if links.get(fd) == os.devnull]
        return [link for fd, link in sorted(links.items()) if link and fd not in mine]
