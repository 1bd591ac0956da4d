"""Transactions in an object store: each request lost, unanswered or the last one; writers that wake up late.

The store is a dictionary with S3's conditional writes, so that each request can be struck in each way. That
S3 itself behaves so is for ``scenarios/runtime/test_transactions_s3.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from typing import IO

import pytest

from chaoskit.runtime import OutcomeUnknown, ResilienceError, Transaction, TransactionConflict, VirtualClock
from chaoskit.runtime.durable.transactions.objects.final import JOURNAL, FinalObjects
from chaoskit.runtime.durable.transactions.objects.pointer import PointerObjects
from chaoskit.runtime.durable.transactions.objects.prefixes import prefix_in
from chaoskit.runtime.durable.transactions.objects.stage import ObjectStage
from chaoskit.runtime.durable.transactions.objects.store import NotAsExpected, ObjectInfo
from chaoskit.runtime.durable.transactions.places import PlaceOptions, Reached
from chaoskit.runtime.durable.transactions.records import TransactionReceipt

NAMES = ("a", "deep/b")
LAYOUTS = ("pointer", "final")


class Killed(BaseException):
    """The end of the process."""


class Unanswered(Exception):
    """A request without an answer: it took effect, or it did not."""


class Bucket:
    """Objects in memory. ``strike`` is asked before and after each request, by its number."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.modified: dict[str, float] = {}
        """When an object was written, in seconds since the epoch; long ago, if it is not here."""
        self.ended_uploads: list[tuple[str, float]] = []
        self.requests = 0
        self.strike: Callable[[int, str], None] = lambda number, when: None

    def _request(self) -> int:
        self.requests += 1
        self.strike(self.requests, "before")
        return self.requests

    def head(self, key: str) -> ObjectInfo | None:
        number = self._request()
        found = self._info(key)
        self.strike(number, "after")
        return found

    def open(self, key: str) -> tuple[IO[bytes], str] | None:
        number = self._request()
        found = self._info(key)
        answer = None if found is None else (io.BytesIO(self.objects[key]), found.etag)
        self.strike(number, "after")
        return answer

    def put(
        self, key: str, content: IO[bytes], *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        number = self._request()
        there = self._info(key)
        if (if_absent and there is not None) or (
            if_match is not None and (there is None or there.etag != if_match)
        ):
            raise NotAsExpected(key)
        self.objects[key] = content.read()
        self.strike(number, "after")
        found = self._info(key)
        assert found is not None
        return found.etag

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        number = self._request()
        there = self._info(key)
        if if_match is not None and (there is None or there.etag != if_match):
            raise NotAsExpected(key)
        self.objects.pop(key, None)
        self.strike(number, "after")

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        number = self._request()
        found = [self._info(key) for key in sorted(self.objects) if key.startswith(prefix)]
        self.strike(number, "after")
        return (info for info in found if info is not None)

    def abort_uploads(self, prefix: str, before: float) -> int:
        self._request()
        self.ended_uploads.append((prefix, before))
        return 0

    def _info(self, key: str) -> ObjectInfo | None:
        data = self.objects.get(key)
        if data is None:
            return None
        return ObjectInfo(key, len(data), hashlib.md5(data).hexdigest(), self.modified.get(key, 0.0))

    def calm(self) -> None:
        """No more strikes."""
        self.strike, self.requests = (lambda number, when: None), 0


def place(bucket: Bucket, layout: str) -> PointerObjects | FinalObjects:
    options = PlaceOptions(grace=0.0, abandoned=0.0, clock=VirtualClock(epoch=1e6))
    return prefix_in(bucket, layout, options)  # type: ignore[return-value]


def commit(bucket: Bucket, layout: str, id: str) -> Transaction:
    tx = Transaction(place(bucket, layout), id)
    with tx:
        for name in NAMES:
            tx.add(name, f"{id} {name}")
        tx.commit()
    return tx


def seen(bucket: Bucket, layout: str) -> str:
    """Which generation a reader sees; "mix" for several."""
    if layout == "final":
        found = {bucket.objects[name].split()[0].decode() for name in NAMES}
    else:
        _, members, files = place(bucket, layout).newest()
        found = {files.read(name).split()[0].decode() for name in members}
    return found.pop() if len(found) == 1 else "mix"


def check_end(bucket: Bucket, layout: str, last: str, number: int) -> None:
    """All members of ``last``, verified; nothing of any other one, no journal, no second commit."""
    receipt, _, files = place(bucket, layout).newest()
    assert receipt is not None
    assert (receipt.id, receipt.number) == (last, number)
    assert seen(bucket, layout) == last
    assert {files.read(name) for name in NAMES} == {f"{last} {name}".encode() for name in NAMES}
    data = {key for key in bucket.objects if "data/" in key}
    assert all(receipt.generation in key for key in data) if layout == "pointer" else not data
    assert JOURNAL not in bucket.objects


STRIKES = {
    "lost": (Unanswered, "before", False),
    "unanswered": (Unanswered, "after", False),
    "down from here": (Unanswered, "before", True),
    "mute from here": (Unanswered, "after", True),
    "killed before": (Killed, "before", True),
    "killed after": (Killed, "after", True),
}


def struck(kind: str, at: int) -> Callable[[int, str], None]:
    error, moment, lasting = STRIKES[kind]

    def strike(number: int, when: str) -> None:
        if when == moment and (number == at or (lasting and number > at)):
            raise error(f"request {number}")

    return strike


def requests_of(work: Callable[[Bucket], object], prepared: Callable[[], Bucket]) -> int:
    bucket = prepared()
    bucket.calm()
    work(bucket)
    return bucket.requests


def with_old(layout: str) -> Bucket:
    bucket = Bucket()
    commit(bucket, layout, "old")
    return bucket


def sweep_commit(layout: str, kind: str) -> None:
    """A commit, struck at each of its requests; a reader, two recoveries, and the same once more."""
    total = requests_of(lambda bucket: commit(bucket, layout, "new"), lambda: with_old(layout))
    assert total > 10
    for at in range(1, total + 1):
        bucket = with_old(layout)
        bucket.calm()
        bucket.strike = struck(kind, at)
        error: BaseException | None = None
        try:
            commit(bucket, layout, "new")
        except (Exception, Killed) as raised:
            error = raised
        bucket.calm()
        if layout == "pointer":
            assert seen(bucket, layout) in ("old", "new"), (kind, at)
        place(bucket, layout).recover()
        shown = seen(bucket, layout)
        assert shown in ("old", "new"), (kind, at)
        assert error is not None or shown == "new", (kind, at)
        if isinstance(error, Exception) and not isinstance(error, OutcomeUnknown):
            assert shown == "old", (kind, at, error)
        before = dict(bucket.objects)
        place(bucket, layout).recover()
        assert bucket.objects == before, (kind, at, "a second recovery changed something")
        commit(bucket, layout, "new")
        place(bucket, layout).recover()
        check_end(bucket, layout, "new", 2)


@pytest.mark.parametrize("kind", STRIKES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_request_of_a_commit_may_fail(layout: str, kind: str) -> None:
    """All or nothing: with a pointer for every reader, under final names after a recovery; and once."""
    sweep_commit(layout, kind)


@pytest.mark.parametrize("kind", STRIKES)
def test_every_request_of_a_recovery_may_fail(kind: str) -> None:
    """What was decided and not finished is finished by the next one."""

    def decided() -> Bucket:
        bucket = with_old("final")
        bucket.calm()

        def stop(number: int, when: str) -> None:
            if when == "after" and JOURNAL in bucket.objects:
                raise Killed

        bucket.strike = stop
        with pytest.raises(Killed):
            commit(bucket, "final", "new")
        bucket.calm()
        return bucket

    total = requests_of(lambda bucket: place(bucket, "final").recover(), decided)
    for at in range(1, total + 1):
        bucket = decided()
        bucket.strike = struck(kind, at)
        try:
            place(bucket, "final").recover()
        except (Unanswered, Killed):
            pass
        bucket.calm()
        place(bucket, "final").recover()
        check_end(bucket, "final", "new", 2)


def late(bucket: Bucket, at: int, meanwhile: Callable[[], object]) -> Callable[[int, str], None]:
    """The world goes on before request ``at``, and after that this one wakes up."""

    def strike(number: int, when: str) -> None:
        if number == at and when == "before":
            bucket.calm()
            meanwhile()
            bucket.requests = 10_000

    return strike


def sweep_late_writer(layout: str) -> int:
    """A writer that is suspended before each of its requests, while a recovery gives its stage up."""
    total = requests_of(lambda bucket: commit(bucket, layout, "new"), lambda: with_old(layout))
    committed = 0
    for at in range(1, total + 1):
        bucket = with_old(layout)
        bucket.calm()
        bucket.strike = late(bucket, at, lambda bucket=bucket: place(bucket, layout).recover())
        try:
            commit(bucket, layout, "new")
            committed += 1
        except ResilienceError:
            pass
        bucket.calm()
        place(bucket, layout).recover()
        receipt, _, files = place(bucket, layout).newest()
        assert receipt is not None
        for name in NAMES:
            assert files.read(name) == f"{receipt.id} {name}".encode(), at
    return committed


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_writer_that_wakes_up_late_publishes_nothing_that_was_removed(layout: str) -> None:
    """Its stage was given up meanwhile: it is refused, or it had decided before."""
    assert sweep_late_writer(layout) > 0


def sweep_late_recovery() -> None:
    """A recovery that is suspended before each of its requests, while others finish and commit on top."""
    bucket = with_old("final")

    def decided(bucket: Bucket) -> Bucket:
        def stop(number: int, when: str) -> None:
            if when == "after" and JOURNAL in bucket.objects:
                raise Killed

        bucket.calm()
        bucket.strike = stop
        with pytest.raises(Killed):
            commit(bucket, "final", "new")
        bucket.calm()
        return bucket

    total = requests_of(lambda one: place(one, "final").recover(), lambda: decided(with_old("final")))
    for at in range(1, total + 1):
        bucket = decided(with_old("final"))

        def meanwhile(bucket: Bucket = bucket) -> None:
            place(bucket, "final").recover()
            commit(bucket, "final", "newest")

        bucket.strike = late(bucket, at, meanwhile)
        place(bucket, "final").recover()
        bucket.calm()
        place(bucket, "final").recover()
        check_end(bucket, "final", "newest", 3)


def test_a_recovery_that_wakes_up_late_undoes_nothing() -> None:
    """Neither the members nor the journal of a later transaction."""
    sweep_late_recovery()


def sweep_late_commit() -> None:
    """A commit that is suspended before each request, while another is decided by a process that dies."""
    total = requests_of(lambda one: commit(one, "final", "new"), lambda: with_old("final"))
    for at in range(1, total + 1):
        bucket = with_old("final")
        bucket.calm()

        def meanwhile(bucket: Bucket = bucket) -> None:
            place(bucket, "final").recover()

            def stop(number: int, when: str) -> None:
                if when == "after" and b"late@" in bucket.objects.get(JOURNAL, b""):
                    raise Killed

            bucket.strike = stop
            with contextlib.suppress(Killed):
                commit(bucket, "final", "late")
            bucket.calm()

        bucket.strike = late(bucket, at, meanwhile)
        with contextlib.suppress(ResilienceError):
            commit(bucket, "final", "new")
        bucket.calm()
        place(bucket, "final").recover()
        assert [key for key in bucket.objects if "/receipts/late@" in key], f"decided, and forgotten at {at}"


def test_a_commit_that_wakes_up_late_forgets_no_other() -> None:
    """What was decided meanwhile by a process that died is finished."""
    sweep_late_commit()


def test_of_two_that_began_together_one_is_published() -> None:
    """The other one is told, and may begin again."""
    bucket = with_old("pointer")
    with (
        Transaction(place(bucket, "pointer"), "one") as one,
        Transaction(place(bucket, "pointer"), "two") as two,
    ):
        for tx in (one, two):
            for name in NAMES:
                tx.add(name, f"{tx.id} {name}")
        one.commit()
        with pytest.raises(TransactionConflict):
            two.commit()
    assert two.state == "aborted"
    place(bucket, "pointer").recover()
    check_end(bucket, "pointer", "one", 2)


def test_a_request_that_arrives_late_is_counted_for_what_it_does() -> None:
    """An answer is lost, the look at it too, and the stage is left for a recovery to judge."""
    bucket = with_old("pointer")
    bucket.calm()

    def strike(number: int, when: str) -> None:
        if b"new@" in bucket.objects["CURRENT"]:
            raise Unanswered

    bucket.strike = strike
    with pytest.raises(OutcomeUnknown) as told:
        commit(bucket, "pointer", "new")
    assert told.value.operation_id == "new"
    bucket.calm()
    assert any("data/new@" in key for key in bucket.objects), "removed, though it might have been decided"


# --- the same with one thing left out: each of these must be seen ------------------------------------------


def caught(sweep: Callable[[], object]) -> bool:
    try:
        sweep()
    except (AssertionError, KeyError, OSError, ResilienceError):
        return True
    return False


def test_planted_a_recovery_that_does_not_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late writer publishes what was removed."""
    monkeypatch.setattr(PointerObjects, "_fence", lambda *_: True)
    assert caught(lambda: sweep_late_writer("pointer"))


def test_planted_a_recovery_that_removes_without_deciding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late writer decides what can't be finished any more."""

    def removes(self: FinalObjects, generations: list[str]) -> bool:
        for generation in generations:
            self._remove(generation)
        return True

    monkeypatch.setattr(FinalObjects, "_give_up", removes)
    assert caught(lambda: sweep_late_writer("final"))


def test_planted_a_place_written_whatever_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late recovery puts old members over new ones."""
    put = Bucket.put

    def careless(self: Bucket, key: str, content: IO[bytes], **conditions: object) -> str:
        return put(self, key, content, **({} if key in NAMES else conditions))  # type: ignore[arg-type]

    monkeypatch.setattr(Bucket, "put", careless)
    assert caught(sweep_late_recovery)


def test_planted_a_journal_removed_whatever_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late commit removes the journal of another transaction, which is then half in place."""
    monkeypatch.setattr(FinalObjects, "_close", lambda self, etag: self._store.delete(JOURNAL))
    assert caught(sweep_late_commit)


def test_planted_members_copied_without_a_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first idea: half of it is there after a kill, and no recovery knows."""

    right = FinalObjects.commit

    def copies(self: FinalObjects, stage: ObjectStage, reached: Reached) -> TransactionReceipt:
        if stage.id == "new":
            for name in NAMES:
                self._store.put(name, io.BytesIO(f"new {name}".encode()))
        return right(self, stage, reached)

    monkeypatch.setattr(FinalObjects, "commit", copies)
    assert caught(lambda: sweep_commit("final", "killed before"))


def test_planted_an_answer_that_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost answer is taken for a refusal: it raises, and is committed all the same."""
    from chaoskit.runtime.durable.transactions.objects import pointer

    def believing(
        stage: object, store: Bucket, key: str, data: bytes, is_ours: object, *, if_match: str | None
    ) -> str:
        return store.put(key, io.BytesIO(data), if_absent=if_match is None, if_match=if_match)

    monkeypatch.setattr(pointer, "decide", believing)
    assert caught(lambda: sweep_commit("pointer", "unanswered"))
