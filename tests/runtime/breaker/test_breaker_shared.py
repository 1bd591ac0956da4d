"""State shared between processes: edges travel, trouble with the store stays out of every call."""

from __future__ import annotations

import inspect
import logging
import os
import threading
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    BreakerLink,
    BreakerReason,
    BreakerState,
    BreakerStoreFailed,
    CircuitBreaker,
    SharedRecord,
)
from chaoskit.runtime.clock import VirtualClock


class Store:
    """A store in memory, as the protocol asks for it, on a clock of its own."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.records: dict[str, tuple[float | None, int, str]] = {}
        self.operations: list[str] = []
        self.broken: Exception | None = None
        self.changed = threading.Condition()

    def _operation(self, name: str) -> None:
        with self.changed:
            self.operations.append(name)
            self.changed.notify_all()
        if self.broken is not None:
            raise self.broken

    def publish(self, breaker: str, open_for: float | None, origin: str) -> int:
        self._operation("publish")
        revision = self.records[breaker][1] + 1 if breaker in self.records else 1
        until = None if open_for is None else self.clock.monotonic() + open_for
        self.records[breaker] = (until, revision, origin)
        return revision

    def read(self, breaker: str) -> SharedRecord | None:
        self._operation("read")
        if breaker not in self.records:
            return None
        until, revision, origin = self.records[breaker]
        left = None if until is None else max(0.0, until - self.clock.monotonic())
        return SharedRecord(left, revision, origin)


class Process:
    """One process's side: a link without its thread, and a breaker."""

    def __init__(self, store: Store, clock: VirtualClock) -> None:
        self.told: list[Any] = []
        self.link = BreakerLink(store, every=3600.0)
        # Rounds are made by hand here: no thread.
        self.link.start = lambda: None  # type: ignore[method-assign]
        self.breaker = CircuitBreaker(
            failures=1, open_for=10.0, name="db", clock=clock, listeners=[self.told.append], shared=self.link
        )

    def fail(self) -> None:
        """One failing call."""

        def down() -> None:
            raise ConnectionError

        with pytest.raises(ConnectionError):
            self.breaker.call(down)

    @property
    def reasons(self) -> list[BreakerReason]:
        """Why the breaker moved, so far."""
        return [event.reason for event in self.told if event.name == "breaker.changed"]


@pytest.fixture
def clock() -> VirtualClock:
    """Time for all processes and the store."""
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> Store:
    """An empty store."""
    return Store(clock)


@pytest.fixture
def pair(store: Store, clock: VirtualClock) -> tuple[Process, Process]:
    """Two processes that share a breaker."""
    return Process(store, clock), Process(store, clock)


def test_an_open_breaker_opens_the_others_for_the_rest(
    pair: tuple[Process, Process], clock: VirtualClock
) -> None:
    """What one process opened is open in the others for what is left, and closes everywhere together."""
    one, two = pair
    one.fail()
    clock.advance(4.0)
    one.link.sync()
    two.link.sync()
    assert two.breaker.state is BreakerState.OPEN
    assert two.reasons == [BreakerReason.SHARED]
    clock.advance(5.9)
    assert two.breaker.state is BreakerState.OPEN
    clock.advance(0.1)
    assert one.breaker.state is two.breaker.state is BreakerState.HALF_OPEN
    assert two.breaker.call(lambda: "value") == "value"
    two.link.sync()
    one.link.sync()
    assert one.breaker.state is BreakerState.CLOSED
    assert one.reasons == [BreakerReason.FAILURES, BreakerReason.SHARED]


def test_news_is_taken_once(pair: tuple[Process, Process], clock: VirtualClock) -> None:
    """A record already seen changes nothing again: a local reset is not undone by the next round."""
    one, two = pair
    one.fail()
    one.link.sync()
    two.link.sync()
    two.breaker.reset()
    two.link.sync()
    assert two.breaker.state is BreakerState.CLOSED
    one.link.sync()
    assert one.breaker.state is BreakerState.CLOSED


