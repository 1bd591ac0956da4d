"""Run cases in worker processes forked from this one, under a watchdog.

A batch forks its workers, so they inherit the jobs, which are never pickled; only observations travel.
Workers read the next job's number from a shared pipe, which costs no round trip. Each worker's job and
deadline are in anonymous shared memory.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import math
import os
import pickle
import selectors
import signal
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, NoReturn

from chaoskit.explore.execute import Observations, RunOne, Wanted, always, executed
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.worker import (
    LENGTH,
    OUTPUT_SHOWN,
    STACK_SIGNAL,
    Status,
    WorkerProcess,
    cut_short,
    death,
    hang,
    stacks_of,
    tail,
)
from chaoskit.inject import private
from chaoskit.inject.hugepages import collapse
from chaoskit.inject.immortal import immortalize
from chaoskit.inject.processes import adopt_for_life, die_with, fork, kill_tree, reaping, stand_guard

# Far below PIPE_BUF, so that reads and writes of several processes never interleave (pipe(7)).
_NUMBER = struct.Struct("<i")
_POLL = 0.25
"""Seconds after which deadlines are checked even if no worker has sent anything."""


class Workers:
    """Runs each batch of jobs on ``count`` processes forked for it.

    ``prepare`` is called in each new process with its ordinal, before its first job. ``capture`` redirects
    the output of cases to a file (and, after a failure, into its observation). However a batch ends, Ctrl-C
    included, it leaves no process behind.
    """

    def __init__(
        self,
        run_one: RunOne,
        count: int,
        prepare: Callable[[int], None] = lambda number: None,
        *,
        capture: bool = True,
    ) -> None:
        self._run_one = run_one
        self.count = count
        self._prepare = prepare
        self._capture = capture
        self._forked = 0

    def run(self, jobs: Sequence[Job], wanted: Wanted = always) -> Observations:
        """See :class:`~chaoskit.explore.execute.Executor`; in the order of the workers' answers."""
        if not jobs:
            return
        # Before the workers are forked, which share this memory with all their cases.
        collapse(_EARNED * len(jobs))
        if len(jobs) >= _MANY:
            immortalize()
        with reaping(), contextlib.closing(_Batch(self, jobs, wanted)) as batch:
            yield from batch.observations()

    def fork(
        self, jobs: Sequence[Job], queue: int, close: Sequence[int], others: Sequence[WorkerProcess]
    ) -> WorkerProcess:
        """Fork one worker that reads job numbers from the descriptor ``queue``."""
        self._forked += 1
        reading, writing = os.pipe()
        # Files without names, since a killed worker could not remove them.
        status, output, stacks = Status(), tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        parent = os.getpid()
        pid = fork()
        if pid == 0:
            # A copy of another worker's pipe would keep it open after that worker has died.
            for fd in (*close, reading):
                os.close(fd)
            for other in others:
                other.status.close()
            self._work(jobs, queue, writing, _Inside(status, output, stacks, parent))
        os.close(writing)
        os.set_blocking(reading, False)
        return WorkerProcess(pid, os.pidfd_open(pid), reading, status, output, stacks)

    def _work(self, jobs: Sequence[Job], queue: int, results: int, inside: _Inside) -> NoReturn:
        try:
            # In this order: from here on, however the controller ends, neither we nor our children are left
            # behind.
            die_with(inside.parent)
            adopt_for_life()
            stand_guard(own_session=True)
            faulthandler.register(STACK_SIGNAL, inside.stacks, all_threads=True)
            # Observations are unpickled by the controller: only this process may send them.
            for fd in (queue, results):
                private.withhold(fd)
            private.withhold_memory(inside.status.close)
            if self._capture:
                inside.redirect()
            self._prepare(self._forked)
            # Inherited objects are never garbage, and a collection that touches them would copy their pages.
            gc.freeze()
            usual = threading.active_count()
            while text := os.read(queue, _NUMBER.size):
                number = _NUMBER.unpack(text)[0]
                _send(results, (number, self._one(jobs[number], number, inside)))
                # No workload may be forked from here any more: a thread that is left may hold a lock.
                if threading.active_count() > usual:
                    os._exit(_RETIRED)
        except BaseException:
            # This goes to the worker's output, which the batch's error shows.
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _one(self, job: Job, number: int, inside: _Inside) -> Observation:
        inside.status.set(number, time.monotonic() + job.timeout)
        start = inside.output.tell() if self._capture else 0
        observation = executed(self._run_one, job, inside.status)
        # Between two cases nothing but chaoskit can hang.
        inside.status.set(number, math.inf)
        # The output of thousands of cases that pass is of no use.
        if observation.failure is None or not self._capture:
            return observation
        return replace(observation, output=inside.printed(start)[-OUTPUT_SHOWN:])


@dataclass(frozen=True, slots=True)
class _Inside:
    """The worker's own view."""

    status: Status
    output: IO[bytes]
    stacks: IO[bytes]
    parent: int

    def redirect(self) -> None:
        """Redirect all output, by Python or by C code, to this worker's file."""
        import io
        import sys

        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(self.output.fileno(), number)
            raw = io.FileIO(number, "w", closefd=False)
            setattr(sys, name, io.TextIOWrapper(raw, "utf-8", "replace", write_through=True))
        # A crash in the middle of a case is reported with the case, not printed over the terminal.
        faulthandler.enable(self.output)

    def printed(self, start: int) -> str:
        end = os.lseek(self.output.fileno(), 0, os.SEEK_CUR)
        return os.pread(self.output.fileno(), end - start, start).decode("utf-8", "replace")


