"""A message is sent if its transaction commits, at least once; the receiver makes it once."""

from __future__ import annotations

import pytest

from chaoskit.runtime import Outbox, OutboxMessage, Store
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.durable.outbox import OUTBOX


def put(outbox: Outbox, store: Store, *keys: str) -> None:
    with store.transaction() as tx:
        for key in keys:
            assert outbox.put("topic", {"n": key}, key=key, tx=tx)


def test_a_message_comes_with_its_transaction(outbox: Outbox, store: Store) -> None:
    """Rolled back, it is never sent; a key that is there already is left as it is."""

    def work() -> None:
        with store.transaction() as tx:
            outbox.put("topic", 1, key="a", tx=tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    put(outbox, store, "b")
    with store.transaction() as tx:
        assert not outbox.put("topic", "other", key="b", tx=tx)
    sent: list[OutboxMessage] = []
    assert outbox.relay(sent.append) == 1
    assert [(one.topic, one.key, one.payload) for one in sent] == [("topic", "b", {"n": "b"})]
    assert outbox.relay(sent.append) == 0


def test_one_that_cannot_be_sent_holds_up_no_other(
    outbox: Outbox, store: Store, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged and tried again after 1, 2, 4 … seconds; the others are sent at once."""
    put(outbox, store, "a", "bad", "c")
    tried: list[float] = []

    def send(message: OutboxMessage) -> None:
        if message.key == "bad":
            tried.append(clock.time())
            raise ConnectionError("refused")

    assert outbox.relay(send) == 2
    assert "message bad could not be sent: refused" in caplog.text
    [waiting] = outbox.pending()
    assert (waiting.key, waiting.attempts, waiting.error) == ("bad", 1, "refused")
    for _ in range(12):
        clock.advance(1)
        assert outbox.relay(send) == 0
    assert [later - tried[0] for later in tried] == [0, 1, 3, 7]


def test_an_interrupted_relay_gives_back_what_it_has(outbox: Outbox, store: Store) -> None:
    """What was sent is noted, what was not is due at once: Ctrl-C loses and doubles nothing."""
    put(outbox, store, "a", "b", "c")
    sent: list[str] = []

    def send(message: OutboxMessage) -> None:
        if message.key == "b" and "b" not in sent:
            sent.append("b")
            raise KeyboardInterrupt
        sent.append(message.key)

    with pytest.raises(KeyboardInterrupt):
        outbox.relay(send)
    assert [one.key for one in outbox.pending()] == ["b", "c"]
    assert outbox.relay(send) == 2
    assert sent == ["a", "b", "b", "c"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_relay_that_was_overtaken_settles_nothing(outbox: Outbox, store: Store, fails: bool) -> None:
    """Another one has its message by now, and has not sent it: it must be neither settled nor given back."""
    put(outbox, store, "a")

    def send(message: OutboxMessage) -> None:
        with store.transaction() as tx:
            tx.change(OUTBOX, "a", status="pending", due=tx.now)
            assert tx.claim(OUTBOX, lease=300)
        if fails:
            raise ConnectionError("refused")

    outbox.relay(send)
    found = store.get(OUTBOX, "a")
    assert found is not None
    assert (found.status, found.fence) == ("running", 2)


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_a_message_waits_five_minutes_at_most(outbox: Outbox, store: Store, clock: VirtualClock) -> None:
    """However often it could not be sent: two to the power of its attempts is soon no float any more."""
    put(outbox, store, "a")
    with store.transaction() as tx:
        tx.execute("update record set attempts = 5000")  # type: ignore[attr-defined]

    def refuse(message: OutboxMessage) -> None:
        raise ConnectionError("refused")

    assert outbox.relay(refuse) == 0
    clock.advance(299)
    assert outbox.relay(lambda message: None) == 0
    clock.advance(1)
    assert outbox.relay(lambda message: None) == 1


def test_once_is_once(outbox: Outbox, store: Store) -> None:
    """Only a transaction that commits counts."""

    def effect(*, fails: bool = False) -> bool:
        with store.transaction() as tx:
            first = outbox.once("key", tx=tx)
            if fails:
                raise ZeroDivisionError
        return first

    with pytest.raises(ZeroDivisionError):
        effect(fails=True)
    assert [effect(), effect(), effect()] == [True, False, False]


def test_purge_forgets_what_is_old(outbox: Outbox, store: Store, clock: VirtualClock) -> None:
    """Sent messages and keys after thirty days; what waits to be sent is never forgotten."""
    put(outbox, store, "a", "b")
    outbox.relay(lambda message: None, limit=1)
    with store.transaction() as tx:
        outbox.once("key", tx=tx)
    assert outbox.purge() == 0
    clock.advance(31 * 86400)
    assert outbox.purge() == 2
    assert [one.key for one in outbox.pending()] == ["b"]