def test_ones_own_record_is_no_news(pair: tuple[Process, Process], clock: VirtualClock) -> None:
    """Reading back what it published itself moves nothing."""
    one, _ = pair
    one.fail()
    one.link.sync()
    clock.advance(10.0)
    one.breaker.call(lambda: None)
    one.link.sync()
    one.link.sync()
    assert one.reasons == [BreakerReason.FAILURES, BreakerReason.PERIOD_OVER, BreakerReason.PROBES_SUCCEEDED]


def test_an_edge_taken_from_others_is_not_published_again(
    pair: tuple[Process, Process], store: Store
) -> None:
    """Two processes do not echo each other's edges forever."""
    one, two = pair
    one.fail()
    for _ in range(3):
        one.link.sync()
        two.link.sync()
    assert store.operations.count("publish") == 1


def test_half_open_is_each_process_s_own(
    pair: tuple[Process, Process], store: Store, clock: VirtualClock
) -> None:
    """Going half-open is not published, so that one process's probe does not close another's breaker."""
    one, two = pair
    one.fail()
    one.link.sync()
    two.link.sync()
    clock.advance(10.0)
    one.breaker.call(lambda: one.link.sync())
    assert store.operations.count("publish") == 1


def test_an_open_period_that_is_over_is_no_news(store: Store, clock: VirtualClock) -> None:
    """A process that starts later does not open for a period that has passed."""
    first = Process(store, clock)
    first.fail()
    first.link.sync()
    clock.advance(10.0)
    late = Process(store, clock)
    late.link.sync()
    assert late.breaker.state is BreakerState.CLOSED


