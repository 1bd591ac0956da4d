"""What each shape of fault does to a call on a file."""

from __future__ import annotations

import errno
import os

from chaoskit.core.operation import Operation
from chaoskit.faults.shapes import Damaged, Errno, Filled, LostReply, Shape, Shortened, Torn
from chaoskit.inject.kernel.border import CannotExecute, FaultEffect
from chaoskit.inject.kernel.files import damaging, execute
from chaoskit.inject.kernel.files.calls import FileCall
from chaoskit.inject.kernel.files.fulldisk import FullDisk
from chaoskit.inject.kernel.files.record import Recorder
from chaoskit.inject.kernel.log import bare
from chaoskit.inject.kernel.standing import failing


def effect(shape: Shape, call: FileCall, recorder: Recorder) -> FaultEffect:
    """Do what a fault of this ``shape`` does to ``call`` now, and return what is left to do.

    Raises:
        CannotExecute: if it cannot be done to this call.
    """
    match shape:
        case Errno():
            return failing(shape, call, _to_release(call))
        case LostReply():
            return _lost(shape, call)
        case Shortened(length):
            return _short(length, call)
        case Torn(length):
            return _torn(length, call)
        case Filled(left):
            return _full(left, call, recorder)
        case Damaged(label):
            # First, so that a recording of this case sees that the file has changed without a call.
            recorder.may_change(call)
            return damaging.effect(label, call)
    raise CannotExecute("a call on a file knows no such fault")


def _to_release(call: FileCall) -> int | None:
    """The descriptor that a close frees even when it fails (close(2), "Dealing with error returns")."""
    return call.fd if call.family == "close" else None


def _lost(reply: LostReply, call: FileCall) -> FaultEffect:
    released = _to_release(call)
    if released is not None:
        # The release, which comes before the answer, is all that a close does.
        return FaultEffect(f"answered {reply.name}", answer=-reply.number, release=released)
    if call.row.opens:
        opened = execute.perform_open(call)
        if opened >= 0:
            # Only the effect on the disk counts: the caller is told that it got no descriptor.
            os.close(opened)
        done = min(opened, 0)
    else:
        done = execute.perform(call)
    _took_effect(done)
    return FaultEffect(f"took effect (result {done}), answered {reply.name}", answer=-reply.number)


def _short(wanted: int, call: FileCall) -> FaultEffect:
    whole = execute.would_transfer(call)
    if wanted >= whole:
        raise CannotExecute(f"it transfers {whole} bytes as it is")
    done = execute.transfer(call, wanted)
    _took_effect(done)
    return FaultEffect(f"{done} of {execute.length_of(call)} bytes transferred", answer=done)


def _torn(length: int, call: FileCall) -> FaultEffect:
    done = execute.transfer(call, length)
    return FaultEffect(f"{done} of {execute.length_of(call)} bytes written, then SIGKILL to all", kill="all")


def _full(left: int, call: FileCall, recorder: Recorder) -> FaultEffect:
    disk = FullDisk(left)
    answer, text = None, ""
    # A disk can become full at any call, even at one that does not notice.
    if call.family in disk.families:
        answer, text = disk.answer(call, lambda: _bare(call, recorder))
    return FaultEffect(text or f"{left} bytes left on the disk", answer=answer, standing=disk)


def _bare(call: FileCall, recorder: Recorder) -> Operation:
    return bare(call, recorder.describe(call, whole=False))


def _took_effect(result: int) -> None:
    """Raise CannotExecute for a call that failed on its own: that proves nothing about a fault."""
    if result < 0:
        raise CannotExecute(f"it failed by itself with {errno.errorcode.get(-result, result)}")
