"""One run from the fork of the workload to its outcome."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

from chaoskit.core.errors import BackendUnavailable, UsageError
from chaoskit.core.operation import Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.inner import MemoryLimited
from chaoskit.faults.shapes import Afterwards, Shape, shape_of, unsupported
from chaoskit.inject import forking, plain, private, processes
from chaoskit.inject.base import (
    Check,
    Command,
    CommandFailed,
    Completed,
    Leaks,
    Plan,
    Ran,
    WorkloadError,
)
from chaoskit.inject.interpreter.watch import InnerWatch, watch
from chaoskit.inject.kernel import catcher, domains, inner, interest, probe
from chaoskit.inject.kernel.clock import ability
from chaoskit.inject.kernel.supervisor import CallSupervisor
from chaoskit.inject.kernel.workload import child, preconditions, stack, tree
from chaoskit.inject.kernel.workload.messages import Streams
from chaoskit.inject.kernel.workload.tree import Tree


class KernelBackend:
    """Watches and strikes system calls of the workload and of all its children."""

    name = "kernel"

    def unavailable(self) -> str | None:
        """Why this backend cannot work here, with what would help; None if it can."""
        checks = probe.probe(self.run, whole=False)
        missing = [check for check in checks if check.needed and not check.ok]
        return "; ".join(f"{one.name}: {one.detail}. {one.hint}".strip() for one in missing) or None

    def time_is_real(self) -> str | None:
        """Why the time of a workload cannot be virtual here; None if it can be."""
        return ability.unavailable()

    def clocks_cannot_be_set(self) -> str | None:
        """Why no clock can be struck; None if one can. It needs virtual time."""
        return self.time_is_real()

    def examine(self) -> tuple[Check, ...]:
        """Try everything that it needs of the machine; see :mod:`chaoskit.inject.kernel.probe`."""
        return probe.probe(self.run)

    def check(self, fault: Fault) -> None:
        """Refuse a fault that this backend cannot inject.

        Raises:
            ScheduleError: naming the fault, and the faults that exist.
        """
        self._check(fault, shape_of(fault))

    def _check(self, fault: Fault, shape: Shape) -> None:
        if isinstance(shape, Afterwards):
            raise unsupported(fault, self.name)

    def run(self, work: Callable[[], Any] | Command, plan: Plan) -> Ran:
        """Execute ``work`` in a forked child under supervision; see :class:`chaoskit.inject.base.Backend`.

        Raises:
            UsageError: inside another run; with other threads that may hold locks; with an open descriptor
            (in a recording: or mapping) below the root; for a result that cannot be sent. ScheduleError: for
            a fault that this backend does not know. BackendUnavailable: if the kernel refuses the filter.
        """
        for strike, shape in zip(plan.strikes, plan.shapes, strict=True):
            self._check(strike.fault, shape)
        # Before the fork: a problem here is wrong use, and must be an error of the test.
        inherited = preconditions.check(plan) - private.descriptors()
        promises = isinstance(work, Command) and work.promise_stdout
        program = domains.program(interest.at_any_time(plan, promises), plan.time is not None)
        # Import and compile everything that the child needs: after the fork it would cost every case.
        child.prepare(program)
        forking.prepare()
        if plan.record or (plan.time is not None and plan.time.operations):
            stack.calibrate()
        inside = None if isinstance(work, Command) else watch(plan)
        streams = Streams(promises)
        with processes.adopting(), processes.guarded() as guard, _ProcessFamily() as family:
            words = None
            if inside is not None:
                words = inside.words
                inherited |= inside.descriptors
                family.at_end(inside.close)
            # The collector may have closed some meanwhile, with what earlier tests left behind. A leak of the
            # workload under such a number would pass for inherited.
            inherited &= processes.open_files(os.getpid())
            ours = _fork(work, plan, program, streams, family, inside)
            # Made while the child prepares, on another processor.
            workload = Tree(family.pid, child.boundary(), plan.run, guard)
            family.at_end(workload.close)
            supervisor = CallSupervisor(workload, plan, streams, inherited | {ours.fileno()}, guard, words)
            supervisor.promises.secret = family.secret
            status = supervisor.serve(_take_over(ours, family, plan), family.before)
            crash = "" if inside is None else inside.crash()
            return _outcome(work, plan, supervisor, streams, status, crash)


class _ProcessFamily:
    """A block at whose end every process and open descriptor of the workload is gone."""

    def __init__(self) -> None:
        self.before = processes.children()
        self.pid = 0
        self.secret = os.urandom(child.SECRET)
        self._at_end: list[Callable[[], object]] = []

    def at_end(self, release: Callable[[], object]) -> None:
        """Call ``release`` at the end of the block, in reverse order."""
        self._at_end.append(release)

    def __enter__(self) -> _ProcessFamily:
        return self

    # A successful run has ended all its processes itself.
    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.pid:
            with _uninterrupted():
                tree.end_all(self.before, self.pid)
        while self._at_end:
            self._at_end.pop()()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C for a moment."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _fork(
    work: Callable[[], Any] | Command,
    plan: Plan,
    program: bytes,
    streams: Streams,
    family: _ProcessFamily,
    inside: InnerWatch | None,
) -> socket.socket:
    """Fork the workload, note its process, and return our end of the hand-over socket.

    An interrupt between the fork and the note of its process id would leave a process behind.
    """
    # A socket, since only a socket can carry the descriptor of the listener.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    family.at_end(ours.close)
    standard = _standard_streams(work, streams, family)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            # Buffered data would be written twice: by us and by the child.
            stream.flush()
    parent = os.getpid()
    with _uninterrupted():
        family.pid = pid = forking.fork()
    if pid == 0:
        _in_child(work, theirs, plan, program, parent, standard, family.secret, inside)
    theirs.close()
    return ours


def _in_child(
    work: Callable[[], Any] | Command,
    control: socket.socket,
    plan: Plan,
    program: bytes,
    parent: int,
    standard: tuple[int, int, int] | None,
    secret: bytes,
    inside: InnerWatch | None,
) -> NoReturn:
    catcher.leave()
    private.let_go()
    for number, fd in enumerate(standard or ()):
        os.dup2(fd, number)
    limited = any(isinstance(shape, MemoryLimited) for shape in plan.shapes)
    child.enter(work, control, plan.record, program, parent, secret, inside, plan.handlers, limited=limited)


def _standard_streams(
    work: Callable[[], Any] | Command, streams: Streams, family: _ProcessFamily
) -> tuple[int, int, int] | None:
    """The three standard streams of a command; our copies are closed once it has them."""
    if not isinstance(work, Command):
        return None
    stdin = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the others, when the run is over
    family.at_end(stdin.close)
    stdin.write(work.stdin)
    stdin.seek(0)
    stdout, stderr = streams.open()
    family.at_end(partial(os.close, stdout))
    family.at_end(partial(os.close, stderr))
    return stdin.fileno(), stdout, stderr


def _take_over(ours: socket.socket, family: _ProcessFamily, plan: Plan) -> int:
    """Receive the listener from the child."""
    # A function registered with os.register_at_fork may hang in the child.
    ours.settimeout(plan.timeout)
    try:
        message, ancillary, _, _ = ours.recvmsg(64, socket.CMSG_SPACE(child.DESCRIPTOR.size))
    except TimeoutError:
        raise UsageError(
            f"the workload's process did not begin within {plan.timeout} s of its fork; expected nothing to "
            "stop it. A function registered with os.register_at_fork() may wait for a lock that is held."
        ) from None
    if message == child.READY and ancillary:
        (listener,) = child.DESCRIPTOR.unpack(ancillary[0][2])
        # Received descriptors are inheritable: a later workload would hold the listener open.
        os.set_inheritable(listener, False)
        family.at_end(partial(os.close, listener))
        _use_all_descriptors(family)
        return int(listener)
    # It has ended, or is about to: collect it.
    os.waitpid(family.pid, 0)
    reason = os.strerror(int(message[1:])) if message.startswith(child.FAILED) else "it ended at once"
    raise BackendUnavailable(
        f"the workload's process could not install the seccomp filter ({reason}). "
        "'chaoskit doctor' says more."
    )


def _use_all_descriptors(family: _ProcessFamily) -> None:
    """Raise the limit of descriptors to the hard limit: each process of the workload takes three of ours."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        family.at_end(partial(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard)))


