"""Transactions in an object store beside others: lost answers, other commits in between, stages in use."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import IO, Any, ClassVar

import pytest

from chaoskit.runtime import OutcomeUnknown, StoreBusy, Transaction, TransactionConflict, VirtualClock
from chaoskit.runtime.durable.transactions.objects.final import JOURNAL
from chaoskit.runtime.durable.transactions.objects.pointer import CURRENT
from chaoskit.runtime.durable.transactions.objects.prefixes import prefix_in
from chaoskit.runtime.durable.transactions.objects.store import NotAsExpected
from chaoskit.runtime.durable.transactions.places import AnyPlace, PlaceOptions
from chaoskit.runtime.durable.transactions.records import TransactionReceipt
from chaoskit.runtime.failures.taxonomy import TransactionError

from .test_object_transactions import (
    LAYOUTS,
    NAMES,
    Bucket,
    Killed,
    Unanswered,
    check_end,
    commit,
    late,
    place,
    requests_of,
    struck,
    with_old,
)

NOW = 1e6
DECISIONS = {"pointer": CURRENT, "final": JOURNAL}


def patient(bucket: Bucket, layout: str, *, grace: float = 0.0, at: float = NOW) -> AnyPlace:
    """Stages count as abandoned after 100 s."""
    options = PlaceOptions(grace=grace, abandoned=100.0, clock=VirtualClock(epoch=at))
    return prefix_in(bucket, layout, options)


def left_behind(bucket: Bucket, layout: str) -> None:
    """What a process has uploaded that was killed then."""
    stage = place(bucket, layout).begin("gone")
    for name in NAMES:
        stage.add(name, "gone")


def keys(bucket: Bucket, id: str) -> list[str]:
    return [key for key in bucket.objects if f"{id}@" in key]


def data_of(bucket: Bucket, id: str) -> list[str]:
    return [key for key in keys(bucket, id) if "data/" in key]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stage_is_in_use_until_its_last_upload_is_old(layout: str) -> None:
    """A recovery leaves it alone, says that it is running, and removes it later."""
    bucket = with_old(layout)
    left_behind(bucket, layout)
    first, last = data_of(bucket, "gone")
    bucket.modified = {first: NOW - 5000, last: NOW - 99}
    found = patient(bucket, layout).recover()
    assert (found.aborted, found.running, found.removed) == ((), ("gone",), ())
    assert {first, last} <= bucket.objects.keys()
    assert [before for prefix, before in bucket.ended_uploads if first.startswith(prefix)] == [NOW - 100]
    bucket.modified[last] = NOW - 100
    assert patient(bucket, layout).recover().aborted == ("gone",)
    assert not bucket.objects.keys() & {first, last}


def test_what_was_replaced_is_kept_for_the_grace() -> None:
    """Readers that have opened it may go on."""
    bucket = with_old("pointer")
    for id, at in {"mid": NOW + 10, "new": NOW + 80}.items():
        with Transaction(patient(bucket, "pointer", grace=60.0, at=at), id) as tx:
            tx.add("a", id)
            tx.commit()
        # Replaced 0 s ago, and after the second commit 70 s ago.
        assert bool(data_of(bucket, "old")) == (id == "mid")
    assert not patient(bucket, "pointer", grace=60.0, at=NOW + 139).recover().removed
    assert data_of(bucket, "mid")
    assert patient(bucket, "pointer", grace=60.0, at=NOW + 140).recover().removed
    assert not data_of(bucket, "mid")


def test_a_clean_up_that_is_killed_is_finished_by_the_next() -> None:
    """Wherever it stops, nothing that was replaced stays for ever."""

    def prepared() -> Bucket:
        bucket = with_old("pointer")
        for id in ("mid", "new"):
            with Transaction(patient(bucket, "pointer", grace=60.0), id) as tx:
                tx.add("a", id)
                tx.commit()
        assert data_of(bucket, "old")
        assert data_of(bucket, "mid")
        return bucket

    for at in range(1, requests_of(lambda bucket: place(bucket, "pointer").recover(), prepared) + 1):
        bucket = prepared()
        bucket.calm()
        bucket.strike = struck("killed after", at)
        with pytest.raises(Killed):
            place(bucket, "pointer").recover()
        bucket.calm()
        place(bucket, "pointer").recover()
        assert not [*data_of(bucket, "old"), *data_of(bucket, "mid")], at


def test_a_recovery_that_wakes_up_late_takes_back_no_commit() -> None:
    """It rewrites the decision that it has read, and no later one."""

    def prepared() -> Bucket:
        bucket = with_old("pointer")
        left_behind(bucket, "pointer")
        return bucket

    total = requests_of(lambda bucket: place(bucket, "pointer").recover(), prepared)
    for at in range(1, total + 1):
        bucket = prepared()
        bucket.calm()
        bucket.strike = late(bucket, at, lambda bucket=bucket: commit(bucket, "pointer", "newest"))
        place(bucket, "pointer").recover()
        bucket.calm()
        place(bucket, "pointer").recover()
        receipt, _, files = place(bucket, "pointer").newest()
        assert receipt is not None
        assert receipt.id == "newest", at
        assert {files.read(name) for name in NAMES} == {f"newest {name}".encode() for name in NAMES}
        assert not data_of(bucket, "gone")


def test_a_commit_that_another_overtakes_leaves_nothing() -> None:
    """Wherever the other one comes in between, the refused one has removed what it has uploaded."""
    total = requests_of(lambda bucket: commit(bucket, "pointer", "new"), lambda: with_old("pointer"))
    refused = 0
    for at in range(1, total + 1):
        bucket = with_old("pointer")
        bucket.calm()
        bucket.strike = late(bucket, at, lambda bucket=bucket: commit(bucket, "pointer", "other"))
        try:
            commit(bucket, "pointer", "new")
        except TransactionConflict:
            refused += 1
            assert not keys(bucket, "new"), at
            check_end(bucket, "pointer", "other", 2)
    assert refused > 1


def test_a_commit_whose_answer_is_lost_is_known_below_a_later_one() -> None:
    """Another transaction has followed on top before the look at what was decided."""
    bucket = with_old("pointer")

    def strike(number: int, when: str) -> None:
        if when == "after" and b"new@" in bucket.objects[CURRENT]:
            bucket.calm()
            commit(bucket, "pointer", "top")
            raise Unanswered

    bucket.strike = strike
    assert commit(bucket, "pointer", "new").state == "published"
    check_end(bucket, "pointer", "top", 3)


class Slow(Bucket):
    """The request that decides is on its way for long, and until it arrives the decision can't be read."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = ""
        self.arrive: Callable[[], object] | None = None

    def open(self, key: str) -> tuple[IO[bytes], str] | None:
        if key == self.slow and self.arrive is not None:
            raise Unanswered
        return super().open(key)

    def put(
        self, key: str, content: IO[bytes], *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        if key != self.slow:
            return super().put(key, content, if_absent=if_absent, if_match=if_match)
        data = content.read()
        self.arrive = lambda: super(Slow, self).put(
            key, io.BytesIO(data), if_absent=if_absent, if_match=if_match
        )
        raise Unanswered


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_may_still_be_decided_is_not_removed(layout: str) -> None:
    """The request arrives after its process has given up: readers find every member."""
    bucket = Slow()
    commit(bucket, layout, "old")
    bucket.slow = DECISIONS[layout]
    with pytest.raises(OutcomeUnknown):
        commit(bucket, layout, "new")
    arrive, bucket.slow, bucket.arrive = bucket.arrive, "", None
    assert arrive is not None
    arrive()
    place(bucket, layout).recover()
    check_end(bucket, layout, "new", 2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_decision_that_is_lost_on_its_way_is_asked_for_again(layout: str) -> None:
    """A look has shown that it was not made, and the next request makes it."""
    bucket, lost = with_old(layout), list[int]()
    put = bucket.put

    def lossy(key: str, content: IO[bytes], **conditions: Any) -> str:
        if key == DECISIONS[layout] and not lost:
            lost.append(1)
            raise Unanswered
        return put(key, content, **conditions)

    bucket.put = lossy  # type: ignore[method-assign]
    assert commit(bucket, layout, "new").state == "cleaned"
    assert lost


class Forbidden(Exception):
    """The store's answer to one without permission, as botocore has it."""

    response: ClassVar[dict[str, Any]] = {"ResponseMetadata": {"HTTPStatusCode": 403}}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_refusal_after_a_lost_answer_decides_nothing(layout: str) -> None:
    """The permission was withdrawn in between: the first request may have been granted."""
    bucket, asked = with_old(layout), list[int]()
    put, get = bucket.put, bucket.open

    def withdrawn(key: str, content: IO[bytes], **conditions: Any) -> str:
        if key != DECISIONS[layout]:
            return put(key, content, **conditions)
        if asked:
            raise Forbidden
        asked.append(1)
        put(key, content, **conditions)
        raise Unanswered

    def unread(key: str) -> tuple[IO[bytes], str] | None:
        if asked and key == DECISIONS[layout]:
            raise Forbidden
        return get(key)

    bucket.put, bucket.open = withdrawn, unread  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown):
        commit(bucket, layout, "new")
    bucket.put, bucket.open = put, get  # type: ignore[method-assign]
    place(bucket, layout).recover()
    check_end(bucket, layout, "new", 2)


@pytest.mark.parametrize("lost", [True, False])
def test_a_journal_that_is_never_free_tells_what_may_still_come(lost: bool) -> None:
    """If a request is still on its way, the outcome is unknown, and what it needs stays."""
    bucket = with_old("final")
    put, arrive, others = bucket.put, list[Callable[[], object]](), list[str]()

    def crowded(key: str, content: IO[bytes], **conditions: Any) -> str:
        data = content.read()
        if key != JOURNAL or b"new@" not in data:
            return put(key, io.BytesIO(data), **conditions)
        others.append(f"other{len(others)}")
        stage = place(bucket, "final").begin(others[-1])
        for name in NAMES:
            stage.add(name, f"{others[-1]} {name}")
        members = tuple(stage.members.values())
        number = 1 + len(others)
        journal = TransactionReceipt(stage.id, stage.generation, "final", members, number=number)
        put(JOURNAL, io.BytesIO(journal.encode()), if_absent=True)
        if lost and not arrive:
            arrive.append(lambda: put(key, io.BytesIO(data), **conditions))
            raise Unanswered
        raise NotAsExpected

    bucket.put = crowded  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown if lost else StoreBusy):
        commit(bucket, "final", "new")
    bucket.put = put  # type: ignore[method-assign]
    assert bool(data_of(bucket, "new")) == lost
    place(bucket, "final").recover()
    if arrive:
        with contextlib.suppress(NotAsExpected):
            arrive[0]()
        place(bucket, "final").recover()
    receipt, _, files = place(bucket, "final").newest()
    assert receipt is not None
    for name in NAMES:
        files.read(name)


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_member_that_the_store_has_lost_is_not_committed(layout: str, cut: bool) -> None:
    """It is missed before anything is decided, and so is one that was cut."""
    bucket = with_old(layout)
    with Transaction(place(bucket, layout), "new") as tx:
        tx.add("a", "new a")
        [key] = data_of(bucket, "new")
        del bucket.objects[key]
        if cut:
            bucket.objects[key] = b""
        with pytest.raises(TransactionError, match="Nothing was committed"):
            tx.commit()
    check_end(bucket, layout, "old", 1)


