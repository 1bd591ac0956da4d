"""The dead letters of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.context import correlation_id as current_correlation_id
from chaoskit.runtime.durable.dead_letters.origins import Origin, revive
from chaoskit.runtime.durable.dead_letters.records import (
    DEAD,
    UNRESOLVED,
    DeadLetter,
    DeadLetterStatistics,
    Failed,
    RedriveLimit,
    RedrivePlan,
    letter_of,
    pipeline_of,
)
from chaoskit.runtime.durable.outbox import Outbox, OutboxMessage
from chaoskit.runtime.durable.recorded import fingerprint, record_error
from chaoskit.runtime.durable.store.codec import in_utf8
from chaoskit.runtime.durable.store.protocol import Page, Record, Storage, Tx, checked
from chaoskit.runtime.numbers import is_number, is_whole

__all__ = ["DeadLetters"]

T = TypeVar("T")

SWEEP = 3600.0
"""Seconds, at least, between two purges that ``add`` makes."""
PAGE = 1000


class DeadLetters:
    """The runs that failed for good. Resolved letters are kept for ``keep`` seconds, others forever.

    Letters are settled records: any number of them leaves the remaining work as fast as it was. A redrive
    puts a message into the outbox, or revives the record that the letter is about, in the transaction that
    changes the letter. So no run is lost or started twice, whenever a process is killed.

    A letter may be redriven ``max_redrives`` times. It is poison, and no longer redriven, once
    ``poison_after`` redrives in a row have failed with the same error as the failure before them.

    Raises:
        UsageError: a limit is out of range.
    """

    def __init__(
        self, store: Storage, *, keep: float = 90 * 86400.0, max_redrives: int = 3, poison_after: int = 3
    ) -> None:
        counts = (max_redrives, poison_after)
        if not (is_number(keep) and keep >= 0 and all(is_whole(one) and one >= 1 for one in counts)):
            raise wrong(
                "keep, max_redrives, poison_after",
                (keep, max_redrives, poison_after),
                "seconds, at least 0, and two numbers of at least 1",
            )
        self._store, self._keep = checked(store), keep
        self._max_redrives, self._poison_after = max_redrives, poison_after
        self._swept: float | None = None

    def add(
        self,
        *,
        pipeline: str,
        run_id: str,
        error: BaseException | Mapping[str, Any],
        payload: Any = None,
        attempts: int,
        history: Sequence[Mapping[str, Any]] = (),
        session: str = "",
        subject: str = "",
        correlation_id: str | None = None,
        redrive: int = 0,
        origin: Origin | None = None,
        tx: Tx | None = None,
    ) -> str:
        """Keep one final failure; return the id of its letter.

        Idempotent: reporting a failure again, with the same (pipeline, run id, redrive, attempts), changes
        nothing. A later failure of the same run opens its letter again; if that letter is resolved, the
        failure gets a new one. ``redrive`` is the number in the key of the message that failed, or 0 if the
        run was never redriven. On a full disk the store gives up its reserve for the letter.

        Raises:
            CheckpointError: the store cannot hold the payload; pass a name for it instead.
            UsageError: the store cannot hold the pipeline or run id; ``error`` or ``history`` is malformed.
        """
        if not in_utf8(run_id):
            raise wrong("run_id", run_id, "text that UTF-8 can hold", "Name the run by its repr.")
        if not all(isinstance(one, Mapping) for one in history):
            raise wrong("history", history, "a list of mappings, one for each attempt")
        told = _as_recorded(error) if isinstance(error, Mapping) else record_error(error)
        # Outside the transaction, which may run in another thread with another context.
        known = correlation_id or current_correlation_id()
        failed = Failed(
            pipeline, run_id, told, payload, attempts, history, session, subject, known, redrive, origin
        )
        if tx is not None:
            return self._add(tx, failed)
        id = self._store.write(lambda tx: self._add(tx, failed), urgent=True)
        now = self._store.now()
        # abs(): after the clock was set back far, the difference would stay negative and stop the purges.
        if self._swept is None or abs(now - self._swept) >= SWEEP:
            self._swept = now
            self.purge()
        return id

    def _add(self, tx: Tx, failed: Failed) -> str:
        id, pipeline = failed.name(), failed.pipeline
        record = tx.get(DEAD, id, scope=pipeline)
        if record is None:
            tx.add(DEAD, id, failed.value(), scope=pipeline, status="open")
            return id
        # Either a worker that missed the first answer repeats its report, or the report is late, and a
        # redrive has failed in the meantime.
        if failed.number <= tuple(record.value["number"]):
            return id
        if record.status == "resolved":
            # A resolved letter stays resolved: the new failure must not erase what the person noted there.
            id = failed.name(*failed.number)
            tx.add(DEAD, id, failed.value(), scope=pipeline, status="open")
            return id
        before = record.value
        # By the error's text, not its type alone: three different KeyErrors have three causes.
        same = before["same"] + 1 if before["fingerprint"] == fingerprint(failed.error) else 1
        value = failed.value(
            redrives=before["redrives"],
            same=same,
            # The first failure was not a redrive, so ``same`` is one more than the number of failed redrives.
            poison=before["poison"] or same > self._poison_after,
        )
        tx.change(DEAD, id, scope=pipeline, status="open", value=value)
        return id

    def get(self, id: str, *, tx: Tx | None = None) -> DeadLetter | None:
        """The letter with this id, or None.

        Raises:
            RecordCorrupt, StoreTooNew: the letter exists and cannot be read.
            UsageError: the id is malformed.
        """
        record = (tx or self._store).get(DEAD, id, scope=pipeline_of(id))
        return None if record is None else letter_of(record)

    def find(
        self, pipeline: str | None = None, *, resolved: bool | None = False, poison: bool | None = None
    ) -> Iterator[DeadLetter]:
        """The letters that match, by (pipeline, id). Damaged ones are left out.

        ``resolved`` and ``poison`` select by these properties; None selects both. Letters are read in pages,
        and no transaction is open between two pages.
        """
        status = None if resolved is None else "resolved" if resolved else UNRESOLVED
        for page in self._pages(pipeline, status):
            for record in page.records:
                if poison is None or record.value["poison"] == poison:
                    yield letter_of(record)

    def _pages(
        self, pipeline: str | None = None, status: str | Sequence[str] | None = None
    ) -> Iterator[Page]:
        after = None
        while True:
            # In pages: one long read would keep SQLite from checkpointing its WAL, which then grows.
            page = self._store.find(DEAD, scope=pipeline, status=status, after=after)
            yield page
            after = page.next
            if after is None:
                return

    def statistics(self) -> DeadLetterStatistics:
        """Numbers of letters by pipeline and status, counted now."""
        numbers: dict[str, Counter[str]] = {}
        poison, damaged, oldest = 0, 0, None
        for page in self._pages():
            damaged += len(page.damaged)
            for letter in map(letter_of, page.records):
                numbers.setdefault(letter.pipeline, Counter())[letter.status] += 1
                if not letter.resolved:
                    poison += letter.poison
                    oldest = letter.created if oldest is None else min(oldest, letter.created)
        total = sum(sum(one.values()) for one in numbers.values())
        settled = sum(one["resolved"] for one in numbers.values())
        plain = {name: dict(one) for name, one in numbers.items()}
        return DeadLetterStatistics(total, total - settled, poison, oldest, plain, damaged)

    def redrive(self, id: str, *, by: str, force: bool = False, tx: Tx | None = None) -> OutboxMessage:
        """Put the run back: its message, with the key ``ID#n``, or the record that the letter is about.

        Letter and message change in one transaction. A letter that was already redriven is left as it is, and
        its message is returned again. With ``force`` the run is put back once more, and the limits don't
        apply.

        Raises:
            RedriveLimit: the letter was redriven ``max_redrives`` times, or is poison, and ``force`` was not
                given.
            UsageError: there is no letter with this id, it is resolved, or the record that it is about is not
                a failed one any longer.
        """
        return self._within(tx, lambda tx: self._redrive(tx, id, by, force))

    def _redrive(self, tx: Tx, id: str, by: str, force: bool) -> OutboxMessage:
        record = self._record(tx, id)
        value, count = record.value, record.value["redrives"]
        topic = record.scope
        # An operator who repeats the command, or two operators at once, must not start the run twice.
        if record.status == "redriven" and not force:
            return OutboxMessage(topic, f"{id}#{count}", value["payload"], record.updated)
        reason = self._refusal(record, force)
        if reason:
            raise RedriveLimit(f"the dead letter {id} {reason}; expected fewer. Nothing was changed.")
        if record.status == "resolved":
            raise UsageError(
                f"the dead letter {id} was resolved by {value['resolved']['by']}; expected an unresolved one."
                " Start the run again by other means if it is still wanted."
            )
        message = OutboxMessage(topic, f"{id}#{count + 1}", value["payload"], tx.now)
        changed = {**value, "redrives": count + 1, "redriven": {"by": by, "at": tx.now}}
        tx.change(DEAD, id, scope=topic, status="redriven", value=changed)
        # A checkpoint gets no message: workers find it when they claim. With a message it would run twice.
        if value["origin"] is None:
            Outbox(self._store).put(topic, message.payload, key=message.key, tx=tx)
        elif not revive(tx, Origin(**value["origin"])):
            raise UsageError(
                f"the dead letter {id} is about the record {value['origin']['key']!r}, which is running, done"
                " or removed; expected one that failed. Nothing was changed. Resolve the letter instead."
            )
        return message

    def _refusal(self, record: Record, force: bool) -> str:
        """The reason why the letter may not be redriven; empty if it may."""
        if force:
            return ""
        if record.value["poison"]:
            return f"failed the same way {record.value['same']} times"
        if record.value["redrives"] >= self._max_redrives:
            return f"was redriven {record.value['redrives']} times"
        return ""

    def redrive_all(
        self,
        filter: Callable[[DeadLetter], bool] = lambda letter: True,
        *,
        by: str,
        pipeline: str | None = None,
        dry_run: bool = True,
    ) -> RedrivePlan:
        """Redrive every open letter that ``filter`` accepts; by default, only report which ones these are.

        Letters that may not be redriven are in ``left``, each with the reason.
        """
        redriven: list[str] = []
        left: dict[str, str] = {}
        for letter in self.find(pipeline):
            # A redriven letter is on its way. Only a person who looks at it can decide that its run was lost.
            if letter.status != "open" or not filter(letter):
                continue
            try:
                if dry_run:
                    record = self._record(self._store, letter.id)
                    reason = self._refusal(record, False)
                    if reason:
                        raise RedriveLimit(f"it {reason}")
                else:
                    self.redrive(letter.id, by=by)
            except (RedriveLimit, UsageError) as error:
                left[letter.id] = str(error)
            else:
                redriven.append(letter.id)
        return RedrivePlan(tuple(redriven), left, dry_run)

    def resolve(self, id: str, *, by: str, notes: str = "", tx: Tx | None = None) -> bool:
        """Mark the letter as resolved. If it already was, change nothing and return False.

        Raises:
            UsageError: there is no letter with this id.
        """

        def work(tx: Tx) -> bool:
            record = self._record(tx, id)
            if record.status == "resolved":
                return False
            value = {**record.value, "resolved": {"by": by, "at": tx.now, "notes": notes}}
            return tx.change(DEAD, id, scope=record.scope, status="resolved", value=value)

        return self._within(tx, work)

    def purge(self, *, dry_run: bool = False) -> int:
        """Remove the letters that were resolved more than ``keep`` seconds ago; return how many.

        With ``dry_run`` the letters are only counted.
        """
        before = self._store.now() - self._keep
        gone = 0
        after = None
        while True:
            if dry_run:
                page = self._store.find(
                    DEAD, status="resolved", updated_before=before, after=after, limit=PAGE
                )
                gone += len(page.records) + len(page.damaged)
                after = page.next
                if after is None:
                    return gone
            else:
                # Unresolved letters are never removed, however old: waiting must not lose a run.
                some = self._store.write(
                    lambda tx: tx.purge(DEAD, status="resolved", updated_before=before, limit=PAGE)
                )
                gone += some
                if some < PAGE:
                    return gone

    def _record(self, place: Storage | Tx, id: str) -> Record:
        record = place.get(DEAD, id, scope=pipeline_of(id))
        if record is None:
            raise UsageError(f"there is no dead letter {id!r}; expected one that find() lists.")
        return record

    def _within(self, tx: Tx | None, work: Callable[[Tx], T]) -> T:
        return work(tx) if tx is not None else self._store.write(work)


def _as_recorded(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """An error recorded before, or written by hand, with all the fields that readers of letters expect."""
    told = {"chain": [], "traceback": "", **error}
    if not all(isinstance(told.get(name), str) for name in ("type", "message", "traceback")):
        raise wrong("error", error, "an exception, or a mapping with the texts type and message")
    return told
