"""Run cases: in worker processes forked from this one, with a watchdog, or one after the other here.

A batch forks its workers, so they inherit the jobs and nothing of them is ever pickled; only
observations travel. Workers draw the next job's number from a pipe that they all share, which costs
no round trip. What a worker is at, and until when it may be, stands in anonymous shared memory.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import math
import mmap
import os
import pickle
import selectors
import signal
import struct
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, NoReturn, Protocol

from chaoskit.core.case import CaseFailure, RunSummary
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.inject.processes import adopt_for_life, die_with, fork, kill_tree, reaping, stand_guard

_STATUS_SIZE = 1 << 16
_NUMBER = struct.Struct("<i")
_LENGTH = struct.Struct("<I")
_IDLE = -1
_STACK_SIGNAL = signal.SIGRTMAX - 2 if hasattr(signal, "SIGRTMAX") else signal.SIGTERM
_STACK_WAIT = 1.0
"""Seconds that a hung worker is given to write its stacks; the handler needs microseconds."""
_POLL = 0.25
_OUTPUT_SHOWN = 4000
_HARNESS = (f"{os.sep}_pytest{os.sep}", f"{os.sep}pluggy{os.sep}", os.path.dirname(os.path.dirname(__file__)))


class Watch(Protocol):
    """Told by a case how far it is."""

    def expect(self, seconds: float) -> None:
        """From now on the case counts as hung after ``seconds``."""

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        """These runs are over; what is told is known even if the case's process then dies."""


RunOne = Callable[[Job, Watch], Observation]


Observations = Generator[tuple[int, Observation], None, None]
"""Numbers of jobs with what they showed. Closing it ends everything that is still under way."""


class Executor(Protocol):
    """Runs jobs and gives each number and observation back, in any order, each once."""

    def run(self, jobs: Sequence[Job]) -> Observations: ...


class Patience:
    """A watch that waits for ever: for a case in the process of the test itself."""

    def expect(self, seconds: float) -> None:
        """Do nothing."""

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Serial:
    """Runs jobs here, one after the other; errors that ``run_one`` lets through end it."""

    run_one: RunOne

    def run(self, jobs: Sequence[Job]) -> Observations:
        for number, job in enumerate(jobs):
            yield number, self.run_one(job, Patience())


