"""Workers: every job's observation comes back once, whatever becomes of the process that had it."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.core.case import RunSummary
from chaoskit.core.operation import Receipt
from chaoskit.core.schedule import Schedule
from chaoskit.explore import workers
from chaoskit.explore.execute import Serial, Watch
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.worker import Status, WorkerProcess, without_harness
from chaoskit.explore.workers import Workers
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend
from chaoskit.inject.processes import children, fork, open_files

RunOne = Callable[[Job, Watch], Observation]


def jobs(count: int, timeout: float = 60.0) -> list[Job]:
    return [Job(Schedule.parse(f"write(a)#{i + 1}=EIO"), timeout=timeout) for i in range(count)]


def ordinal(job: Job) -> int:
    return job.schedule.strikes[0].point.ordinal


def echo(job: Job, watch: Watch) -> Observation:
    return Observation(struck=(str(job.schedule),))


def run(one: RunOne, several: list[Job], count: int = 2) -> dict[int, Observation]:
    seen = list(Workers(one, count, lambda number: None).run(several))
    assert len(seen) == len({number for number, _ in seen})
    return dict(seen)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_job_is_answered_once(count: int) -> None:
    """Each observation belongs to its job, whichever worker had it."""
    several = jobs(23)
    seen = run(echo, several, count)
    assert {n: o.struck for n, o in seen.items()} == {n: (str(j.schedule),) for n, j in enumerate(several)}


def test_more_jobs_than_a_pipe_holds() -> None:
    """The queue is filled again as it empties."""
    several = jobs(1) * 20_000
    assert len(run(echo, several)) == 20_000


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_not_wanted_any_more_is_left_out(count: int) -> None:
    """What others have shown decides, save for the few jobs that are handed out already."""
    wanted: list[int] = []
    seen: dict[int, Observation] = {}

    def still(number: int) -> bool:
        wanted.append(number)
        return len(seen) < 10

    with contextlib.closing(Workers(echo, count).run(jobs(200), still)) as stream:
        seen.update(stream)
    assert wanted == list(range(200))
    assert list(range(10)) == sorted(seen)[:10]
    assert len(seen) < 20


def test_a_large_batch_shares_objects_that_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its workers are forked; for a small one it would take longer than it saves."""
    done: list[bool] = []
    monkeypatch.setattr(workers, "immortalize", lambda: done.append(True))
    run(echo, jobs(49), 1)
    assert done == []
    run(echo, jobs(50), 1)
    assert done == [True]