def _outcome(
    work: Callable[[], Any] | Command,
    plan: Plan,
    supervisor: CallSupervisor,
    streams: Streams,
    status: int,
    crash: str,
) -> Ran:
    ending, mailbox = supervisor.ending, supervisor.promises.mailbox
    for line in mailbox.imports:
        text = f"{line} in each case, since each is a new process; import it at the top of the test's module"
        supervisor.log.caveat("import", line.rpartition(":")[0], text)
    caveats = (*supervisor.log.caveats.values(), *inner.caveats(supervisor.words))
    fields: dict[str, Any] = {
        "trace": Trace(supervisor.trace(), caveats, plan.root) if plan.record else Trace(root=plan.root),
        "receipts": (*supervisor.strikes.receipts, *inner.receipts(plan, supervisor.words)),
        "reached": supervisor.strikes.reached,
        "nearest": inner.nearest(plan, supervisor.words),
        "promised": tuple(mailbox.promised),
        "caveats": caveats,
        "stray_interrupts": supervisor.withdrawn,
        "skipped": 0 if supervisor.clockwork is None else supervisor.clockwork.dial.skipped,
        "requests": tuple(supervisor.requests),
        "unsynced": frozenset(supervisor.unsynced),
        "leaks": Leaks(
            tuple(_below(plan.root, link) for link in supervisor.descriptors),
            tuple(mailbox.threads),
            tuple(ending.left_over),
            tuple(text.replace(plan.root + os.sep, "") for text in mailbox.unclosed),
            tuple(text.replace(plan.root + os.sep, "") for text in mailbox.forgotten),
        ),
    }
    if ending.timed_out:
        return Ran(ok=False, timed_out=True, stuck=ending.stuck, stacks=ending.stacks, **fields)
    if os.WIFSIGNALED(status):
        return Ran(ok=False, signal=os.WTERMSIG(status), stacks=crash, **fields)
    # A command that could not be started has sent an error, like a function.
    if isinstance(work, Command) and not mailbox.kind:
        return _completed(work, streams, os.waitstatus_to_exitcode(status), fields)
    return _returned(mailbox.kind, mailbox.parts, status, fields)