class _Status:
    """One worker's shared memory: its job, until when it may run, and which of its runs are over.

    The controller reads while the worker writes, so each of the three fields is one aligned word, which
    processors store and load whole. ``struct.pack_into`` will not do: it clears the bytes before it fills
    them, and a deadline of zero in between is one that has passed.
    """

    _JOB, _DEADLINE, _LENGTH = range(3)
    _BODY = 3 * 8

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _STATUS_SIZE)
        self._words = memoryview(self._memory)[: self._BODY].cast("d")
        self.set(_IDLE, math.inf)

    def set(self, number: int, deadline: float) -> None:
        self._words[self._LENGTH] = 0
        self._words[self._JOB] = number
        self._words[self._DEADLINE] = deadline

    def expect(self, seconds: float) -> None:
        self._words[self._DEADLINE] = time.monotonic() + seconds

    def tell(self, runs: tuple[RunSummary, ...]) -> None:
        body = pickle.dumps(runs, pickle.HIGHEST_PROTOCOL)
        if len(body) <= _STATUS_SIZE - self._BODY:
            self._words[self._LENGTH] = 0
            self._memory[self._BODY : self._BODY + len(body)] = body
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
class _Worker:
    """The controller's view of a worker process."""

    pid: int
    pidfd: int
    results: int
    status: _Status
    output: IO[bytes]
    stacks: IO[bytes]
    buffer: bytearray = field(default_factory=bytearray)

    def take(self) -> Iterator[tuple[int, Observation]]:
        """What has come from the worker and is complete."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.results, 1 << 20):
                self.buffer += chunk
        while len(self.buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self.buffer)[0]
            if len(self.buffer) < end:
                return
            message = pickle.loads(self.buffer[_LENGTH.size : end])
            del self.buffer[:end]
            yield message

    def close(self) -> None:
        os.close(self.pidfd)
        os.close(self.results)
        self.status.close()
        self.output.close()
        self.stacks.close()


class Workers:
    """Runs each batch of jobs on ``count`` processes forked for it.

    ``prepare`` is called in each new process with its ordinal, before its first job. ``capture``
    says whether what cases print goes to a file (and with a failure into its observation). Leaving
    a batch in any way, Ctrl-C included, leaves no process behind.
    """

    def __init__(
        self, run_one: RunOne, count: int, prepare: Callable[[int], None], *, capture: bool = True
    ) -> None:
        self._run_one = run_one
        self._count = count
        self._prepare = prepare
        self._capture = capture
        self._forked = 0

    def run(self, jobs: Sequence[Job]) -> Observations:
        if not jobs:
            return
        with reaping(), contextlib.closing(_Batch(self, jobs)) as batch:
            yield from batch.observations()

    def fork(self, jobs: Sequence[Job], queue: int, close: Sequence[int]) -> _Worker:
        """Fork one worker that draws numbers of jobs from the descriptor ``queue``."""
        self._forked += 1
        reading, writing = os.pipe()
        status, output, stacks = _Status(), tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        parent = os.getpid()
        pid = fork()
        if pid == 0:
            for fd in (*close, reading):
                os.close(fd)
            self._work(jobs, queue, writing, _Inside(status, output, stacks, parent))
        os.close(writing)
        os.set_blocking(reading, False)
        return _Worker(pid, os.pidfd_open(pid), reading, status, output, stacks)

    def _work(self, jobs: Sequence[Job], queue: int, results: int, inside: _Inside) -> NoReturn:
        try:
            die_with(inside.parent)
            adopt_for_life()
            stand_guard(own_session=True)
            faulthandler.register(_STACK_SIGNAL, inside.stacks, all_threads=True)
            if self._capture:
                inside.redirect()
            self._prepare(self._forked)
            # What the worker has inherited is never garbage; a collection that touches it would copy it.
            gc.freeze()
            while text := os.read(queue, _NUMBER.size):
                number = _NUMBER.unpack(text)[0]
                _send(results, (number, self._one(jobs[number], number, inside)))
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _one(self, job: Job, number: int, inside: _Inside) -> Observation:
        inside.status.set(number, time.monotonic() + job.timeout)
        start = inside.output.tell() if self._capture else 0
        observation = self._run_one(job, inside.status)
        inside.status.set(number, math.inf)
        if observation.failure is None or not self._capture:
            return observation
        return _with_output(observation, inside.printed(start))


@dataclass(frozen=True, slots=True)
class _Inside:
    """The worker's own view."""

    status: _Status
    output: IO[bytes]
    stacks: IO[bytes]
    parent: int

    def redirect(self) -> None:
        """Send everything that is printed, by Python or beneath it, to this worker's file."""
        import io
        import sys

        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(self.output.fileno(), number)
            raw = io.FileIO(number, "w", closefd=False)
            setattr(sys, name, io.TextIOWrapper(raw, "utf-8", "replace", write_through=True))
        # A crash in the middle of a case is told with the case, not all over the terminal.
        faulthandler.enable(self.output)

    def printed(self, start: int) -> str:
        end = os.lseek(self.output.fileno(), 0, os.SEEK_CUR)
        return os.pread(self.output.fileno(), end - start, start).decode("utf-8", "replace")