def test_a_worker_killed_as_overdue_loses_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was only slow goes on while its stacks are asked for: what it sends then counts."""
    gate, opened = os.pipe()

    def late(job: Job, watch: Watch) -> Observation:
        if ordinal(job) == 3:
            watch.expect(-1.0)
            os.read(gate, 1)
        return echo(job, watch)

    def lets_it_go_on(worker: WorkerProcess) -> str:
        os.write(opened, b"!")
        select.select([worker.pidfd], [], [])
        return ""

    monkeypatch.setattr(workers, "stacks_of", lets_it_go_on)
    # The last jobs are handed out by then, so the worker ends when it has done them.
    seen = run(late, jobs(3), 1)
    assert sorted(seen) == list(range(3))
    assert all(observation.failure is None for observation in seen.values())


def test_a_deadline_is_never_seen_half_written() -> None:
    """Whenever the controller looks, it sees one deadline or the other: else a case is killed as hung."""
    status, deadlines = Status(), (12345.678, math.inf)
    pid = fork()
    if pid == 0:
        for number in range(100_000):
            status.set(number, deadlines[number % 2])
        os._exit(0)
    seen = set()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        seen.update(status.get()[1] for _ in range(100))
    status.close()
    assert seen <= set(deadlines)


def test_serial_and_workers_agree() -> None:
    """Running here gives what running there gives."""
    several = jobs(5)
    assert dict(Serial(echo).run(several)) == run(echo, several)


def test_a_worker_that_dies_costs_only_its_case() -> None:
    """The case is a failure that names the signal; another worker does the rest."""

    def dies_at_three(job: Job, watch: Watch) -> Observation:
        if ordinal(job) == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        return echo(job, watch)

    seen = run(dies_at_three, jobs(8))
    assert len(seen) == 8
    failure = seen[2].failure
    assert failure is not None
    assert failure.kind == "death"
    assert "SIGSEGV" in failure.message
    assert all(seen[n].failure is None for n in seen if n != 2)


def test_a_worker_that_exits_is_no_pass() -> None:
    """os._exit(0) in the middle of a case is a death, not a success."""

    def leaves(job: Job, watch: Watch) -> Observation:
        os._exit(0)

    failure = run(leaves, jobs(2))[1].failure
    assert failure is not None
    assert failure.kind == "death"


def test_what_was_told_before_a_death_is_known() -> None:
    """Runs that were over are part of the observation, receipts included."""
    done = RunSummary(1, "died", receipts=(Receipt("write(a)#1=kill", "write(a)#1", "SIGKILL"),))

    def tells_and_dies(job: Job, watch: Watch) -> Observation:
        watch.tell((done,))
        os.kill(os.getpid(), signal.SIGKILL)
        return Observation()

    [seen] = run(tells_and_dies, jobs(1)).values()
    assert (seen.runs, seen.struck, seen.reached) == ((done,), ("write(a)#1=kill",), 1)


def stand_still(job: Job, watch: Watch) -> Observation:
    threading.Event().wait()
    return Observation()


def test_a_case_over_its_time_is_killed_and_shows_its_stack() -> None:
    """Hung cases cost their time and no more; the stack says where."""
    seen = run(stand_still, jobs(2, timeout=0.2))
    for observation in seen.values():
        assert observation.failure is not None
        assert observation.failure.kind == "hang"
        assert "stand_still" in observation.failure.text


def test_time_is_given_anew_by_expect() -> None:
    """A case that says that it needs longer gets longer."""

    def slow(job: Job, watch: Watch) -> Observation:
        watch.expect(60)
        threading.Event().wait(1.2)
        return echo(job, watch)

    assert run(slow, jobs(1, timeout=1.0))[0].failure is None


def test_what_a_failed_case_prints_is_kept_with_it() -> None:
    """Output of Python and of what is beneath it, of this case alone."""

    def prints(job: Job, watch: Watch) -> Observation:
        from chaoskit.core.case import CaseFailure

        print(f"case {ordinal(job)}")
        os.write(2, b"from below\n")
        return Observation(failure=CaseFailure("error", "E", "e"))

    seen = run(prints, jobs(2), count=1)
    assert seen[0].output == "case 1\nfrom below\n"
    assert seen[1].output == "case 2\nfrom below\n"


def forks_and_stands(job: Job, watch: Watch) -> Observation:
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            threading.Event().wait()
    threading.Event().wait()
    return Observation()


def test_processes_of_a_hung_case_are_killed_with_it() -> None:
    """Children in sessions of their own too: nothing is left behind."""
    before = children()
    run(forks_and_stands, jobs(1, timeout=0.2))
    assert children() == before


def test_closing_a_batch_ends_its_workers() -> None:
    """An interrupt leaves no process behind, even if every worker is busy."""
    before = children()

    def quick_first(job: Job, watch: Watch) -> Observation:
        return echo(job, watch) if ordinal(job) == 1 else stand_still(job, watch)

    stream = Workers(quick_first, 2, lambda number: None).run(jobs(3))
    next(stream)
    assert children() > before
    stream.close()
    assert children() == before


def test_an_orphan_left_by_a_finished_case_is_killed() -> None:
    """A process that outlives its worker comes to us and is ended."""

    def leaves_a_daemon(job: Job, watch: Watch) -> Observation:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            time.sleep(1000)
        return Observation(struck=(str(pid),))

    [seen] = run(leaves_a_daemon, jobs(1)).values()
    with pytest.raises(ProcessLookupError):
        os.kill(int(seen.struck[0]), 0)


def test_a_worker_that_cannot_start_is_an_error() -> None:
    """Trouble outside any case is raised, not turned into verdicts, and does not loop."""

    def broken(number: int) -> None:
        raise OSError("no room")

    with pytest.raises(RuntimeError, match=r"(?s)outside any case.*no room"):
        list(Workers(echo, 1, broken).run(jobs(2)))


def test_frames_of_the_harness_are_not_shown() -> None:
    """A stack that is shown ends at the test."""
    text = 'Current thread 0x1 (most recent call first):\n  File "/app/a.py", line 1 in f\n'
    harness = '  File "/lib/_pytest/python.py", line 2 in g\n  File "/usr/bin/x.py", line 3 in h\n'
    assert without_harness(text + harness) == text.rstrip("\n")


def test_a_workload_has_nothing_by_which_its_worker_speaks(tmp_path: Path) -> None:
    """It can write to no pipe and into no memory from which the controller would read a pickle."""
    outside = {os.stat(fd).st_ino for fd in open_files() if _is_pipe(fd)}
    controller = os.getpid()
    already = set(_shared_maps())  # Such as the index of a database that another test has not let go of yet.

    def attack() -> list[str]:
        # Objects of other tests may make pipes in each process that is forked: those end there.
        heard = {_inode(f"/proc/{controller}/fd/{fd}") for fd in open_files(controller)}
        pipes = [
            f"pipe {fd}"
            for fd in open_files()
            if _is_pipe(fd) and (found := os.stat(fd).st_ino) not in outside and found in heard
        ]
        return pipes + [line for line in _shared_maps() if line not in already]

    def one(job: Job, watch: Watch) -> Observation:
        ran = KernelBackend().run(attack, Plan(str(tmp_path)))
        return Observation(struck=tuple(ran.value))

    assert {observation.struck for observation in run(one, jobs(3), 2).values()} == {()}


def _inode(path: str) -> int:
    """The inode that a descriptor refers to; 0 if it was closed meanwhile."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _shared_maps() -> list[str]:
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if " rw-s " in line]


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(fd).st_mode)
    except OSError:
        return False
