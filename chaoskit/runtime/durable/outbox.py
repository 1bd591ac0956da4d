"""The outbox: a message is written in the same transaction as the change it reports, and sent afterwards.

Sending within a transaction may report a change that is rolled back. Sending after it loses the message if
the process is killed in between. A row in the same transaction avoids both. A message is sent at least once;
a receiver that calls :meth:`Outbox.once` in the transaction of its result handles it exactly once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from chaoskit.runtime.calling.callables import called, synchronous
from chaoskit.runtime.durable.recorded import record_error
from chaoskit.runtime.durable.store.protocol import Kind, Record, Storage, Tx, checked

__all__ = ["OUTBOX", "OutboxMessage", "Outbox"]

OUTBOX = Kind("outbox")
SEEN = Kind("seen")
LEASE = 300.0
"""Seconds after which a relay on another machine counts as dead if it has not settled its messages."""
LONGEST = 300.0
"""The longest wait between two attempts, in seconds."""
KEEP = 30 * 86400.0
"""Seconds for which sent messages and the keys of :meth:`Outbox.once` are kept by default."""

logger = logging.getLogger("chaoskit")


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message to be sent. ``key`` is its identity: a receiver that has seen the key drops the message.

    ``created`` is in seconds since the epoch. ``attempts`` counts the sends before this one, and ``error`` is
    the message of the last one that failed.
    """

    topic: str
    key: str
    payload: Any
    created: float = 0.0
    attempts: int = 0
    error: str = ""


class Outbox:
    """The messages of one store. Threads and processes may share it."""

    def __init__(self, store: Storage) -> None:
        self._store = checked(store)

    def put(self, topic: str, payload: Any, *, key: str, tx: Tx) -> bool:
        """Have the message sent if, and only if, ``tx`` commits; return False if its key exists already.

        Raises:
            CheckpointError: the store cannot hold the payload.
        """
        # ``add``, so that writing the same message again in a repeated transaction changes nothing.
        return tx.add(OUTBOX, key, {"topic": topic, "payload": payload}, status="pending", due=tx.now)

    def relay(self, send: Callable[[OutboxMessage], object], *, limit: int = 100) -> int:
        """Call ``send`` for up to ``limit`` messages that are due; return how many it accepted.

        Several relays may run at once: each message goes to one of them. A message whose ``send`` raises is
        logged and stays in the store; it is due again after 1 s, then 2, 4 … 300. It does not hold up the
        others. A message whose relay is killed is sent again, so ``send`` may see a key twice.

        Raises:
            UsageError: ``send`` is not a function, or an async one, whose call would send nothing.
        """
        synchronous("send", send, optional=False)
        # Claimed first, then sent outside the transaction: a send may take seconds, and no other write should
        # have to wait for it.
        claimed = self._store.write(lambda tx: tx.claim(OUTBOX, lease=LEASE, limit=limit))
        sent: list[Record] = []
        failed: dict[str, str] = {}
        try:
            for record in claimed:
                try:
                    called("send", send, _message(record, record.attempts - 1))
                # One receiver that is down must not hold up the messages to all others.
                except Exception as error:
                    logger.warning("message %s could not be sent: %s", record.key, error)
                    failed[record.key] = record_error(error)["message"]
                else:
                    sent.append(record)
        finally:
            # After Ctrl-C too: note the messages that were sent, and release the others.
            self._store.write(lambda tx: _settle(tx, claimed, sent, failed))
        return len(sent)

    def pending(self) -> Iterator[OutboxMessage]:
        """The messages that have not been sent, by key. No read is held open between two pages."""
        after = None
        while True:
            page = self._store.find(OUTBOX, live=True, after=after)
            yield from (_message(record, record.attempts) for record in page.records)
            after = page.next
            if after is None:
                return

    def once(self, key: str, *, tx: Tx) -> bool:
        """Return True until a transaction with this ``key`` has committed; False from then on.

        Call it in the transaction of the result, so that a message that arrives twice has one effect.
        """
        return tx.add(SEEN, key, None, status="seen")

    def purge(self, *, keep: float = KEEP) -> int:
        """Forget messages sent and keys of ``once`` noted more than ``keep`` seconds ago; return how many.

        ``keep`` must exceed the time that a message can be in transit: a forgotten key counts as new.
        """
        # One limit for both: a key is needed for as long as its message may still arrive.
        before = self._store.now() - keep
        gone = 0
        for kind, status in ((OUTBOX, "sent"), (SEEN, "seen")):
            while True:
                some = self._store.write(
                    lambda tx, kind=kind, status=status: tx.purge(kind, status=status, updated_before=before)  # type: ignore[misc]
                )
                gone += some
                if some < 1000:  # the most that one call removes
                    break
        return gone


def _settle(tx: Tx, claimed: list[Record], sent: list[Record], failed: dict[str, str]) -> None:
    # The fence keeps a relay that was overtaken from marking as sent what another relay is sending.
    done = {record.key for record in sent}
    for record in claimed:
        if record.key in done:
            tx.change(OUTBOX, record.key, status="sent", fence=record.fence)
            continue
        # Doubling, up to five minutes: soon after a blip, and gently while a receiver is down for the night.
        # The exponent is bounded, since a float overflows after a thousand attempts.
        wait = min(2.0 ** min(record.attempts - 1, 20), LONGEST) if record.key in failed else 0.0
        value = {**record.value, "error": failed.get(record.key, "")}
        due = tx.now + wait
        tx.change(OUTBOX, record.key, status="pending", value=value, due=due, fence=record.fence)


def _message(record: Record, attempts: int) -> OutboxMessage:
    value = record.value
    return OutboxMessage(
        value["topic"], record.key, value["payload"], record.created, attempts, value.get("error", "")
    )