_EARNED = 0.003
"""Seconds that huge pages save in each case of a large process. Half of what was measured at 240 MB, so that
the time for making them is earned back."""
_MANY = 50
"""From this many cases on it pays not to count references to the harness's own functions."""
_AHEAD = 2
"""Job numbers per worker that are handed out in advance."""
_RETIRED = 75
"""The exit status of a worker that a case left with extra threads: another one replaces it."""


class _Batch:
    """One batch under way: the queue, the workers, and the jobs without an answer."""

    def __init__(self, owner: Workers, jobs: Sequence[Job], wanted: Wanted) -> None:
        self._owner = owner
        self._jobs = jobs
        self._wanted = wanted
        self._open = set(range(len(jobs)))
        # One pipe for all: whichever worker is free reads the next number, so none waits while there is work.
        # The next number is the last of the list, where removing it is cheap.
        self._unsent = list(range(len(jobs)))[::-1]
        self._queue, self._feed = os.pipe()
        self._feeding = True
        # The controller must not wait for room in the pipe: it has to take results and watch deadlines.
        os.set_blocking(self._feed, False)
        self._selector = selectors.DefaultSelector()
        self._workers: list[WorkerProcess] = []

    def observations(self) -> Iterator[tuple[int, Observation]]:
        self._fill()
        for _ in range(min(self._owner.count, len(self._jobs))):
            self._add_worker()
        while self._open:
            for key, _ in self._selector.select(self._until_deadline()):
                worker, ended = key.data
                # An earlier event of the same round has dropped it.
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
        """Put the next numbers into the queue, a few per worker: none waits, and most can be taken back."""
        ahead = _AHEAD * self._owner.count
        with contextlib.suppress(BlockingIOError):
            while self._unsent and len(self._open) - len(self._unsent) < ahead:
                number = self._unsent[-1]
                if self._wanted(number):
                    os.write(self._feed, _NUMBER.pack(number))
                else:
                    self._open.discard(number)
                self._unsent.pop()
        if not self._unsent and self._feeding:
            # The end of the pipe tells the workers that nothing is left.
            os.close(self._feed)
            self._feeding = False

    def _add_worker(self) -> None:
        # A worker that kept the feed open would wait forever for the end of the pipe.
        close = [fd for worker in self._workers for fd in (worker.results, worker.pidfd)]
        feed = [self._feed] if self._feeding else []
        worker = self._owner.fork(self._jobs, self._queue, [*close, *feed], self._workers)
        self._workers.append(worker)
        self._selector.register(worker.results, selectors.EVENT_READ, (worker, False))
        self._selector.register(worker.pidfd, selectors.EVENT_READ, (worker, True))

    def _until_deadline(self) -> float:
        deadlines = (worker.status.get()[1] for worker in self._workers)
        return max(0.0, min(_POLL, min(deadlines, default=0.0) - time.monotonic()))

    def _ended(self, worker: WorkerProcess) -> Iterator[tuple[int, Observation]]:
        """The last observations of a worker that ended unkilled: no job was left, or a case ended it."""
        yield from worker.take()
        number, _ = worker.status.get()
        how = self._drop(worker)
        retired = how == f"ended with status {_RETIRED}" and number not in self._open
        try:
            if number in self._open:
                yield number, cut_short(worker, death(how, worker), "")
            elif how and self._open and not retired:
                raise RuntimeError(f"a worker process {how} outside any case: {tail(worker.output)}")
        finally:
            worker.close()
        if self._open and not self._workers:
            self._restart()
        elif self._open and retired:
            self._add_worker()

    def _overdue(self) -> Iterator[tuple[int, Observation]]:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.status.get()[1] > now:
                continue
            stacks = stacks_of(worker)
            self._drop(worker)
            try:
                # It may have continued until it was killed: what it sent by then counts.
                yield from worker.take()
                number, _ = worker.status.get()
                if number in self._open:
                    yield number, cut_short(worker, hang(stacks), tail(worker.output))
            finally:
                worker.close()
            # A new worker replaces the one that hung.
            if self._open and self._workers:
                self._add_worker()
            elif self._open:
                self._restart()

    def _restart(self) -> None:
        """No worker is left: hand out again every job that has no answer."""
        os.close(self._queue)
        if self._feeding:
            os.close(self._feed)
        self._queue, self._feed = os.pipe()
        self._feeding = True
        os.set_blocking(self._feed, False)
        self._unsent = sorted(self._open, reverse=True)
        self._fill()
        self._add_worker()

    def _drop(self, worker: WorkerProcess) -> str:
        """Kill what is left of the worker and its processes; return how the worker ended."""
        self._selector.unregister(worker.results)
        self._selector.unregister(worker.pidfd)
        self._workers.remove(worker)
        kill_tree(worker.pid)
        # After the kill: a worker that had already ended keeps its own status.
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


def _send(fd: int, message: Any) -> None:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    view = memoryview(LENGTH.pack(len(body)) + body)
    while view:
        view = view[os.write(fd, view) :]
