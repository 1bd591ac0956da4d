"""What each shape of fault does to a call of Python code."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from chaoskit.core.operation import Operation
from chaoskit.faults import timing, traffic
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.shapes import (
    Damaged,
    Delayed,
    Errno,
    Filled,
    Killed,
    LostReply,
    Shape,
    Shortened,
    Signalled,
    Torn,
)
from chaoskit.inject.inprocess import answers
from chaoskit.inject.inprocess.call import CannotStrike, PythonCall
from chaoskit.inject.inprocess.lasting import FillingDisk, LastingCondition, LastingError
from chaoskit.inject.inprocess.machine import HostMachine

BY_HAND = (
    *(Errno, LostReply, Shortened, Filled, Killed, Torn, Signalled, Delayed, Damaged),
    *(timing.Stepped, timing.Set, timing.Frozen),
    *(traffic.Unsent, traffic.Cut, traffic.Answered, traffic.Twice, traffic.KilledAt, traffic.Spoilt),
    *(traffic.Sliced, traffic.Corrupted, traffic.Partitioned, traffic.AwsError),
    *(traffic.Unanswered, traffic.Unresolved),
)
"""The shapes that can strike calls on files, clock reads, names, connections and messages."""
HANDLED = (*BY_HAND, timing.Suspended)
"""These, and the shape for sleeps, which are operations only in scenarios."""

_KILL = int(getattr(signal, "SIGKILL", 9))
"""Windows has no such signal; a death by it is reported under the usual number."""
_IGNORED = frozenset(
    int(getattr(signal, name))
    for name in ("SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGSTOP")
    if hasattr(signal, name)
)
"""Signals that do not end a process without a handler (signal(7), "Standard signals")."""


def fits(shape: Shape, family: str) -> bool:
    """True if an operation of ``family`` can meet the fault at all."""
    row = FAMILIES[family]
    if isinstance(shape, timing.OfTime):
        return family in ("clock", "sleep")
    if isinstance(shape, traffic.Traffic):
        return row.remote
    return row.opens or not isinstance(shape, Damaged)


Receive = Callable[[str, "int | None"], None]
"""Takes the proof: what was done, and the result that the call returned."""
Answered = tuple[bool, Any]


class Struck(Protocol):
    """What a strike may do to a run."""

    lasting: list[LastingCondition]
    machine: HostMachine
    clock_offset: int
    frozen_at: int | None
    move_clock: Callable[[int], object]
    read_clock: Callable[[], int]

    def die(self, signal: int) -> None: ...

    def hang(self) -> None: ...


def strike(run: Struck, shape: Shape, call: PythonCall, operation: Operation, receipt: Any) -> Answered:
    """Inject the fault; return True and a result if the call is answered, False if it must still be made.

    Raises:
        CannotStrike: if it cannot be done to this call.
        OSError: the answer.
        ProcessKilled: if it kills.
    """
    match shape:
        case Errno():
            return _failing(run, shape, call, receipt)
        case LostReply(name, number):
            _lost(run, call)
            receipt(f"took effect, raised {name}", -number)
            raise call.error(number, os.strerror(number))
        case Shortened(length):
            return True, _short(length, call, receipt)
        case Damaged(label):
            return _damaged(run, label, call, receipt)
        case Filled(left):
            return _full(run, left, call, operation, receipt)
        case Killed():
            receipt("the workload counts as killed", None)
            run.die(_KILL)
        case Torn(length):
            if call.part is None:
                raise CannotStrike(f"{call.name} transfers no data")
            done = call.result(call.part(length))
            receipt(f"{done} of {call.length} bytes written, then the workload counts as killed", None)
            run.die(_KILL)
        case Signalled(name, number):
            _send(run, name, number, receipt)
            return False, None
        case Delayed(seconds, text):
            time.sleep(seconds)
            receipt(f"{text} s later", None)
            return False, None
    if call.family == "clock":
        return _set_clock(run, shape, receipt)
    if call.family == "sleep":
        return _suspend(run, shape, receipt)
    if call.family == "http":
        return _on_the_way(run, shape, call, receipt)
    if call.family in ("dns", "connect"):
        return _not_reached(run, shape, call, receipt)
    raise CannotStrike(f"{call.name} knows no such fault")


def _set_clock(run: Struck, shape: Shape, receipt: Any) -> Answered:
    match shape:
        case timing.Stepped(nanoseconds):
            run.move_clock(nanoseconds)
            receipt(f"the wall clock was moved by {nanoseconds / 1e9:g} s", None)
        case timing.Set(nanoseconds):
            run.move_clock(nanoseconds - run.read_clock())
            receipt("the wall clock was set", None)
        case timing.Frozen():
            run.frozen_at = run.read_clock() - run.clock_offset
            receipt("the wall clock stands still", None)
        case _:
            raise CannotStrike("a read of the clock knows no such fault")
    return False, None


def _suspend(run: Struck, shape: Shape, receipt: Any) -> Answered:
    match shape:
        case timing.Suspended(seconds):
            run.move_clock(int(seconds * 10**9))
            receipt(f"machine suspended for {seconds:g} s", None)
        case timing.Stepped(nanoseconds):
            run.move_clock(nanoseconds)
            receipt(f"the wall clock was moved by {nanoseconds / 1e9:g} s", None)
        case _:
            raise CannotStrike("a sleep knows no such fault")
    return False, None


def _not_reached(run: Struck, shape: Shape, call: PythonCall, receipt: Any) -> Answered:
    match shape:
        case traffic.Unresolved(how=how, lasting=False) if call.family == "dns" and how in answers.NAMES:
            number, text = answers.NAMES[how]
            receipt(f"the name server answered {how}", None)
            raise socket.gaierror(number, text)
        case traffic.Unanswered(lasting=False) if call.family == "dns":
            receipt("no answer", None)
            raise socket.gaierror(*answers.NAMES["SERVFAIL"])
        case traffic.Unanswered(lasting=False):
            receipt("no answer", None)
            # A non-blocking socket goes on and learns nothing; one without a time-out waits forever.
            if call.timeout == 0 and call.silence is not None:
                return True, call.silence()
            if call.timeout is None:
                run.hang()
            raise TimeoutError("timed out")
    raise CannotStrike(f"{call.name} knows no such fault")


def _on_the_way(run: Struck, shape: Shape, call: PythonCall, receipt: Any) -> Answered:
    match shape:
        case traffic.Unsent():
            receipt("reset before anything was sent", None)
            answers.broken(call, "reset")
        case traffic.Cut(how=how, after=after):
            # The other side executes the request.
            answer = call.do()
            receipt(f"sent and done, then {how} after {after} bytes", None)
            return True, answers.cut(call, answer, how, after)
        case traffic.Answered(status=status, done=done):
            if done:
                call.do()
            receipt(f"{'done, and then ' if done else ''}answered {status}", status)
            return True, answers.answered(call, status)
        case traffic.Spoilt(how=how):
            answer = answers.spoilt(call, how)
            receipt(f"done, and the answer spoilt: {how}", None)
            return True, answer
        case traffic.Twice():
            call.do()
            receipt("delivered twice", None)
            return False, None
        case traffic.KilledAt(moment=moment):
            if moment == "answer":
                call.do()
            receipt(f"the workload counts as killed, at the {moment}", None)
            run.die(_KILL)
    raise CannotStrike("a request knows no such fault")


def _damaged(run: Struck, label: str, call: PythonCall, receipt: Any) -> Answered:
    if call.damage is None:
        raise CannotStrike("only a file that is opened can be damaged")
    # The open itself goes on: the proof is the first call that reads the damaged content.
    run.lasting.append(call.damage(label, receipt))
    return False, None


def _failing(run: Struck, error: Errno, call: PythonCall, receipt: Any) -> Answered:
    if error.name == "EINTR" and call.retried:
        # Python repeats the call before its caller can notice (PEP 475).
        receipt("interrupted, and made again by Python", None)
        return False, None
    if call.family == "close":
        # It releases its descriptor even when it fails (close(2), "Dealing with error returns").
        call.do()
        if call.after is not None:
            call.after(None, None)
    if error.lasting:
        run.lasting.append(LastingError(error, call.target))
    receipt(f"raised {error.name}", -error.number)
    raise call.error(error.number, os.strerror(error.number))


def _lost(run: Struck, call: PythonCall) -> None:
    try:
        value = call.do()
    except OSError as error:
        raise CannotStrike(f"it failed by itself with {error}") from None
    if FAMILIES[call.family].opens:
        run.machine.os.close(value)
    elif call.family == "close" and call.after is not None:
        call.after(value, None)


def _short(length: int, call: PythonCall, receipt: Any) -> Any:
    if call.part is None:
        raise CannotStrike(f"{call.name} transfers no data")
    if length >= call.length:
        raise CannotStrike(f"it transfers {call.length} bytes as it is")
    value = call.part(length)
    receipt(f"{call.result(value)} of {call.length} bytes transferred", call.result(value))
    return value


def _full(run: Struck, left: int, call: PythonCall, operation: Operation, receipt: Any) -> Answered:
    # Nearly full is not a fault yet: the proof is the first call that fails or falls short because of it.
    disk = FillingDisk(left, receipt)
    run.lasting.append(disk)
    return disk.meet(call, operation)


def survives(number: int) -> bool:
    """True if this process goes on when it is sent the signal, now."""
    if number in _IGNORED:
        return True
    return number != _KILL and signal.getsignal(number) is not signal.SIG_DFL


def _send(run: Struck, name: str, number: int, receipt: Any) -> None:
    receipt(f"{name} sent", None)
    # Really sending it would end the test, too.
    if not survives(number):
        run.die(number)
    if callable(signal.getsignal(number)):
        signal.raise_signal(number)