def test_a_failing_store_is_reported_and_tried_again(
    pair: tuple[Process, Process], store: Store, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """While the store fails each process goes on by itself; the newest edge is published when it is back."""
    one, two = pair
    store.broken = OSError("down")
    with caplog.at_level(logging.WARNING, "chaoskit"):
        one.fail()
        one.link.sync()
    failed = [event for event in one.told if isinstance(event, BreakerStoreFailed)]
    assert [(event.action, event.breaker, event.error, event.at) for event in failed] == [
        ("publish", "db", store.broken, 0.0),
        ("read", "db", store.broken, 0.0),
    ]
    said = [text for text in caplog.messages if text.startswith("breaker db")]
    assert said[0] == "breaker db: shared store failed to publish: OSError('down')"
    assert one.breaker.state is BreakerState.OPEN
    store.broken = None
    clock.advance(3.0)
    one.link.sync()
    two.link.sync()
    assert two.breaker.state is BreakerState.OPEN
    assert store.records["db"][0] == 10.0


def test_an_edge_that_came_while_the_store_failed_is_the_one_to_publish(
    pair: tuple[Process, Process], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before it is out of date by then, and must not take its place."""
    one, _ = pair
    one.fail()

    def fails(breaker: str, open_for: float | None, origin: str) -> int:
        one.breaker.reset()
        raise OSError("down")

    monkeypatch.setattr(store, "publish", fails)
    one.link.sync()
    monkeypatch.undo()
    one.link.sync()
    assert one.breaker.state is BreakerState.CLOSED
    assert store.records["db"][0] is None


def test_an_older_record_does_not_undo_an_edge_not_yet_published(
    pair: tuple[Process, Process], store: Store
) -> None:
    """What others published before waits until the own, newer edge is out."""
    one, two = pair
    one.breaker.force_open()
    one.breaker.reset()
    one.link.sync()
    two.fail()
    publish = store.publish

    def broken(*_: Any) -> int:
        raise OSError

    store.publish = broken  # type: ignore[method-assign]
    two.link.sync()
    assert two.breaker.state is BreakerState.OPEN
    store.publish = publish  # type: ignore[method-assign]
    two.link.sync()
    one.link.sync()
    assert one.breaker.state is BreakerState.OPEN


def test_a_probe_is_not_cut_by_a_record_already_seen(clock: VirtualClock) -> None:
    """A store whose clock is a little slow does not close the door again on a probe in progress."""
    slow = VirtualClock()
    store = Store(slow)
    one, two = Process(store, clock), Process(store, clock)
    one.fail()
    one.link.sync()
    two.link.sync()
    clock.advance(10.0)
    slow.advance(9.9)
    two.breaker.call(two.link.sync)
    assert two.reasons == [BreakerReason.SHARED, BreakerReason.PERIOD_OVER, BreakerReason.PROBES_SUCCEEDED]


def test_short_rests_count_and_ended_ones_do_not(clock: VirtualClock, store: Store) -> None:
    """Half a second left is half a second; an edge published after its period says zero, not less."""
    one, two = Process(store, clock), Process(store, clock)
    one.fail()
    clock.advance(9.5)
    one.link.sync()
    two.link.sync()
    assert two.breaker.state is BreakerState.OPEN
    three = Process(store, clock)
    three.fail()
    clock.advance(99.0)
    three.link.sync()
    record = store.read("db")
    assert record == SharedRecord(0.0, 2, three.link._origin)


def test_forced_states_stay_at_home(pair: tuple[Process, Process], store: Store) -> None:
    """Forcing is an operator's act on one process: it is neither published nor undone by news."""
    one, two = pair
    two.breaker.force_open()
    two.link.sync()
    assert store.operations.count("publish") == 0
    one.fail()
    one.link.sync()
    two.link.sync()
    assert two.breaker.state is BreakerState.FORCED_OPEN


def test_the_thread_carries_edges(store: Store, clock: VirtualClock) -> None:
    """With its thread, the first call starts the link, an edge wakes it at once, close ends it."""
    link = BreakerLink(store, every=0.01)
    breaker = CircuitBreaker(failures=1, name="db", clock=clock, shared=link)
    assert link._thread is None
    assert breaker.call(lambda: 1) == 1
    assert link._thread is not None
    assert breaker.machine.fast is not None
    breaker.force_open()
    breaker.reset()
    with store.changed:
        assert store.changed.wait_for(lambda: "publish" in store.operations, 10)
    link.close()
    assert not link._thread.is_alive()
    breaker.call(lambda: 1)


def test_the_thread_looks_for_news_by_itself(store: Store, clock: VirtualClock) -> None:
    """Without any edge here, what others publish arrives within the interval."""
    link = BreakerLink(store, every=0.01)
    arrived = threading.Event()
    breaker = CircuitBreaker(name="db", clock=clock, shared=link, listeners=[lambda event: arrived.set()])
    breaker.call(lambda: 1)
    store.publish("db", 10.0, "somebody else")
    assert arrived.wait(10)
    assert breaker.state is BreakerState.OPEN
    link.close()


def test_the_thread_is_a_named_daemon_and_there_is_one(store: Store) -> None:
    """The process may end without it, people find it by name, and a closed link starts none."""
    link = BreakerLink(store)
    link.start()
    thread = link._thread
    assert thread is not None
    assert (thread.name, thread.daemon) == ("chaoskit-breaker-link", True)
    link.start()
    assert link._thread is thread
    link.close()
    closed = BreakerLink(store)
    closed.close()
    closed.start()
    assert closed._thread is None


def test_closing_does_not_wait_for_ever_for_a_hanging_store(store: Store, clock: VirtualClock) -> None:
    """A store that hangs holds up close for the given time, not more."""
    hanging, let_go = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        hanging.set()
        let_go.wait(30)

    store.read = hang  # type: ignore[method-assign]
    link = BreakerLink(store, every=0.001)
    breaker = CircuitBreaker(name="db", clock=clock, shared=link)
    breaker.call(lambda: 1)
    assert hanging.wait(10)
    link.close(timeout=0.01)
    assert link._thread is not None
    assert link._thread.is_alive()
    let_go.set()
    link._thread.join(10)


def test_without_threads_the_breaker_goes_on_alone(
    store: Store, clock: VirtualClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no thread can be started the call is made all the same, and the next edge tries again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    link = BreakerLink(store, every=3600.0)
    breaker = CircuitBreaker(name="db", clock=clock, shared=link)
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "chaoskit"):
        patched.setattr(threading.Thread, "start", refuse)
        assert breaker.call(lambda: "value") == "value"
    assert caplog.messages == ["breakers go on without their shared store: can't start new thread"]
    assert link._thread is None
    breaker.force_open()
    breaker.reset()
    assert link._thread is not None
    link.close()
    assert store.records["db"][0] is None


def test_what_is_no_record_is_a_failure_of_the_store(pair: tuple[Process, Process], store: Store) -> None:
    """A store that answers with something else is reported, and the thread lives on."""
    one, _ = pair
    store.read = lambda name: "closed"  # type: ignore[assignment,method-assign,return-value]
    one.link.sync()
    (event,) = one.told
    assert (event.action, type(event.error)) == ("read", AttributeError)


def test_the_last_edge_is_published_on_close(store: Store, clock: VirtualClock) -> None:
    """What was noted before close is in the store after it."""
    link = BreakerLink(store, every=3600.0)
    breaker = CircuitBreaker(failures=1, name="db", clock=clock, shared=link)
    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 / 0)
    link.close()
    assert store.records["db"][0] == 60.0


def test_defaults_are_those_of_the_documents() -> None:
    """News within a second, and five seconds to publish the last edge at the end."""
    assert inspect.signature(BreakerLink).parameters["every"].default == 1.0
    assert inspect.signature(BreakerLink.close).parameters["timeout"].default == 5.0


def test_in_a_child_everything_begins_anew(store: Store, clock: VirtualClock) -> None:
    """What a forked child does: no thread, no pending edges, another origin, the next call starts it."""
    process = Process(store, clock)
    process.fail()
    process.breaker.reset()
    process.breaker.call(lambda: 1)
    origin = process.link._origin
    process.link._after_fork()
    process.breaker._after_fork()
    assert (process.link._thread, process.link._pending) == (None, {})
    assert process.link._origin != origin
    assert process.breaker.machine.fast is None
    started: list[bool] = []
    process.link.start = lambda: started.append(True)  # type: ignore[method-assign]
    process.breaker.call(lambda: 1)
    process.breaker.call(lambda: 1)
    assert started == [True]
    assert process.breaker.machine.fast is not None
    process.link.close()
    process.link._after_fork()
    del process.link.start
    process.link.start()
    assert process.link._thread is None


def test_a_breaker_without_a_link_stays_fast_after_a_fork() -> None:
    """Without a link nothing has to be started, and the first call in a child is a plain one."""
    breaker = CircuitBreaker()
    breaker._after_fork()
    assert breaker.machine.fast is not None


def test_names_are_unique_per_link(store: Store) -> None:
    """Two breakers of one name on one link would overwrite each other, so the second is refused."""
    link = BreakerLink(store)
    first = CircuitBreaker(name="db", shared=link)
    with pytest.raises(UsageError) as caught:
        CircuitBreaker(name="db", shared=link)
    assert str(caught.value) == "name is 'db' (str); expected a name that no other breaker of this link has."
    assert first.state is BreakerState.CLOSED
    CircuitBreaker(name="cache", shared=link)


@pytest.mark.parametrize("every", [0, -1, float("inf"), float("nan")])
def test_a_wrong_interval_is_refused(store: Store, every: float) -> None:
    """The interval must be seconds that a thread can wait."""
    with pytest.raises(UsageError) as caught:
        BreakerLink(store, every=every)
    assert (
        str(caught.value) == f"every is {every!r} ({type(every).__name__}); expected seconds, more than zero."
    )
    BreakerLink(store, every=threading.TIMEOUT_MAX)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_starts_its_own_thread_and_origin(store: Store, clock: VirtualClock) -> None:
    """After a fork the first call in the child starts the link anew, as a publisher of its own."""
    process = Process(store, clock)
    del process.link.start
    process.fail()
    parent = process.link._origin
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert process.link._thread is None
            assert not process.link._pending
            assert process.link._origin != parent
            process.breaker.reset()
            assert process.breaker.call(lambda: 1) == 1
            assert process.link._thread is not None
            assert process.link._thread.is_alive()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    process.link.close()
