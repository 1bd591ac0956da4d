"""The notifier: what matters arrives, once, and trouble with it never reaches the job."""

from __future__ import annotations

import os
import threading

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    DeadLetters,
    LetterWatch,
    Notice,
    Notifier,
    ResourceAlert,
    Severity,
    Store,
    Unreachable,
    VirtualClock,
    subscribe,
)
from chaoskit.runtime.guarding.notify import notifier as module


class Kept:
    """A channel that keeps what it is given, after ``trouble`` has been raised."""

    def __init__(self, *trouble: BaseException, least: Severity = Severity.INFO) -> None:
        self.name, self.least = "kept", least
        self.told: list[Notice] = []
        self.tries = 0
        self._trouble = list(trouble)

    def send(self, notification: Notice) -> None:
        self.tries += 1
        if self._trouble:
            raise self._trouble.pop(0)
        self.told.append(notification)

    @property
    def titles(self) -> list[str]:
        return [one.title for one in self.told]


def told(channel, clock=None, **options):
    """A notifier that waits for nothing."""
    return Notifier([channel], clock=clock or VirtualClock(), **options)


def test_what_is_told_arrives():
    """In order, with its fields, and ``close`` waits for it."""
    channel = Kept()
    notifier = told(channel)
    assert notifier.notify("disk is low", "3 GB left", severity=Severity.ERROR, host="node-7")
    assert notifier.notify("second")
    assert notifier.close(30)
    assert channel.titles == ["disk is low", "second"]
    assert channel.told[0].body() == "3 GB left\nhost: node-7"
    assert notifier.statistics().delivered == 2


def test_the_same_key_is_told_once_in_a_while():
    """And the next time with how often it came meanwhile."""
    channel, clock = Kept(), VirtualClock()
    with told(channel, clock, dedupe=300) as notifier:
        for n in range(5):
            notifier.notify(f"try {n}", key="disk")
        notifier.notify("other")
        while notifier.statistics().repeated < 4 or len(channel.told) < 2:
            threading.Event().wait(0.001)
        clock.advance(300)
        notifier.notify("again", key="disk")
    assert channel.titles == ["try 0", "other", "again"]
    assert channel.told[-1].repeated == 4
    assert "4 more times" in channel.told[-1].body()


def test_what_has_become_worse_is_told():
    """It was taken for a repetition, and a channel that carries errors only never heard of it."""
    clock, every, errors = VirtualClock(), Kept(), Kept(least=Severity.ERROR)
    with Notifier([every, errors], clock=clock, dedupe=300) as notifier:
        for severity in (
            Severity.WARNING,
            Severity.WARNING,
            Severity.ERROR,
            Severity.WARNING,
            Severity.ERROR,
        ):
            notifier.notify("disk", severity=severity)
        notifier.notify("disk", severity=Severity.CRITICAL)
    assert [one.severity for one in every.told] == [Severity.WARNING, Severity.ERROR, Severity.CRITICAL]
    assert [one.severity for one in errors.told] == [Severity.ERROR, Severity.CRITICAL]
    assert [one.repeated for one in every.told] == [0, 1, 2]
    assert notifier.statistics().repeated == 3


def test_a_storm_is_held_back_but_not_what_is_critical():
    """And the next one that passes says how many there were."""
    channel, clock = Kept(), VirtualClock()
    with told(channel, clock, rate=2, per=60) as notifier:
        for n in range(9):
            notifier.notify(f"n{n}")
        notifier.notify("fire", severity=Severity.CRITICAL)
        while "fire" not in channel.titles:
            threading.Event().wait(0.001)
        clock.advance(60)
        notifier.notify("later")
        # What was held back was never told, so that it is no repetition either.
        notifier.notify("n8")
    assert channel.titles == ["n0", "n1", "fire", "later", "n8"]
    assert channel.told[2].held_back == 7
    assert notifier.statistics().held_back == 7