class _Batch:
    """One batch under way: the queue, the workers, and what is still expected."""

    def __init__(self, owner: Workers, jobs: Sequence[Job]) -> None:
        self._owner = owner
        self._jobs = jobs
        self._open = set(range(len(jobs)))
        self._unsent = list(range(len(jobs)))
        self._queue, self._feed = os.pipe()
        self._feeding = True
        os.set_blocking(self._feed, False)
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []

    def observations(self) -> Iterator[tuple[int, Observation]]:
        self._fill()
        for _ in range(min(self._owner._count, len(self._jobs))):
            self._add_worker()
        while self._open:
            for key, _ in self._selector.select(self._until_deadline()):
                worker, ended = key.data
                if worker not in self._workers:
                    continue
                yield from self._done(worker.take())
                if ended:
                    yield from self._done(self._ended(worker))
            yield from self._done(self._overdue())
            self._fill()

    def _done(self, found: Iterator[tuple[int, Observation]]) -> Iterator[tuple[int, Observation]]:
        for number, observation in found:
            self._open.discard(number)
            yield number, observation

    def _fill(self) -> None:
        """Put as many numbers into the queue as it takes; a pipe holds some sixteen thousand."""
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                os.write(self._feed, _NUMBER.pack(self._unsent[0]))
                del self._unsent[0]
        if not self._unsent and self._feeding:
            os.close(self._feed)
            self._feeding = False

    def _add_worker(self) -> None:
        close = [fd for worker in self._workers for fd in (worker.results, worker.pidfd)]
        worker = self._owner.fork(self._jobs, self._queue, [*close, *([self._feed] if self._feeding else [])])
        self._workers.append(worker)
        self._selector.register(worker.results, selectors.EVENT_READ, (worker, False))
        self._selector.register(worker.pidfd, selectors.EVENT_READ, (worker, True))

    def _until_deadline(self) -> float:
        deadlines = (worker.status.get()[1] for worker in self._workers)
        return max(0.0, min(_POLL, min(deadlines, default=0.0) - time.monotonic()))

    def _ended(self, worker: _Worker) -> Iterator[tuple[int, Observation]]:
        """A worker that ended by itself: because nothing was left, or in the middle of a case."""
        yield from worker.take()
        number, _ = worker.status.get()
        how = self._drop(worker)
        try:
            if number in self._open:
                yield number, _cut_short(worker, _death(how, worker), "")
            elif how and self._open:
                raise RuntimeError(f"a worker process {how} outside of any case: {_tail(worker.output)}")
        finally:
            worker.close()
        if self._open and not self._workers:
            self._restart()

    def _overdue(self) -> Iterator[tuple[int, Observation]]:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.status.get()[1] > now:
                continue
            stacks = _stacks(worker)
            self._drop(worker)
            try:
                # It may have gone on until it was killed: what it has sent by then counts.
                yield from worker.take()
                number, _ = worker.status.get()
                if number in self._open:
                    yield number, _cut_short(worker, _hang(stacks), _tail(worker.output))
            finally:
                worker.close()
            if self._open and self._workers:
                self._add_worker()
            elif self._open:
                self._restart()

    def _restart(self) -> None:
        """No worker is left: hand out again what has no answer, wherever it was when its worker died."""
        os.close(self._queue)
        if self._feeding:
            os.close(self._feed)
        self._queue, self._feed = os.pipe()
        self._feeding = True
        os.set_blocking(self._feed, False)
        self._unsent = sorted(self._open)
        self._fill()
        self._add_worker()

    def _drop(self, worker: _Worker) -> str:
        """Make sure that the worker and all its processes are gone; say how it ended."""
        self._selector.unregister(worker.results)
        self._selector.unregister(worker.pidfd)
        self._workers.remove(worker)
        kill_tree(worker.pid)
        code = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if code < 0:
            return f"died of {signal.Signals(-code).name}"
        return f"ended with status {code}" if code else ""

    def close(self) -> None:
        for worker in list(self._workers):
            self._drop(worker)
            worker.close()
        os.close(self._queue)
        if self._feeding:
            os.close(self._feed)
        self._selector.close()


def _cut_short(worker: _Worker, failure: CaseFailure, output: str) -> Observation:
    """What is known of a case whose process is gone."""
    runs = worker.status.told()
    struck = tuple(receipt.strike for run in runs for receipt in run.receipts)
    return Observation(runs, failure, struck, len(struck), output=output)


def _send(fd: int, message: Any) -> None:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    view = memoryview(_LENGTH.pack(len(body)) + body)
    while view:
        view = view[os.write(fd, view) :]


def _stacks(worker: _Worker) -> str:
    """Ask a hung worker for the stacks of its threads."""
    os.kill(worker.pid, _STACK_SIGNAL)
    end = time.monotonic() + _STACK_WAIT
    size = -1
    while time.monotonic() < end:
        now = os.fstat(worker.stacks.fileno()).st_size
        if now and now == size:
            break
        size = now
        time.sleep(0.01)
    return without_harness(os.pread(worker.stacks.fileno(), 1 << 16, 0).decode("utf-8", "replace"))


def without_harness(stacks: str) -> str:
    """What faulthandler wrote, without the frames of pytest and of chaoskit that called the test."""
    kept, skipping = [], False
    for line in stacks.splitlines():
        frame = line.startswith("  File ")
        skipping = frame and (skipping or any(part in line for part in _HARNESS))
        if not skipping:
            kept.append(line)
    return "\n".join(kept)


def _hang(stacks: str) -> CaseFailure:
    message = "the test did not go on in time after the faults; it was killed"
    return CaseFailure("hang", "hang", message, stacks or "(no stacks: the process did not answer)")


def _death(how: str, worker: _Worker) -> CaseFailure:
    text = f"the process that ran the test {how or 'ended'} in the middle of this case"
    return CaseFailure(
        "death", "death", text, without_harness(_tail(worker.output, 1 << 16))[-_OUTPUT_SHOWN:]
    )


def _tail(file: IO[bytes], length: int = _OUTPUT_SHOWN) -> str:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), length, max(0, size - length)).decode("utf-8", "replace")


def _with_output(observation: Observation, text: str) -> Observation:
    return replace(observation, output=text[-_OUTPUT_SHOWN:])
