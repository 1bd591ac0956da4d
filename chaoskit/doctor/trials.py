"""Lets every kind of fault strike a small workload on this machine."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.core.errors import BackendUnavailable, ScheduleError
from chaoskit.core.schedule import Schedule
from chaoskit.doctor.diagnosis import Item
from chaoskit.faults.inside import Inward
from chaoskit.inject import backends
from chaoskit.inject.base import Backend, Plan, Ran
from chaoskit.inject.leftovers import scratch

AREA = "faults"
_HERE = "chaoskit/doctor/trials.py"
_INSIDE = Inward(packages=(__name__,))
"""Lines of this module count as the program's; those of the rest of the package do not."""

CONTENT = b"chaoskit"

Judge = Callable[[Ran, Path], bool]


def workload(root: Path) -> None:
    """Make mkdir, open, write and close: every kind of fault can strike one of them."""
    os.mkdir(root / "made")
    fd = os.open(root / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(fd, CONTENT)
    finally:
        os.close(fd)


def reader(root: Path) -> bytes:
    """Read an existing file, which damage strikes."""
    return (root / "given").read_bytes()


def greedy(root: Path) -> int:
    """Make a directory, then ask for 256 MiB. The lines of this function are named by the trials below."""
    os.mkdir(root / "made")
    return len(bytearray(256 << 20))


async def waiting(root: Path) -> None:
    """Run a task that waits once, at its second line."""
    await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Trial:
    """A schedule and its required outcome. ``judge`` gets the run and the directory that it left.

    ``optional``: if it cannot be tried, the reason is reported but is not a defect.
    """

    name: str
    schedule: str
    judge: Judge
    work: Callable[[Path], object] = workload
    optional: bool = False


def _failed(ran: Ran, number: int) -> bool:
    return isinstance(ran.error, OSError) and ran.error.errno == number


def _holds(root: Path, content: bytes) -> bool:
    file = root / "file"
    return file.exists() and file.read_bytes() == content


def _died(ran: Ran, number: int) -> bool:
    return ran.signal == number


TRIALS = (
    Trial(
        "an error",
        "mkdir(made)#1=ENOSPC",
        lambda ran, root: _failed(ran, errno.ENOSPC) and not os.listdir(root),
    ),
    Trial(
        "an error that stays",
        "mkdir(made)#1=EROFS[persistent]",
        lambda ran, root: _failed(ran, errno.EROFS) and not os.listdir(root),
    ),
    Trial(
        "a lost reply",
        "mkdir(made)#1=lost[EIO]",
        lambda ran, root: _failed(ran, errno.EIO) and os.listdir(root) == ["made"],
    ),
    Trial("a short write", "write(file)#1=short[3]", lambda ran, root: ran.ok and _holds(root, CONTENT[:3])),
    Trial("a full disk", "write(file)#1=full[3]", lambda ran, root: ran.ok and _holds(root, CONTENT[:3])),
    Trial(
        "a late error at close",
        "close(file)#1=EIO",
        lambda ran, root: _failed(ran, errno.EIO) and _holds(root, CONTENT) and not ran.leaks.descriptors,
    ),
    Trial(
        "a kill",
        "write(file)#1=kill",
        lambda ran, root: _died(ran, signal.SIGKILL) and _holds(root, b""),
    ),
    Trial(
        "a kill of one process",
        "write(file)#1=kill[process]",
        lambda ran, root: _died(ran, signal.SIGKILL) and _holds(root, b""),
    ),
    Trial(
        "a kill inside a write",
        "write(file)#1=kill[torn 3]",
        lambda ran, root: _died(ran, signal.SIGKILL) and _holds(root, CONTENT[:3]),
    ),
    Trial("a signal", "write(file)#1=SIGTERM", lambda ran, root: _died(ran, signal.SIGTERM)),
    Trial(
        "a damaged file",
        "open(given)#1=damage[file.cut.half]",
        lambda ran, root: ran.value == CONTENT[:4] and (root / "given").read_bytes() == CONTENT[:4],
        reader,
    ),
    Trial(
        "a failed allocation",
        f"alloc({_HERE},greedy,3)#1=MemoryError[1]",
        lambda ran, root: isinstance(ran.error, MemoryError),
        greedy,
        optional=True,
    ),
    Trial(
        "a limit of memory",
        "mkdir(made)#1=memory_limit[8]",
        lambda ran, root: isinstance(ran.error, MemoryError) and os.listdir(root) == ["made"],
        greedy,
    ),
    Trial("the kernel's last resort", "mkdir(made)#1=oom", lambda ran, root: _died(ran, signal.SIGKILL)),
    Trial(
        "an interrupt",
        f"line({_HERE},greedy,0)#1=KeyboardInterrupt",
        lambda ran, root: isinstance(ran.error, KeyboardInterrupt) and not os.listdir(root),
        greedy,
    ),
    Trial(
        "Ctrl-C in a call",
        "mkdir(made)#1=SIGINT",
        lambda ran, root: isinstance(ran.error, KeyboardInterrupt) and os.listdir(root) == ["made"],
    ),
    Trial(
        "a cancellation",
        f"await({_HERE},waiting,2)#1=cancel",
        lambda ran, root: isinstance(ran.error, asyncio.CancelledError),
        waiting,
    ),
    Trial("a delay", "mkdir(made)#1=delay[0.001]", lambda ran, root: ran.ok and _holds(root, CONTENT)),
)


def trials(backend: Backend) -> Iterator[Item]:
    """Run every trial, after a check of the recording, from which crash states are built."""
    yield recording(backend)
    for trial in TRIALS:
        yield attempt(backend, trial)


def attempt(backend: Backend, trial: Trial) -> Item:
    """Run one trial: ``ok`` only with a receipt and the outcome that the fault must have."""
    with scratch() as place:
        root = Path(place)
        # Ten seconds for four calls: a workload that hangs must be reported, not hang the doctor.
        schedule = Schedule.parse(trial.schedule)
        plan = Plan(str(root), strikes=schedule.strikes, timeout=10.0, inside=_INSIDE)
        try:
            backends.check(schedule, backend)
        except ScheduleError:
            return Item(AREA, trial.name, "no", f"the {backend.name} backend has no such fault")
        try:
            if trial.work is reader:
                (root / "given").write_bytes(CONTENT)
            ran = backend.run(lambda: trial.work(root), plan)
        except Exception as error:  # any error is what the user came to see
            if trial.optional and isinstance(error, BackendUnavailable):
                return Item(AREA, trial.name, "no", str(error))
            return _no(trial.name, f"{trial.schedule}: {type(error).__name__}: {error}")
        # The receipt first: a fault that did not strike often leaves just what the trial expects.
        if len(ran.receipts) != 1:
            return _no(trial.name, f"{trial.schedule} did not strike")
        if not trial.judge(ran, root):
            return _no(trial.name, f"{trial.schedule} struck, but then {_outcome(ran)}")
        return Item(AREA, trial.name, "ok", f"{trial.schedule}: {ran.receipts[0].effect}")


def recording(backend: Backend) -> Item:
    """Check that a recording has the result, the data and the Python line of each call."""
    name = "recording for power loss"
    with scratch() as place:
        root = Path(place)
        try:
            ran = backend.run(lambda: workload(root), Plan(str(root), record=True, timeout=10.0))
        except Exception as error:
            return _no(name, f"{type(error).__name__}: {error}")
        writes = [operation for operation in ran.trace if operation.call == "write"]
        data = [one.file.data.read() for one in writes if one.file.data is not None]
        if data != [CONTENT] or writes[0].result != len(CONTENT):
            return _no(name, f"one write was made, but what was seen is {list(map(str, writes))}")
        if writes[0].site is None:
            hint = "Reports will not name the line of a call; verdicts are not affected."
            return Item(AREA, name, "degraded", "results and data of calls, without Python lines", hint)
        return Item(AREA, name, "ok", "results, data and Python lines of calls")


def _no(name: str, detail: str) -> Item:
    hint = "This is a defect of chaoskit or of this kernel; please report it with 'chaoskit doctor --json'."
    return Item(AREA, name, "no", detail, hint, needed=True)


def _outcome(ran: Ran) -> str:
    if ran.ok:
        return "the workload returned"
    if ran.signal is not None:
        return f"the workload died of {signal.Signals(ran.signal).name}"
    return "the workload hung" if ran.timed_out else f"the workload raised {ran.error!r}"
