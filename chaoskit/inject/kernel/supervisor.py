"""The loop that answers the kernel for one run, until every process of the workload is gone."""

from __future__ import annotations

import errno
import fcntl
import heapq
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from chaoskit.core.operation import Detail, Frame, Operation, Place, Receipt
from chaoskit.inject import processes
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import interest
from chaoskit.inject.kernel.counting import Counting
from chaoskit.inject.kernel.files import execute
from chaoskit.inject.kernel.files.calls import Call, Decoder
from chaoskit.inject.kernel.files.execute import CannotExecute
from chaoskit.inject.kernel.files.record import Recorder, before
from chaoskit.inject.kernel.files.standing import Standing
from chaoskit.inject.kernel.seccomp import abi, bpf, syscalls
from chaoskit.inject.kernel.strike import PROMISE, Armed, Effect, Striker, receipt
from chaoskit.inject.kernel.workload import child, tree
from chaoskit.inject.kernel.workload.memory import Unreadable
from chaoskit.inject.kernel.workload.messages import Mailbox, Streams
from chaoskit.inject.kernel.workload.tree import Task, Tree

GRACE = 0.25
"""Seconds that processes have to end after the workload's own has; then they count as left over."""
_AT_ONCE = 256
"""Calls that are counted before the clock is looked at again."""
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep


class Supervisor:
    """Supervises one run; :meth:`serve` returns when it is over."""

    def __init__(
        self,
        workload: Tree,
        plan: Plan,
        streams: Streams,
        inherited: frozenset[int],
    ) -> None:
        self._listener = -1
        self._before: set[int] = set()
        self._tree = workload
        self._plan = plan
        self._streams = streams
        self._decoder = Decoder(plan.root)
        self.mailbox = Mailbox()
        self.recorder = Recorder(workload, stacks=plan.record)
        self.receipts: list[Receipt] = []
        self.released: set[int] = set()
        self.reached = 0
        self._received = 0
        self._first = self._last = 0
        self.timed_out = False
        self.stacks = ""
        self.left_over: list[str] = []
        self.descriptors: list[str] = []
        self._asked_again = False
        self._at_start = inherited
        self._armed = [Armed(strike) for strike in plan.strikes]
        self._standing: list[Standing] = []
        self._unproven: list[tuple[Standing, Receipt]] = []
        self._striker = Striker(self._bare_operation, self._signal_main)
        self._specs, self._watched, self._arch = _tables()
        self._held: list[tuple[float, int, Callable[[], object]]] = []
        self._poll = select.poll()
        self._pidfds: dict[int, int] = {}
        self._dying = False
        self._interest: frozenset[str] | None = None
        self._counting: Counting | None = None
        self._called: list[tuple[int, int]] = []
        # Buffers that can be written: for others Python's ioctl raises and catches an error each time.
        self._call = bytearray(abi.NOTIF.size)
        self._reply = bytearray(abi.ANSWER.size)
        self._look_again()

    # The loop.

    def serve(self, listener: int, before_fork: set[int]) -> int:
        """Answer until the tree is gone; return the wait status of the workload's own process."""
        self._listener = listener
        self._before = before_fork
        self._called = [(listener, select.POLLIN)]
        self._poll.register(listener, select.POLLIN)
        _wake_synchronously(self._listener)
        for fd in self._streams.readable():
            self._poll.register(fd, select.POLLIN)
        deadline = time.monotonic() + self._plan.timeout
        try:
            while self._tree.pid in self._tree.processes:
                self._turn(deadline)
                if time.monotonic() >= deadline and not self._dying:
                    self._give_up()
            _, status = os.waitpid(self._tree.pid, 0)
            self._wind_up()
            return status
        finally:
            self._streams.drain_all()
            self.recorder.unseen.close()

    def _turn(self, deadline: float) -> None:
        """Wait for something to happen, and handle it."""
        if self._tree.arrivals:
            self._watch_arrivals()
        now = time.monotonic()
        until = min(deadline, self._held[0][0]) if self._held else deadline
        for fd, event in self._poll.poll(max(0.0, until - now) * 1000 + 1):
            if fd == self._listener:
                self._listen(event)
            elif fd in self._pidfds:
                self._ended(fd)
            elif not self._streams.drain(fd):
                self._poll.unregister(fd)
        while self._held and self._held[0][0] <= time.monotonic():
            _, _, go_on = heapq.heappop(self._held)
            go_on()

    def _listen(self, event: int) -> None:
        if event & select.POLLIN:
            self._receive()
        elif event & (select.POLLHUP | select.POLLERR):
            self._poll.unregister(self._listener)

    @property
    def withdrawn(self) -> int:
        """Calls that were gone before they were received: their thread died, or a signal interrupted it.

        The kernel numbers notifications one by one, so those are the numbers that never came. A waiting
        call is not interrupted once it was received (``SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV``).
        """
        return self._last - self._first + 1 - self._received if self._received else 0

    def _watch_arrivals(self) -> None:
        while self._tree.arrivals:
            process = self._tree.arrivals.pop()
            self._pidfds[process.pidfd] = process.pid
            self._poll.register(process.pidfd, select.POLLIN)

    def _ended(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        self._tree.forget(self._pidfds.pop(pidfd))

    def _receive(self) -> None:
        """Receive a call and see to it; calls that only count are received one after the other."""
        counting, poll, called, call = self._counting, self._poll.poll, self._called, self._call
        for _ in range(1 if self._held else _AT_ONCE):
            call[:] = abi.NO_NOTIF
            try:
                fcntl.ioctl(self._listener, abi.IOCTL_RECV, call)
            except OSError:
                return  # The call was withdrawn before it was received.
            if self._dying:
                return
            ident, tid, _, number, arch, _, *args = abi.NOTIF.unpack(call)
            self._first = self._first or ident
            self._last = ident
            self._received += 1
            if counting is None or not counting.goes_by(tid, number, arch, args[0]):
                self._see_to(ident, tid, number, arch, tuple(args))
                return
            # Whatever else there is, is found by whoever polls next.
            if not self._continue(ident) or poll(1) != called:
                return

    def _see_to(self, ident: int, tid: int, number: int, arch: int, args: tuple[int, ...]) -> None:
        try:
            self._dispatch(ident, tid, number, arch, args)
        except Unreadable as why:
            if self._continue(ident):
                self.recorder.caveat(
                    "unreadable", tree.comm(tid), f"calls of {tree.comm(tid)} were not seen: {why}"
                )

    def _dispatch(self, ident: int, tid: int, number: int, arch: int, args: tuple[int, ...]) -> None:
        spec = self._specs.get(number) if arch == self._arch else None
        if spec is None:
            self._watched_call(ident, tid, number, arch, args)
        elif spec.family == "write" and args[0] == bpf.CONTROL:
            self._message(ident, tid, args)
        elif self._interest is None or spec.family in self._interest:
            self._file_call(ident, tid, spec, args)
        else:
            self._continue(ident)

    # Answers.

    def _continue(self, ident: int) -> bool:
        """Let the kernel carry the call out; whether there was still a thread to do it."""
        return self._send(ident, 0, 0, abi.FLAG_CONTINUE)

    def _answer(self, ident: int, result: int) -> bool:
        """Answer with a result or minus the errno; whether the thread got it."""
        return self._send(ident, max(result, 0), min(result, 0), 0)

    def _send(self, ident: int, value: int, error: int, flags: int) -> bool:
        abi.ANSWER.pack_into(self._reply, 0, ident, value, error, flags)
        while True:
            try:
                fcntl.ioctl(self._listener, abi.IOCTL_SEND, self._reply)
            except InterruptedError:  # By a signal to this process; Python does not repeat an ioctl.
                continue
            except OSError:
                return False
            return True

    def _add_descriptor(self, ident: int, mine: int, cloexec: bool) -> int:
        """Give the thread a copy of descriptor ``mine`` as the result of its call."""
        flags = abi.ADDFD_FLAG_SEND
        request = bytearray(abi.ADDFD.pack(ident, flags, mine, 0, os.O_CLOEXEC if cloexec else 0))
        try:
            return int(fcntl.ioctl(self._listener, abi.IOCTL_ADDFD, request, True))
        except OSError as error:
            result = -(error.errno or 0)
            self._answer(ident, result)
            return result

    def _release(self, ident: int, fd: int) -> bool:
        """Put ``/dev/null`` in the place of a descriptor, so that its file and locks are let go."""
        with open(os.devnull, "rb") as null:
            request = abi.ADDFD.pack(ident, abi.ADDFD_FLAG_SETFD, null.fileno(), fd, os.O_CLOEXEC)
            try:
                fcntl.ioctl(self._listener, abi.IOCTL_ADDFD, request)
            except OSError:
                return False
        self.released.add(fd)
        return True

    # Calls.

    def _look_again(self) -> None:
        """Work out which calls matter now: at the start, and whenever something has struck."""
        pending = self._armed[self.reached :]
        promises = bool(self._streams.promise_link)
        strikes = [one.strike for one in pending]
        self._interest = interest.from_now_on(self._plan, strikes, self._standing, promises)
        only = self._interest is not None and not self._standing and len(pending) == 1 and not promises
        self._counting = Counting.of(pending[0], self._plan.root, self._tree.main) if only else None

    def _file_call(self, ident: int, tid: int, spec: syscalls.Spec, args: tuple[int, ...]) -> None:
        task = self._tree.task(tid)
        call = None if task is None else self._decoder.decode(spec, task, args)
        if call is None or task is None:
            if not (
                task is not None and spec.family == "write" and self._stream_write(ident, task, spec, args)
            ):
                self._continue(ident)
            return
        if self._interest is None:
            self._place(task)  # Numbers are given in the order of first operations, struck or not.
        armed = self._due(call.family, call.target, call.second, task)
        if armed is not None and self._strike(ident, armed, call):
            return
        for condition in self._standing:
            answer, _ = condition.answer(call, self._bare_operation)
            if answer is not None:
                self._prove(condition)
                self._refuse(ident, call, answer)
                return
        self._go_on(ident, call)

    def _go_on(self, ident: int, call: Call) -> None:
        """The call goes its ordinary way."""
        if self._plan.record:
            self._record(ident, call)
        else:
            self._continue(ident)

    def _prove(self, condition: Standing) -> None:
        """A lasting condition has been met with: if nothing had failed of it so far, now it has struck."""
        self.receipts += [proof for standing, proof in self._unproven if standing is condition]
        self._unproven = [one for one in self._unproven if one[0] is not condition]

    def _refuse(self, ident: int, call: Call, answer: int) -> None:
        """Answer under a lasting condition; in a recording the call is part of the trace."""
        if self._plan.record:
            self.recorder.struck(call, self._full_operation(call), answer)
        if call.family == "close" and call.fd is not None:
            self._release(ident, call.fd)
        self._answer(ident, answer)

    def _due(self, family: str, target: str, second: str | None, task: Task) -> Armed | None:
        """Count the call for every pending strike; return the first if it is due."""
        due = None
        place: Place | None = None
        for position, armed in enumerate(self._armed[self.reached :]):
            if armed.family != family:
                continue
            if place is None:
                place = self._place(task)
            if place == armed.place and armed.due(target, second) and position == 0:
                due = armed
        return due

    def _place(self, task: Task) -> Place:
        if task.tid == self._tree.pid:
            return Place(self._plan.run)
        return self._tree.place(task)

    def _strike(self, ident: int, armed: Armed, call: Call) -> bool:
        """Let the fault happen; False if the call must go its ordinary way after all."""
        self.reached += 1
        self._look_again()
        operation = self._full_operation(call)
        try:
            effect = self._striker.effect(armed.shape, call)
        except CannotExecute as why:
            self._not_injected(armed, why)
            return False
        if effect.standing is not None:
            self._standing.append(effect.standing)
            self._look_again()
        if effect.release and not self._release(ident, call.fd or 0):
            self._not_injected(armed, CannotExecute("its descriptor could not be released"))
            return False
        if self._plan.record and (effect.answer is not None or effect.kill):
            self.recorder.struck(call, operation, effect.answer)
        go_on = partial(self._go_on, ident, call)
        if self._deliver(ident, armed, operation, effect, go_on):
            go_on()
        return True

    def _not_injected(self, armed: Armed, why: CannotExecute) -> None:
        self.recorder.caveat("not-injected", armed.text, f"{armed.text} could not be injected: {why}")

    def _deliver(
        self, ident: int, armed: Armed, operation: Operation, effect: Effect, go_on: Callable[[], object]
    ) -> bool:
        """Make the effect happen; True if the call has to go on now."""
        if effect.kill:
            self._kill_struck(armed, operation, effect)
            return False
        if effect.answer is not None and not self._answer(ident, effect.answer):
            return False
        proof = receipt(armed, operation, effect, effect.answer)
        if effect.standing is not None and effect.answer is None:
            self._unproven.append((effect.standing, proof))  # Nearly full, and nobody has noticed.
        else:
            self.receipts.append(proof)
        if effect.delay:
            heapq.heappush(self._held, (time.monotonic() + effect.delay, ident, go_on))
            return False
        # Who dies of a signal dies here, before the call: answered, it might still make it or not.
        return effect.answer is None and not (effect.fatal and operation.pid == self._tree.pid)

    def _kill_struck(self, armed: Armed, operation: Operation, effect: Effect) -> None:
        if effect.kill == "one" and operation.pid != self._tree.pid:
            process = self._tree.processes.get(operation.pid)
            struck = process is not None and process.kill(signal.SIGKILL)
        else:
            self._dying = True
            struck = self._kill_all() > 0
        if struck:
            self.receipts.append(receipt(armed, operation, effect, None))

    def _record(self, ident: int, call: Call) -> None:
        if call.family == "open":
            self._record_open(ident, call)
            return
        result = self.recorder.observe(call, execute.perform)
        if result is None:
            self._continue(ident)
        else:
            self._answer(ident, result)

    def _record_open(self, ident: int, call: Call) -> None:
        """An open is made here, and its descriptor handed over as the answer."""
        answered = False

        def make(one: Call) -> int:
            nonlocal answered
            mine = execute.perform_open(one)
            if mine < 0:
                return mine
            one.extra["opened"] = mine
            answered = True
            return self._add_descriptor(ident, mine, bool(one.flags & os.O_CLOEXEC))

        try:
            result = self.recorder.observe(call, make)
        finally:
            if "opened" in call.extra:
                os.close(call.extra["opened"])
        if answered:
            return
        if result is None:
            self._continue(ident)
        else:
            self._answer(ident, result)

    def _full_operation(self, call: Call) -> Operation:
        return self.recorder.operation(call, None, before(call))

    def _bare_operation(self, call: Call) -> Operation:
        """What a lasting condition needs to know of a call: no stack."""
        return Operation(
            0, call.family, call.target, call.second, syscall=call.spec.name, detail=before(call)
        )

    # What is no call on a file.

    def _message(self, ident: int, tid: int, args: tuple[int, ...]) -> None:
        """The workload writes to its control descriptor: that it begins, a promise, or what came of it."""
        if not args[2]:
            self._answer(ident, 0)
            return
        task = self._tree.task(tid)
        data = b"" if task is None else task.process.memory.read(args[1], args[2])
        if task is None or len(data) != args[2]:
            self._answer(ident, -errno.EIO)
            return
        done = partial(self._answer, ident, len(data))
        if data[:1] != child.PROMISE and task.process is not self._tree.main:
            done()  # A forked child that returned from the workload: the result is its parent's to give.
            return
        family = self.mailbox.take(data)
        if family != PROMISE and self._must_ask_again():
            self._answer(ident, child.HOLDS_MORE)
        elif self._pseudo(family, task, ident, done):
            done()

    def _must_ask_again(self) -> bool:
        self.descriptors = self._extra_descriptors()
        again = bool(self.descriptors) and not self._asked_again
        self._asked_again |= again
        return again

    def _extra_descriptors(self) -> list[str]:
        """What the workload's own process has open beyond what it started with."""
        task = self._tree.task(self._tree.pid)
        if task is None:
            return []
        links = {fd: task.link(fd) for fd in processes.open_files(self._tree.pid) - self._at_start}
        mine = [fd for fd in self.released if links.get(fd) == os.devnull]
        return [link for fd, link in sorted(links.items()) if link and fd not in mine]

    def _pseudo(self, family: str, task: Task, ident: int, go_on: Callable[[], object]) -> bool:
        """Count and record a promise or the end; False if ``go_on`` comes later or never."""
        value = self.mailbox.promised[-1] if family == PROMISE else None
        if self._plan.record:
            self.recorder.settle()
            self.recorder.operations.append(self._pseudo_operation(family, task, value))
        armed = self._due(family, "", None, task)
        if armed is None:
            return True
        self.reached += 1
        self._look_again()
        operation = self._pseudo_operation(family, task, value)
        try:
            effect = self._striker.effect(armed.shape, None)
        except CannotExecute as why:
            self._not_injected(armed, why)
            return True
        return self._deliver(ident, armed, operation, effect, go_on)

    def _pseudo_operation(self, family: str, task: Task, value: Any) -> Operation:
        return Operation(
            index=len(self.recorder.operations),
            call=family,
            target="",
            place=self._place(task),
            result=0,
            detail=Detail(value=value, seen=self.recorder.unseen.all() if family == "end" else ()),
            stack=_outside(self._tree.stack(task)) if self._plan.record and family == PROMISE else (),
            pid=task.process.pid,
            tid=task.tid,
        )

    def _stream_write(self, ident: int, task: Task, spec: syscalls.Spec, args: tuple[int, ...]) -> bool:
        """A write to the standard output of a command: each complete line is a promise."""
        link = self._streams.promise_link
        if not link or task.link(abi.signed(args[0])) != link:
            return False
        call = Call(spec, "write", task, args)
        try:
            data = execute.data_of(call)
        except CannotExecute:
            return False
        lines = self._streams.lines(data)
        if not lines:
            return False
        self._promise_lines(ident, task, deque(lines))
        return True

    def _promise_lines(self, ident: int, task: Task, lines: deque[str]) -> None:
        """Take promises one after the other, then let the write that made them happen."""
        while lines:
            self.mailbox.promised.append(lines.popleft())
            if not self._pseudo(PROMISE, task, ident, partial(self._promise_lines, ident, task, lines)):
                return
        self._continue(ident)

    def _watched_call(self, ident: int, tid: int, number: int, arch: int, args: tuple[int, ...]) -> None:
        """Calls that change what can be seen: note them; refuse those that would go unseen."""
        name = self._watched.get(number)
        if name == "setsid" and arch == self._arch:
            self._tree.leads(int(tree.status(tid).get("Tgid", b"0")))
            self._continue(ident)
            return
        task = self._tree.task(tid)
        who = tree.comm(tid)
        if arch != self._arch or name is None:
            self.recorder.caveat("foreign-architecture", who, "a call for another architecture was refused")
            self._answer(ident, -errno.ENOSYS)
        elif name in syscalls.UNKNOWN_TO_US:
            self.recorder.caveat("refused", who, f"{name} was refused (ENOSYS): it is not followed yet")
            self._answer(ident, -errno.ENOSYS)
        elif name in syscalls.ELSEWHERE:
            self.recorder.caveat(
                "elsewhere", who, f"{name} was used: names mean other files there, and are not followed"
            )
            self._continue(ident)
        elif name == "mprotect":
            target = None if task is None else self._decoder.becomes_writable(task, args[0])
            if target is not None:
                self.recorder.shared_mapping(target)
                if self._plan.record:
                    self.recorder.watch(target, os.path.join(self._plan.root, target))
            self._continue(ident)
        elif name == "open_by_handle_at":
            self.recorder.caveat("by-handle", who, "files were opened by handle: this is not seen")
            self._continue(ident)
        elif name == "io_uring_setup":
            self.recorder.caveat(
                "io_uring", who, "io_uring was refused (ENOSYS): its operations are not seen"
            )
            self._answer(ident, -errno.ENOSYS)
        elif name == "io_submit":
            self.recorder.caveat("aio", who, "asynchronous I/O (io_submit) was used: it is not seen")
            self._continue(ident)
        elif name in ("seccomp", "prctl"):
            self._own_filter(ident, name, args, who)
        else:
            if task is not None:
                self._tree.replacing(task)
            self._continue(ident)

    def _own_filter(self, ident: int, name: str, args: tuple[int, ...], who: str) -> None:
        if name == "prctl" or args[0] == abi.SECCOMP_SET_MODE_FILTER or args[0] == 0:
            self.recorder.caveat(
                "own-filter",
                who,
                "the workload installed a seccomp filter: calls that it decides are not seen",
            )
        self._continue(ident)

    # The end.

    def _signal_main(self, number: int) -> bool:
        """Send a signal to the workload's own process; whether it dies of it.

        Raises:
            CannotExecute: if it has ended already: its descriptor may stand for another process by now.
        """
        main = self._tree.main
        fatal = tree.is_fatal(self._tree.pid, number)
        if self._tree.processes.get(self._tree.pid) is not main or not main.kill(number):
            raise CannotExecute("the workload's own process has ended already")
        return fatal

    def _give_up(self) -> None:
        self.timed_out = True
        for pid in (*self._orphans(), self._tree.pid):
            self._tree.meet(pid)
        waiting = self._tree.waiting()
        for process in list(self._tree.processes.values()):
            process.kill(signal.SIGSTOP)
        self.stacks = self._tree.stacks(waiting)
        self._dying = True
        self._kill_all()

    def _kill_all(self) -> int:
        """SIGKILL every process of the workload, met or not; return how many of those met were alive."""
        alive = [pid for pid, one in list(self._tree.processes.items()) if one.kill(signal.SIGSTOP)]
        processes.kill_tree(*alive, *self._orphans())
        return len(alive)

    def _orphans(self) -> list[int]:
        """The workload's processes whose parent has died; who is below one of them has not."""
        return [pid for pid in tree.offspring(self._before, self._tree.pid) if pid != self._tree.pid]

    def _wind_up(self) -> None:
        """After the workload's own process: wait for the others, then end and name what is left."""
        if not self._tree.processes and not self._orphans():
            return  # Whoever still descends from the workload has come to us, or has an ancestor that has.
        deadline = time.monotonic() + (0.0 if self._dying else GRACE)
        while self._others() and time.monotonic() < deadline:
            self._turn(min(deadline, time.monotonic() + 0.01))
        if not self._dying and self._others():
            for pid in self._orphans():
                self._tree.meet(pid)
            self._turn(time.monotonic())  # Forgets those that have ended.
        if not self._dying:
            self.left_over = [_name(pid) for pid in self._others()]
        self._dying = True
        self._reap_all()

    def _others(self) -> list[int]:
        """Processes of the tree that still run; those that have ended are collected."""
        return [pid for pid in {*self._orphans(), *self._tree.processes} if not _collect(pid)]

    def _reap_all(self) -> None:
        """Kill and collect what is left, known to us or not."""
        self._kill_all()
        tree.end_all(self._before, self._tree.pid)
        for pid, process in list(self._tree.processes.items()):
            if process.pidfd in self._pidfds:
                self._ended(process.pidfd)
            else:
                self._tree.forget(pid)


@cache
def _tables() -> tuple[dict[int, syscalls.Spec], dict[int, str], int]:
    """The calls of this machine that can be struck, those that are only watched, and its architecture."""
    machine = abi.machine()
    return syscalls.by_number(machine), syscalls.watched(machine), abi.AUDIT_ARCH[machine]


def _wake_synchronously(listener: int) -> None:
    """Ask for the cheap hand-over: who is woken runs on the processor of who waits (Linux 6.6)."""
    try:
        fcntl.ioctl(listener, abi.IOCTL_SET_FLAGS, abi.FD_SYNC_WAKE_UP)
    except OSError:
        pass  # An older kernel; it works all the same.


def _outside(stack: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """A stack without the frames of this package that it starts with."""
    for position, frame in enumerate(stack):
        if not frame.file.startswith(_PACKAGE):
            return stack[position:]
    return ()


def _collect(pid: int) -> bool:
    """Whether a process is gone; collects it if it was ours and has ended."""
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return not os.path.exists(f"/proc/{pid}")
    return done == pid


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(4096).replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        command = "?"
    return f"process {pid}: {command[:200]}"
