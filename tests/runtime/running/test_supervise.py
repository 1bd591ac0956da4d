"""A dead thread is noticed, restarted within limits or reported; a stuck one is shown with all stacks."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import context
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.running.restarts import Deaths, Restart, SupervisionOptions
from chaoskit.runtime.running.stacks import all_stacks
from chaoskit.runtime.running.supervise import (
    Supervisor,
    SuspectedDeadlock,
    ThreadDied,
    ThreadGivenUp,
    ThreadRestarted,
    ThreadStuck,
    Worker,
    join_all,
)

pytestmark = pytest.mark.filterwarnings("error")


class Told:
    """Events, and a way to wait for one without sleeping."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        self._arrived.put(event)

    def wait_for(self, kind: type) -> Any:
        while True:
            event = self._arrived.get(timeout=30)
            if isinstance(event, kind):
                return event


def watching(told: Told, clock: VirtualClock | None = None, **options: Any) -> Supervisor:
    options.setdefault("check_every", 3600.0)
    full = SupervisionOptions(**{"delay": 0.0, **options})
    return Supervisor(full, listeners=[told], clock=clock or VirtualClock())


def test_a_dead_thread_runs_again() -> None:
    """A thread that raises is started again, in the context it was spawned in, and may then go on."""
    told, second = Told(), threading.Event()
    ids: list[str | None] = []

    def work(worker: Worker) -> None:
        ids.append(context.correlation_id())
        if worker.restarts == 0:
            raise OSError("share went away")
        second.set()
        worker.stop.wait(30)

    with watching(told) as supervisor:
        with context.operation("watch", correlation_id="mine"):
            worker = supervisor.spawn("finder", work)
        assert second.wait(30)
        assert worker.restarts == 1
        assert told.wait_for(ThreadRestarted).thread == "finder"
    assert ids == ["mine", "mine"]
    died = next(e for e in told.events if isinstance(e, ThreadDied))
    assert isinstance(died.error, OSError)


def test_restarting_has_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    """A thread that dies again and again is given up, reported, and handed to on_give_up."""
    told, given_up = Told(), threading.Event()
    runs: list[int] = []

    def work(worker: Worker) -> None:
        runs.append(1)
        raise OSError

    options = SupervisionOptions(restarts=3, delay=0.0, check_every=3600.0)
    supervisor = Supervisor(
        options, listeners=[told], clock=VirtualClock(), on_give_up=lambda worker: given_up.set()
    )
    with supervisor:
        worker = supervisor.spawn("finder", work)
        assert given_up.wait(30)
    assert len(runs) == 4
    assert worker.given_up
    assert isinstance(told.wait_for(ThreadGivenUp).error, OSError)
    assert "thread finder is not started again" in caplog.text


def test_deaths_of_long_ago_do_not_count() -> None:
    """The limit is for deaths within the period; a thread that dies once an hour goes on forever."""
    told, clock = Told(), VirtualClock()
    die = [threading.Event() for _ in range(6)]

    def work(worker: Worker) -> None:
        if worker.restarts < 6:
            die[worker.restarts].wait(30)
            raise OSError

    with watching(told, clock, restarts=1, within=60.0) as supervisor:
        worker = supervisor.spawn("finder", work)
        for event in die:
            event.set()
            told.wait_for(ThreadRestarted)
            clock.advance(61)
    assert worker.restarts == 6
    assert not worker.given_up


@pytest.mark.parametrize(
    ("rule", "raises", "restarts"),
    [
        (Restart.ON_ERROR, False, 0),
        (Restart.ALWAYS, False, 2),
        (Restart.ALWAYS, True, 2),
        (Restart.NEVER, True, 0),
    ],
)
def test_the_rule_says_when(rule: Restart, raises: bool, restarts: int) -> None:
    """on-error restarts after errors only, always after any end, never reports and leaves it."""
    told = Told()

    def work(worker: Worker) -> None:
        if raises:
            raise OSError

    with watching(told, restart=rule, restarts=2) as supervisor:
        worker = supervisor.spawn("finder", work)
        told.wait_for(ThreadGivenUp if raises or rule is Restart.ALWAYS else ThreadDied)
    assert worker.restarts == restarts