def test_trouble_with_telling_is_not_told():
    """A notifier that listens to all events would tell of its own failed retries, and of those, forever."""
    channel = Kept(*(Unreachable("down") for _ in range(9)))
    with told(channel, attempts=2) as notifier:
        with subscribe(notifier.on_event):
            notifier.notify("a")
            assert notifier.close(30)
        assert channel.tries == 2
        assert notifier.statistics().accepted == 1


def test_what_may_pass_is_tried_again_and_what_may_not_is_not():
    """A refused connection, but not a wrong password: repeating that may lock the account."""
    channel = Kept(Unreachable("down"), Unreachable("down"))
    with told(channel, attempts=3) as notifier:
        notifier.notify("a")
    assert (channel.titles, channel.tries) == (["a"], 3)
    wrong = Kept(PermissionError("password"), PermissionError("password"))
    with told(wrong, attempts=3) as notifier:
        notifier.notify("a")
    assert wrong.tries == 1
    assert notifier.statistics().failed == 1


def test_one_channel_that_fails_does_not_silence_the_next(caplog):
    """The failure is logged, without what its text must not tell."""
    bad, good = Kept(ValueError("https://hooks/x?token=hunter2secret")), Kept()
    with Notifier([bad, good], clock=VirtualClock()) as notifier:
        notifier.notify("a")
    assert good.titles == ["a"]
    assert "kept did not take 'a'" in caplog.text
    assert "hunter2secret" not in caplog.text


def test_a_channel_that_hangs_costs_the_job_nothing():
    """``notify`` returns at once, counts what finds no room, and ``close`` gives up in time."""
    over, inside = threading.Event(), threading.Event()

    class Hung(Kept):
        def send(self, notification):
            inside.set()
            over.wait()

    notifier = told(Hung(), room=3)
    notifier.notify("first")
    assert inside.wait(30)
    assert [notifier.notify(f"n{n}") for n in range(5)] == [True, True, True, False, False]
    assert notifier.statistics().dropped == 2
    thread = notifier._thread
    assert thread is not None
    assert not notifier.close(0.05)
    over.set()
    # What was queued behind it is not told any more, and the numbers say so.
    thread.join(30)
    assert notifier.statistics().dropped == 5
    assert notifier.statistics().delivered == 1


def test_nothing_that_is_told_can_hurt():
    """Neither a value that cannot be printed nor a title with line breaks or secrets."""

    class Nasty:
        def __str__(self):
            raise RuntimeError("nasty")

    channel = Kept()
    with told(channel) as notifier:
        assert not notifier.notify("a", value=Nasty())
        assert notifier.notify("a\r\nBcc: all@example.com", "password=hunter2", token="hunter2")
        assert notifier.notify("b" * 10_000, "c" * 100_000, key=["a", "list"])
    first, second = channel.told
    assert first.title == "a Bcc: all@example.com"
    assert "hunter2" not in first.text
    assert (len(second.title), len(second.text)) == (200, 4000)


def test_a_channel_carries_what_matters_enough():
    """What matters less passes it by, and is not a failure."""
    channel = Kept(least=Severity.ERROR)
    with told(channel) as notifier:
        notifier.notify("small", severity=Severity.WARNING)
        notifier.notify("big", severity=Severity.ERROR)
    assert channel.titles == ["big"]


def test_alerts_are_told_and_the_trouble_with_telling_is_not():
    """Subscribed to all events it never tells of its failing tries: each would cause the next."""
    channel = Kept(*[Unreachable("down")] * 3)
    with told(channel, attempts=3) as notifier, subscribe(notifier.on_event):
        event = ResourceAlert(at=0.0, resource="disk", path="/data", value=1.0, limit=2.0)
        notifier.on_event(event)
    assert channel.tries == 3
    assert channel.told == []
    with told(channel) as notifier:
        notifier.on_event(event)
    assert channel.titles == ["resource.alert disk"]
    assert channel.told[0].fields["limit"] == "2.0"