def _completed(work: Command, streams: Streams, code: int, fields: dict[str, Any]) -> Ran:
    done = Completed(work.argv, code, streams.output("stdout"), streams.output("stderr"))
    if code == 0:
        return Ran(ok=True, value=done, **fields)
    return Ran(ok=False, value=done, error=CommandFailed(done), **fields)


def _returned(kind: bytes, parts: list[Any], status: int, fields: dict[str, Any]) -> Ran:
    if kind == child.RESULT:
        return Ran(ok=True, value=_value(parts[0]), **fields)
    if kind == child.UNSENDABLE:
        raise UsageError(
            f"the workload returned a value that cannot leave its process ({parts[0]}); expected plain data, "
            "a dataclass or an exception: its process is not trusted with more. Return plain data, or "
            "nothing."
        )
    if kind == child.ERROR:
        # Name and message separately, for an error whose class cannot be found here.
        itself, name, message, text = parts
        return Ran(ok=False, error=_error(itself, str(name), str(message)), traceback=str(text), **fields)
    code = os.waitstatus_to_exitcode(status)
    message = (
        f"the workload's process ended with status {code} before its function returned; expected it to "
        "return or to raise. For a program that ends its own process: chaos.run_command."
    )
    return Ran(ok=False, error=WorkloadError("", message), **fields)


def _value(part: Any) -> Any:
    try:
        return plain.read(part)
    except plain.Malformed as error:
        raise UsageError(
            f"the workload returned a value that cannot be made again in the test process ({error}); "
            "expected plain data, or objects of classes that are imported here too."
        ) from error


def _error(part: Any, name: str, message: str) -> BaseException:
    """The workload's own error; a stand-in if it cannot be built in this process."""
    try:
        error = plain.read(part)
    except plain.Malformed:
        error = None
    return error if isinstance(error, BaseException) else WorkloadError(name, message)


def _below(root: str, link: str) -> str:
    # Relative if possible: the directory of a case has a random name.
    return link[len(root) + 1 :] if link.startswith(root + "/") else link
