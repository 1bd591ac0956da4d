"""Every kind of fault, made to strike a workload of four calls on the machine at hand."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.core.schedule import Schedule
from chaoskit.doctor.diagnosis import Item
from chaoskit.inject.base import Backend, Plan, Ran

AREA = "faults"

CONTENT = b"chaoskit"

Judge = Callable[[Ran, Path], bool]


@dataclass(frozen=True, slots=True)
class Trial:
    """One schedule and what must come of it. ``judge`` is given the run and the directory that it left."""

    name: str
    schedule: str
    judge: Judge


def workload(root: Path) -> None:
    """mkdir, open, write, close: enough for every kind of fault to have a place."""
    os.mkdir(root / "made")
    fd = os.open(root / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(fd, CONTENT)
    finally:
        os.close(fd)


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
        "a kill inside of a write",
        "write(file)#1=kill[torn 3]",
        lambda ran, root: _died(ran, signal.SIGKILL) and _holds(root, CONTENT[:3]),
    ),
    Trial("a signal", "write(file)#1=SIGTERM", lambda ran, root: _died(ran, signal.SIGTERM)),
    Trial("a delay", "mkdir(made)#1=delay[0.001]", lambda ran, root: ran.ok and _holds(root, CONTENT)),
)


def trials(backend: Backend) -> Iterator[Item]:
    """Try them all, the recording first: crash states are built from it."""
    yield recording(backend)
    for trial in TRIALS:
        yield attempt(backend, trial)


def attempt(backend: Backend, trial: Trial) -> Item:
    """Run one trial: ``ok`` only with the receipt and with the outcome that the fault must have."""
    with tempfile.TemporaryDirectory(prefix="chaoskit-doctor-") as text:
        root = Path(os.path.realpath(text))
        # Ten seconds for four calls: a workload that hangs is a finding, and must not hang the doctor.
        plan = Plan(str(root), strikes=Schedule.parse(trial.schedule).strikes, timeout=10.0)
        try:
            ran = backend.run(lambda: workload(root), plan)
        except Exception as error:  # any error is what the user came to see
            return _no(trial.name, f"{trial.schedule}: {type(error).__name__}: {error}")
        # A fault that did not strike often leaves just what the trial expects, so the receipt comes first.
        if len(ran.receipts) != 1:
            return _no(trial.name, f"{trial.schedule} did not strike")
        if not trial.judge(ran, root):
            return _no(trial.name, f"{trial.schedule} struck, but then {_outcome(ran)}")
        return Item(AREA, trial.name, "ok", f"{trial.schedule}: {ran.receipts[0].effect}")


def recording(backend: Backend) -> Item:
    """Look for the result, the data and the Python line of each call in a recording."""
    name = "recording for power loss"
    with tempfile.TemporaryDirectory(prefix="chaoskit-doctor-") as text:
        root = Path(os.path.realpath(text))
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