def test_a_stage_that_was_given_up_is_a_conflict() -> None:
    """It may begin again: nothing is left to be found out, and nothing blocks others."""
    total = requests_of(lambda bucket: commit(bucket, "final", "new"), lambda: with_old("final"))
    conflicts = 0
    for at in range(1, total + 1):
        bucket = with_old("final")
        bucket.calm()
        bucket.strike = late(bucket, at, lambda bucket=bucket: place(bucket, "final").recover())
        try:
            commit(bucket, "final", "new")
        except TransactionConflict:
            conflicts += 1
            assert JOURNAL not in bucket.objects
        except OutcomeUnknown:
            pytest.fail(f"it is known: nothing was decided before request {at}")
        except TransactionError:
            pass  # Its members are missed before it asks.
    assert conflicts


def decide_and_die(bucket: Bucket) -> None:
    """A process decides ``newest`` under final names, and puts nothing into its place."""

    def stop(number: int, when: str) -> None:
        if when == "after" and b"newest@" in bucket.objects.get(JOURNAL, b""):
            raise Killed

    bucket.strike = stop
    # Where a recovery has removed its stage, it is refused.
    with contextlib.suppress(Killed, TransactionError):
        commit(bucket, "final", "newest")
    bucket.calm()


def test_a_reader_is_told_of_what_is_decided_and_not_in_place() -> None:
    """Old and new members may be mixed until a recovery has finished it."""
    bucket = with_old("final")
    decide_and_die(bucket)
    with pytest.raises(TransactionError, match=r"'newest' of .* is decided and not finished"):
        place(bucket, "final").newest()
    place(bucket, "final").recover()
    check_end(bucket, "final", "newest", 2)


def test_a_recovery_that_wakes_up_late_forgets_no_decision() -> None:
    """A process has decided meanwhile, and died: its journal is not overwritten by one that gives up."""

    def prepared() -> Bucket:
        bucket = with_old("final")
        left_behind(bucket, "final")
        bucket.calm()
        return bucket

    for at in range(1, requests_of(lambda bucket: place(bucket, "final").recover(), prepared) + 1):
        bucket = prepared()
        bucket.strike = late(bucket, at, lambda bucket=bucket: decide_and_die(bucket))
        place(bucket, "final").recover()
        bucket.calm()
        place(bucket, "final").recover()
        check_end(bucket, "final", "newest", 2)