def test_system_exit_ends_a_thread_as_a_return_does() -> None:
    """sys.exit() in a thread is not an error."""
    told = Told()

    def work(worker: Worker) -> None:
        raise SystemExit

    with watching(told) as supervisor:
        supervisor.spawn("finder", work)
        assert told.wait_for(ThreadDied).error is None


def test_a_thread_that_died_without_a_word_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If even the end of a thread is not reported, the next check finds it dead and restarts it."""
    told = Told()

    class Silent(Supervisor):
        def _run(self, worker: Worker) -> None:
            """As if the thread had been ended from C, without any Python code of ours."""

    options = SupervisionOptions(restart=Restart.ALWAYS, restarts=1, delay=0.0, check_every=3600.0)
    with Silent(options, listeners=[told], clock=VirtualClock()) as supervisor:
        worker = supervisor.spawn("finder", lambda w: None)
        for _ in range(2):
            if worker.thread is not None:
                worker.thread.join(30)
            supervisor.check()
    assert [type(e) for e in told.events] == [ThreadDied, ThreadRestarted, ThreadDied, ThreadGivenUp]


def test_a_silent_thread_is_reported_once_with_all_stacks(caplog: pytest.LogCaptureFixture) -> None:
    """A thread without a sign of life is reported as stuck, once, until it gives one again."""
    told, clock = Told(), VirtualClock()
    inside = threading.Event()

    def waits_for_ever(worker: Worker) -> None:
        inside.set()
        worker.stop.wait(30)

    with watching(told, clock, stuck_after=10.0) as supervisor:
        worker = supervisor.spawn("finder", waits_for_ever)
        assert inside.wait(30)
        clock.advance(9)
        supervisor.check()
        assert told.events == []
        clock.advance(1)
        supervisor.check()
        supervisor.check()
        assert [type(e) for e in told.events] == [ThreadStuck]
        assert told.events[0].silent == 10.0
        assert "waits_for_ever" in told.events[0].stacks
        worker.beat()
        clock.advance(10)
        supervisor.check()
        assert len(told.events) == 2
    assert "finder has been silent" in caplog.text


def test_a_real_deadlock_is_reported_with_both_stacks() -> None:
    """Two threads that wait for one another's lock: the join ends and shows where both are."""
    a, b = threading.Lock(), threading.Lock()
    meet = threading.Barrier(2)
    release = threading.Event()

    def holds_a_wants_b(worker: Worker) -> None:
        with a:
            meet.wait(30)
            while not b.acquire(timeout=0.01):
                if release.is_set():
                    return

    def holds_b_wants_a(worker: Worker) -> None:
        with b:
            meet.wait(30)
            while not a.acquire(timeout=0.01):
                if release.is_set():
                    return

    supervisor = watching(Told(), join_timeout=0.2)
    supervisor.__enter__()
    workers = [supervisor.spawn("one", holds_a_wants_b), supervisor.spawn("two", holds_b_wants_a)]
    threads = [w.thread for w in workers if w.thread is not None]
    with pytest.raises(SuspectedDeadlock) as caught:
        Supervisor.join(supervisor, 0.1)
    release.set()
    join_all(threads, 30)
    supervisor.__exit__(None, None, None)
    assert caught.value.threads == ("one", "two")
    assert "holds_a_wants_b" in str(caught.value)
    assert "holds_b_wants_a" in caught.value.stacks


def test_the_blocks_error_wins_over_the_deadlock(caplog: pytest.LogCaptureFixture) -> None:
    """If the block raises and a thread hangs too, the block's error passes and the deadlock is logged."""
    release, inside = threading.Event(), threading.Event()

    def hangs(worker: Worker) -> None:
        inside.set()
        release.wait(30)

    def program() -> None:
        with watching(Told(), join_timeout=0.01) as supervisor:
            supervisor.spawn("finder", hangs)
            inside.wait(30)
            raise KeyError("mine")

    with caplog.at_level(logging.ERROR), pytest.raises(KeyError, match="mine"):
        program()
    release.set()
    assert "suspected deadlock: finder" in caplog.text


