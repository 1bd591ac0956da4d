"""Messages from the workload: its beginning, its promises, its result.

Promises and the end are operations without a system call. They are counted, recorded and struck like others,
so that a schedule can kill right after an acknowledgement.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from chaoskit.core.operation import Detail, Frame, Operation, PromiseDetail
from chaoskit.faults.calls import FAMILIES
from chaoskit.inject.kernel.border import Around, CannotExecute, Domain
from chaoskit.inject.kernel.files import execute
from chaoskit.inject.kernel.files.calls import FileCall
from chaoskit.inject.kernel.files.table import FileSpec
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.strike import PROMISE, Strikes
from chaoskit.inject.kernel.workload import child
from chaoskit.inject.kernel.workload.messages import Mailbox, Streams
from chaoskit.inject.kernel.workload.tree import Task
from chaoskit.inject.plain import Malformed

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep


class Promises:
    """Receives what is written to the control descriptor, and the lines that a command prints.

    ``reached`` is called when the point of a strike is reached here, since other calls matter from then on.
    """

    def __init__(
        self,
        around: Around,
        domains: Iterable[Domain[Any]],
        strikes: Strikes,
        streams: Streams,
        reached: Callable[[], None],
    ) -> None:
        self._tree = around.tree
        self._log = around.log
        self._domains = domains
        self._strikes = strikes
        self._streams = streams
        self._reached = reached
        self.mailbox = Mailbox()
        self.secret = b""
        """Precedes each message of this run, so that no other write is mistaken for one."""
        self._begun = False

    @property
    def by_writing(self) -> bool:
        """True if lines on standard output are promises."""
        return bool(self._streams.promise_link)

    def take(self, tid: int, args: tuple[int, ...], stopped: Stopped, holds_more: Callable[[], bool]) -> None:
        """Receive one message. A result is requested again while ``holds_more`` returns True."""
        if not args[2] and not self._begun:
            # The workload's first call, an empty message: operations are numbered from here on.
            self._begun = True
            stopped.answer(0)
            return
        task = self._tree.task(tid)
        secret = b"" if task is None else task.process.memory.read(args[1], child.SECRET)
        if task is None or secret != self.secret:
            # A stray write must fail as it would without us: there is no such descriptor.
            stopped.answer(-errno.EBADF)
            return
        if args[2] > self.mailbox.room:
            stopped.answer(-errno.EMSGSIZE)
            return
        # Read from its memory: the call itself is never carried out.
        data = task.process.memory.read(args[1] + child.SECRET, args[2] - child.SECRET)
        if len(data) != args[2] - child.SECRET:
            # An error is better than a promise that is lost unnoticed.
            stopped.answer(-errno.EIO)
            return
        done = partial(stopped.answer, args[2])
        if data[:1] != child.PROMISE and task.process is not self._tree.main:
            # Only the first process reports the result, not a forked child that returned from the workload.
            done()
            return
        try:
            family = self.mailbox.take(data)
        except Malformed:
            stopped.answer(-errno.EINVAL)
            return
        if not family:
            done()
        elif family != PROMISE and holds_more():
            # The workload collects garbage and reports once more.
            stopped.answer(child.HOLDS_MORE)
        elif self._occurred(family, task, stopped, done):
            done()

    def _occurred(self, family: str, task: Task, stopped: Stopped, go_on: Callable[[], object]) -> bool:
        """Count and record a promise or the end; False if ``go_on`` is called later or never."""
        if self._log.recording:
            for domain in self._domains:
                domain.settle()
            self._log.add(self._operation(family, task))
        armed = self._strikes.due(family, "", None, task)
        if armed is None:
            return True
        # Before the effect: it may be a kill, after which nothing more is read.
        self._strikes.reached += 1
        self._reached()
        operation = self._operation(family, task)
        try:
            effect = self._strikes.common(armed.shape, task)
            if effect is None:
                raise CannotExecute(f"{armed.strike.fault} cannot strike where there is no system call")
        except CannotExecute as why:
            self._strikes.not_injected(armed, why)
            return True
        return self._strikes.deliver(stopped, armed, operation, effect, go_on)

    def _operation(self, family: str, task: Task) -> Operation:
        return Operation(
            index=len(self._log.operations),
            call=family,
            target="",
            place=self._strikes.place(task),
            result=0,
            detail=PromiseDetail(self.mailbox.promised[-1]) if family == PROMISE else self._at_end(),
            stack=_outside(self._tree.stack(task)) if self._log.recording and family == PROMISE else (),
            pid=task.process.pid,
            tid=task.tid,
        )

    def _at_end(self) -> Detail:
        """What the workload left, from the first domain that knows something about it."""
        found = (domain.at_end() for domain in self._domains)
        return next((detail for detail in found if detail is not None), Detail())

    def written(self, task: Task, spec: Spec, args: tuple[int, ...], stopped: Stopped) -> bool:
        """Receive a write to the standard output of a command; False if it is another call.

        Each line that the write completes is a promise.
        """
        link = self._streams.promise_link
        # The link names the pipe, which recognizes duplicates of the descriptor too.
        if not link or spec.family != "write" or task.link(abi.signed(args[0])) != link:
            return False
        assert isinstance(spec, FileSpec)
        try:
            data = execute.data_of(FileCall(spec, FAMILIES[spec.family], task, args))
        except CannotExecute:
            return False
        lines = self._streams.lines(data)
        if not lines:
            return False
        self._promise_lines(stopped, task, deque(lines))
        return True

    def _promise_lines(self, stopped: Stopped, task: Task, lines: deque[str]) -> None:
        """Handle the promises in order, then let the write that made them go on."""
        while lines:
            self.mailbox.promised.append(lines.popleft())
            if not self._occurred(PROMISE, task, stopped, partial(self._promise_lines, stopped, task, lines)):
                return
        stopped.go_on()


def _outside(stack: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The stack without the leading frames of this package."""
    # The line that calls us makes the promise.
    for position, frame in enumerate(stack):
        if not frame.file.startswith(_PACKAGE):
            return stack[position:]
    return ()