def test_a_forked_child_tells_for_itself():
    """The parent's queue and thread stay with the parent."""
    channel = Kept()
    with told(channel) as notifier:
        notifier.notify("parent")
        child = os.fork()
        if child == 0:
            channel.told.clear()
            sent = notifier.notify("child") and notifier.close(30)
            os._exit(0 if sent and channel.titles == ["child"] else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert channel.titles == ["parent"]


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"per": 0}, {"dedupe": -1}, {"room": 0}])
def test_numbers_that_cannot_be_are_refused(wrong):
    """When it is made."""
    with pytest.raises(UsageError, match="expected"):
        Notifier([], **wrong)


# --- dead letters ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "s.db", durability="process-crash") as store:
        yield store


def dead(store, run, **more):
    return DeadLetters(store).add(
        **{"pipeline": "p", "run_id": run, "error": ValueError("bad"), "attempts": 1, **more}
    )


def test_each_failure_is_told_once(store):
    """Also by another watch after a restart, and again only when it failed again after a redrive."""
    channel = Kept()
    id = dead(store, "r")
    assert LetterWatch(store, told(channel)).look() == 1
    assert LetterWatch(store, told(channel)).look() == 0
    assert channel.titles == ["p: r failed for good"]
    assert channel.told[0].text == "ValueError: bad"
    DeadLetters(store).redrive(id, by="me")
    assert LetterWatch(store, told(channel)).look() == 0
    dead(store, "r", redrive=1)
    assert LetterWatch(store, told(channel)).look() == 1


def test_what_no_channel_took_is_told_the_next_time(store):
    """It is on record as told when it was, and not before."""
    channel = Kept(Unreachable("down"))
    watch = LetterWatch(store, told(channel, attempts=1))
    dead(store, "r")
    assert watch.look() == 0
    assert watch.look() == 1
    assert channel.titles == ["p: r failed for good"]


def test_a_night_of_failures_is_one_message(store):
    """More than a few at once are told together, and none of them alone."""
    channel = Kept()
    for n in range(7):
        dead(store, f"r{n}")
    assert LetterWatch(store, told(channel)).look() == 7
    assert channel.titles == ["7 runs failed for good in p"]
    assert "and 2 more" in channel.told[0].text


def test_the_watch_has_a_thread(store):
    """It tells without being asked, and ends when it is closed."""
    arrived = threading.Event()

    class Telling(Kept):
        def send(self, notification):
            arrived.set()

    with LetterWatch(store, told(Telling()), every=0.01) as watch:
        dead(store, "r")
        assert arrived.wait(30)
        with pytest.raises(UsageError, match="runs already"):
            watch.start()


def test_a_severity_may_be_named():
    """As in a file. It was taken, and lost later; what is none is refused at once, and the job goes on."""
    channel = Kept()
    with told(channel) as notifier:
        assert notifier.notify("a", severity="error")
        assert not notifier.notify("b", severity="urgent")
    assert [(one.title, one.severity) for one in channel.told] == [("a", Severity.ERROR)]


class NoSend:
    name, least = "no send", Severity.INFO


@pytest.mark.parametrize(
    "channels",
    [Kept(), ["mail"], [None], [Kept], [NoSend()], [Kept(least="loud")]],
    ids=["one alone", "text", "none", "class", "no send", "no severity"],
)
def test_what_is_no_channel_is_refused(channels):
    """When the notifier is made: each notification was lost on it, with those for the good channels."""
    with pytest.raises(UsageError, match="expected"):
        Notifier(channels)


def test_closing_takes_no_longer_than_it_may(monkeypatch):
    """Where the queue is full and the channel hangs it waited twice: for room, and for the end."""
    clock, waits = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    def put(*args, timeout=None):
        clock[0] += 7

    notifier = told(Kept())
    notifier.notify("a")
    thread = notifier._thread
    monkeypatch.setattr(notifier._queue, "put", put)
    with monkeypatch.context() as patched:
        patched.setattr(thread, "join", waits.append)
        notifier.close(10)
    assert waits == [3.0]
    monkeypatch.undo()
    notifier._queue.put(None)
    thread.join()
