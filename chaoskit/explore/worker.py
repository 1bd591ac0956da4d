"""One worker process as its controller sees it: its job, what it has sent, and how it ended."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import pickle
import signal
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from chaoskit.core.case import CaseFailure, RunSummary
from chaoskit.explore.observation import Observation

STACK_SIGNAL = signal.SIGRTMAX - 2 if hasattr(signal, "SIGRTMAX") else signal.SIGTERM
"""Asks a hung worker for the stacks of its threads."""
IDLE = -1
LENGTH = struct.Struct("<I")
"""Precedes each message of a worker: its length in bytes."""
OUTPUT_SHOWN = 4000
"""Characters kept of a case's output, counted from its end."""

_STATUS_SIZE = 1 << 16
"""Bytes of a worker's shared memory, far more than the runs of a test need."""
_STACK_WAIT = 1.0
"""Seconds that a hung worker has to write its stacks; the handler needs microseconds."""
_HARNESS = (f"{os.sep}_pytest{os.sep}", f"{os.sep}pluggy{os.sep}", os.path.dirname(os.path.dirname(__file__)))


class Status:
    """The shared memory of one worker: its job, its deadline, and which of its runs are over.

    The controller reads while the worker writes, so each of the three fields is one aligned word, which
    processors store and load whole. ``struct.pack_into`` will not do: it clears the bytes before it fills
    them, and in between the deadline would be zero, which has passed.
    """

    _JOB, _DEADLINE, _LENGTH = range(3)
    _BODY = 3 * 8

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _STATUS_SIZE)
        self._words = memoryview(self._memory)[: self._BODY].cast("d")
        self.set(IDLE, math.inf)

    def set(self, number: int, deadline: float) -> None:
        # The length first: the previous case's runs must never be read as this one's.
        self._words[self._LENGTH] = 0
        self._words[self._JOB] = number
        self._words[self._DEADLINE] = deadline

    def expect(self, seconds: float) -> None:
        self._words[self._DEADLINE] = time.monotonic() + seconds

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        body = pickle.dumps(runs, pickle.HIGHEST_PROTOCOL)
        # Runs that do not fit are left out: they are needed only if the worker dies in this case.
        if len(body) <= _STATUS_SIZE - self._BODY:
            # Zero while the body is replaced, so that half of it is never taken for a whole.
            self._words[self._LENGTH] = 0
            self._memory[self._BODY : self._BODY + len(body)] = body
            # Last, so that a reader finds either the whole body or none.
            self._words[self._LENGTH] = len(body)

    def get(self) -> tuple[int, float]:
        return int(self._words[self._JOB]), self._words[self._DEADLINE]

    def told(self) -> tuple[RunSummary, ...]:
        length = int(self._words[self._LENGTH])
        if not length:
            return ()
        runs: tuple[RunSummary, ...] = pickle.loads(self._memory[self._BODY : self._BODY + length])
        return runs

    def close(self) -> None:
        self._words.release()
        self._memory.close()


@dataclass(slots=True)
class WorkerProcess:
    """The controller's view of a worker process."""

    pid: int
    pidfd: int
    results: int
    status: Status
    output: IO[bytes]
    stacks: IO[bytes]
    buffer: bytearray = field(default_factory=bytearray)

    def take(self) -> Iterator[tuple[int, Observation]]:
        """The complete messages that have come from the worker."""
        with contextlib.suppress(BlockingIOError):
            # Without blocking: a message may come in parts.
            while chunk := os.read(self.results, 1 << 20):
                self.buffer += chunk
        while len(self.buffer) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self.buffer)[0]
            if len(self.buffer) < end:
                return
            message = pickle.loads(self.buffer[LENGTH.size : end])
            del self.buffer[:end]
            yield message

    def close(self) -> None:
        os.close(self.pidfd)
        os.close(self.results)
        self.status.close()
        self.output.close()
        self.stacks.close()


def cut_short(worker: WorkerProcess, failure: CaseFailure, output: str) -> Observation:
    """The observation of a case whose process is gone: the runs that it had reported."""
    runs = worker.status.told()
    struck = tuple(receipt.strike for run in runs for receipt in run.receipts)
    return Observation(runs, failure, struck, len(struck), output=output)


def stacks_of(worker: WorkerProcess) -> str:
    """Ask a hung worker for the stacks of its threads."""
    os.kill(worker.pid, STACK_SIGNAL)
    end = time.monotonic() + _STACK_WAIT
    # Nothing says when the handler is done, so wait until its file stops growing.
    size = -1
    while time.monotonic() < end:
        now = os.fstat(worker.stacks.fileno()).st_size
        if now and now == size:
            break
        size = now
        time.sleep(0.01)
    return without_harness(os.pread(worker.stacks.fileno(), 1 << 16, 0).decode("utf-8", "replace"))


def without_harness(stacks: str) -> str:
    """Text from faulthandler, without the frames of pytest and chaoskit that called the test."""
    kept, skipping = [], False
    for line in stacks.splitlines():
        frame = line.startswith("  File ")
        skipping = frame and (skipping or any(part in line for part in _HARNESS))
        if not skipping:
            kept.append(line)
    return "\n".join(kept)


def hang(stacks: str) -> CaseFailure:
    """The failure of a case that was killed because it did not continue; ``stacks`` shows where it was."""
    message = "the test did not go on in time after the faults; it was killed"
    return CaseFailure("hang", "hang", message, stacks or "(no stacks: the process did not answer)")


def death(how: str, worker: WorkerProcess) -> CaseFailure:
    """The failure of a case whose process is gone, with the end of its output."""
    text = f"the process that ran the test {how or 'ended'} in the middle of this case"
    return CaseFailure("death", "death", text, without_harness(tail(worker.output, 1 << 16))[-OUTPUT_SHOWN:])


def tail(file: IO[bytes], length: int = OUTPUT_SHOWN) -> str:
    """The end of a file that another process may still be writing."""
    # pread, since the worker shares the file position and writes there.
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), length, max(0, size - length)).decode("utf-8", "replace")