def test_the_watcher_survives_its_listeners() -> None:
    """A listener that ends its thread with SystemExit does not end the supervisor: restarts go on."""
    again = threading.Event()

    def hostile(event: Any) -> None:
        if isinstance(event, ThreadRestarted):
            raise SystemExit

    def work(worker: Worker) -> None:
        if worker.restarts < 2:
            raise OSError
        again.set()

    options = SupervisionOptions(delay=0.0, check_every=3600.0)
    with Supervisor(options, listeners=[hostile], clock=VirtualClock()) as supervisor:
        supervisor.spawn("finder", work)
        assert again.wait(30)


def test_without_a_thread_to_start_the_worker_is_given_up() -> None:
    """When the machine has no thread left for a restart, that is reported like any other end."""
    told = Told()

    class Starved(Supervisor):
        def _start(self, worker: Worker) -> None:
            if worker.restarts:
                raise RuntimeError("can't start new thread")
            super()._start(worker)

    def work(worker: Worker) -> None:
        raise OSError

    options = SupervisionOptions(delay=0.0, check_every=3600.0)
    with Starved(options, listeners=[told], clock=VirtualClock()) as supervisor:
        worker = supervisor.spawn("finder", work)
        assert "can't start" in str(told.wait_for(ThreadGivenUp).error)
    assert worker.given_up


def test_nobody_is_restarted_while_the_program_ends() -> None:
    """A thread that fails after stop is set stays dead."""
    told = Told()

    def work(worker: Worker) -> None:
        worker.stop.wait(30)
        raise OSError

    with watching(told) as supervisor:
        worker = supervisor.spawn("finder", work)
    assert worker.restarts == 0
    assert not worker.given_up
    assert [type(e) for e in told.events] == [ThreadDied]


def test_wrong_use_says_what_to_do() -> None:
    """Spawning outside the block, a name twice, and senseless limits are refused."""
    supervisor = watching(Told())
    with pytest.raises(UsageError, match="Enter it first"):
        supervisor.spawn("a", lambda w: None)
    with supervisor:
        supervisor.spawn("a", lambda w: w.stop.wait(30))
        with pytest.raises(UsageError, match="not in use"):
            supervisor.spawn("a", lambda w: None)
    for wrong in ({"restarts": -1}, {"within": 0}, {"check_every": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            SupervisionOptions(**wrong)  # type: ignore[arg-type]


def test_arguments_are_passed_on() -> None:
    """spawn() gives its further arguments to the function."""
    seen: list[tuple[int, str]] = []
    told = Told()

    def work(worker: Worker, number: int, *, name: str) -> None:
        seen.append((number, name))

    with watching(told) as supervisor:
        supervisor.spawn("a", lambda worker: work(worker, 1, name="x"))
        supervisor.spawn("b", work, 2)  # fails: name is missing, and is reported
        assert isinstance(told.wait_for(ThreadGivenUp).error, TypeError)
    assert seen == [(1, "x")]


def test_a_thread_does_not_wait_for_itself() -> None:
    """join_all() passes over the calling thread."""
    join_all([threading.current_thread()], 0.0)


def test_all_stacks_show_every_thread() -> None:
    """Each thread's name and innermost call are there, however deep the recursion."""
    inside, release = threading.Event(), threading.Event()

    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        else:
            inside.set()
            release.wait(30)

    thread = threading.Thread(target=dive, args=(300,), name="diver")
    thread.start()
    inside.wait(30)
    stacks = all_stacks()
    release.set()
    thread.join()
    assert "Thread diver" in stacks
    assert "release.wait" in stacks
    assert "test_all_stacks_show_every_thread" in stacks


def test_a_death_no_longer_counts_once_the_window_is_over() -> None:
    """To the moment: one restart in ten seconds may be used again after ten seconds."""
    deaths = Deaths(SupervisionOptions(restarts=1, within=10.0, delay=0.5))
    assert deaths.pause(0.0) == 0.5
    assert deaths.pause(10.0) == 0.5
    assert deaths.pause(19.9) is None
