"""What every store promises to the features on top of it, whatever its database is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Store
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.durable.store.protocol import RUNNING, Kind, Record, Tx
from chaoskit.runtime.failures.stored import StoreTooNew
from chaoskit.runtime.failures.taxonomy import CheckpointError

JOB = Kind("job")


@pytest.fixture
def store(target: str, clock: VirtualClock) -> Iterator[Store]:
    """A store of each kind, at the level at which nothing waits for a disk."""
    with Store.open(target, durability="memory", clock=clock, reserve=0) as store:
        yield store


def claimed(store: Store, **options: object) -> list[Record]:
    return store.write(lambda tx: tx.claim(JOB, lease=60, **options))  # type: ignore[arg-type]


def test_what_is_put_is_got(store: Store) -> None:
    """A record comes back with its value, its status and its times."""
    store.put(JOB, "a", {"n": [1, 2.5, None, True, "ü"]}, scope="s", status="completed")
    found = store.get(JOB, "a", scope="s")
    assert found is not None
    assert (found.value, found.status) == ({"n": [1, 2.5, None, True, "ü"]}, "completed")
    assert (found.version, found.attempts, found.fence, found.owner, found.due) == (1, 0, 0, None, None)
    assert found.created == found.updated == store.now()
    assert store.get(JOB, "a") is None
    assert store.get(Kind("other"), "a", scope="s") is None


def test_put_again_counts_the_version(store: Store, clock: VirtualClock) -> None:
    """Writing a record again replaces the value and keeps the time of its creation."""
    store.put(JOB, "a", 1, status="new")
    clock.advance(5)
    store.put(JOB, "a", 2, status="old")
    found = store.get(JOB, "a")
    assert found is not None
    assert (found.value, found.status, found.version) == (2, "old", 2)
    assert found.updated - found.created == 5


def test_add_keeps_what_is_there(store: Store) -> None:
    """``add`` says whether the record is new, and leaves one that is there as it is."""
    assert store.write(lambda tx: tx.add(JOB, "a", 1, status="new"))
    assert not store.write(lambda tx: tx.add(JOB, "a", 2, status="new"))
    found = store.get(JOB, "a")
    assert found is not None
    assert (found.value, found.version) == (1, 1)


def test_a_write_that_raises_changes_nothing(store: Store) -> None:
    """All of a ``write`` or none of it; its error comes to the caller as it is."""

    def work(tx: Tx) -> None:
        tx.put(JOB, "a", 1, status="new")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write(work)
    assert store.get(JOB, "a") is None


def test_a_transaction_sees_what_it_wrote(store: Store) -> None:
    """Reading inside sees the writes before; outside they are seen when the block is left."""
    with store.transaction() as tx:
        tx.put(JOB, "a", 1, status="new")
        inside = tx.get(JOB, "a")
        assert store.get(JOB, "a") is None
    assert inside == store.get(JOB, "a") != None  # noqa: E711


def test_a_transaction_that_raises_changes_nothing(store: Store) -> None:
    """A block that is left by an error is rolled back."""

    def block() -> None:
        with store.transaction() as tx:
            tx.put(JOB, "a", 1, status="new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert store.get(JOB, "a") is None


def test_change_does_what_is_expected_or_nothing(store: Store) -> None:
    """A change names what it expects; if the record is otherwise nothing is changed."""
    store.put(JOB, "a", 1, status="new")
    assert not store.write(lambda tx: tx.change(JOB, "b", status="done"))
    assert not store.write(lambda tx: tx.change(JOB, "a", status="done", was="old"))
    assert not store.write(lambda tx: tx.change(JOB, "a", status="done", version=2))
    assert not store.write(lambda tx: tx.change(JOB, "a", status="done", fence=0))
    assert store.write(lambda tx: tx.change(JOB, "a", status="done", value=2, was="new", version=1))
    found = store.get(JOB, "a")
    assert found is not None
    assert (found.status, found.value, found.version) == ("done", 2, 2)


def test_change_keeps_the_value_it_does_not_name(store: Store) -> None:
    """A change of status alone keeps the value, under a checksum that fits."""
    store.put(JOB, "a", {"n": 1}, status="new")
    assert store.write(lambda tx: tx.change(JOB, "a", status="done"))
    found = store.get(JOB, "a")
    assert found is not None
    assert found.value == {"n": 1}


def test_a_claim_is_given_once(store: Store) -> None:
    """A live record is claimed by one; its attempt and fence are counted as it starts."""
    store.put(JOB, "a", 1, status="pending", due=store.now())
    [first] = claimed(store)
    assert (first.status, first.attempts, first.fence) == (RUNNING, 1, 1)
    assert first == store.get(JOB, "a")
    assert claimed(store) == []


def test_claims_come_in_the_order_of_their_due(store: Store, clock: VirtualClock) -> None:
    """What is due longest comes first; what is not due yet does not come."""
    for key, due in (("late", 30.0), ("first", 10.0), ("second", 20.0)):
        store.put(JOB, key, 0, status="pending", due=store.now() + due)
    assert claimed(store, limit=5) == []
    clock.advance(20)
    assert [one.key for one in claimed(store, limit=5)] == ["first", "second"]


def test_a_settled_record_is_not_claimed(store: Store) -> None:
    """Without a ``due`` a record is not live."""
    store.put(JOB, "a", 1, status="pending")
    assert claimed(store) == []


def test_a_new_record_is_claimed_as_it_is_made(store: Store) -> None:
    """It is what ``add`` and ``claim`` would have made of it, and its value is checked as any other's."""
    [made] = store.write(lambda tx: tx.claim_new(JOB, ["a"], {"n": 1}, lease=60))
    assert made == store.get(JOB, "a")
    assert (made.status, made.attempts, made.fence, made.value) == (RUNNING, 1, 1, {"n": 1})
    assert made.owner is not None
    assert store.owner_alive(made.owner)
    assert made.due == made.created + 60
    assert claimed(store) == []
    assert store.write(lambda tx: tx.change(JOB, "a", status="done", fence=1))
    with pytest.raises(UsageError, match="lease"):
        store.write(lambda tx: tx.claim_new(JOB, ["b"], 1, lease=0))
    with pytest.raises(CheckpointError):
        store.write(lambda tx: tx.claim_new(JOB, ["b"], object(), lease=60))
    assert store.get(JOB, "b") is None


def test_a_record_that_is_there_is_not_new(store: Store) -> None:
    """``claim_new`` leaves a record as it is, whatever its status."""
    for status in ("pending", "done"):
        store.put(JOB, status, 1, status=status, due=store.now())
        assert store.write(lambda tx, key=status: tx.claim_new(JOB, [key], 2, lease=60)) == []  # type: ignore[misc]
        found = store.get(JOB, status)
        assert found is not None
        assert (found.value, found.status, found.attempts, found.version) == (1, status, 0, 1)


def test_many_new_records_are_claimed_at_once(store: Store) -> None:
    """More than one statement holds: those that were not there, each once, in the order of the keys."""
    keys = [f"{n:03}" for n in reversed(range(100))]
    for key in keys[::7]:
        store.put(JOB, key, 1, status="done")
    made = store.write(lambda tx: tx.claim_new(JOB, [*keys, *keys[:9]], {"n": 2}, lease=60, scope=""))
    assert [one.key for one in made] == [key for n, key in enumerate(keys) if n % 7]
    assert all(one == store.get(JOB, one.key) for one in made)
    assert store.count(JOB) == {RUNNING: len(made), "done": 100 - len(made)}
    assert store.write(lambda tx: tx.claim_new(JOB, keys, 3, lease=60)) == []
    assert store.write(lambda tx: tx.claim_new(JOB, [], 3, lease=60)) == []


def test_a_claim_ends_with_its_fence_alone(store: Store) -> None:
    """A result is written for the claim that holds the record, once; an overtaken one changes nothing."""
    [made] = store.write(lambda tx: tx.claim_new(JOB, ["a"], 1, lease=60))
    for fence, expected in ((made.fence + 1, False), (made.fence, True), (made.fence, False)):
        ended = store.write(
            lambda tx, fence=fence: tx.change(JOB, "a", status="done", value={"by": fence}, fence=fence)  # type: ignore[misc]
        )
        assert ended is expected
    found = store.get(JOB, "a")
    assert found is not None
    assert (found.status, found.value, found.owner, found.due) == ("done", {"by": 1}, None, None)
    assert (found.attempts, found.fence, found.version) == (1, 1, 2)


def test_a_claim_that_ends_overwrites_nothing_that_is_newer(store: Store) -> None:
    """A later version's record is refused with the reason, also where its value would only be replaced."""
    later = Kind(JOB.name, JOB.format + 1)
    store.write(lambda tx: tx.claim_new(later, ["a"], 1, lease=60))
    with pytest.raises(StoreTooNew, match="format"):
        store.write(lambda tx: tx.change(JOB, "a", status="done", value=2, fence=1))
    assert store.write(lambda tx: tx.change(later, "a", status="done", value=2, fence=1))


def test_a_claim_of_a_key(store: Store) -> None:
    """One record can be claimed by its name; the scope has to be said."""
    for key in "ab":
        store.put(JOB, key, 1, status="pending", due=store.now())
    assert [one.key for one in claimed(store, scope="", key="b")] == ["b"]
    with pytest.raises(UsageError, match=r"scope is None .* Pass scope='' if it has none"):
        claimed(store, key="a")


def test_the_fence_keeps_out_the_late(store: Store) -> None:
    """A claim that was overtaken cannot write: neither with an old fence, nor on a record that is settled."""
    store.put(JOB, "a", 1, status="pending", due=store.now())
    [old] = claimed(store)
    store.put(JOB, "a", 1, status="pending", due=store.now())
    [new] = claimed(store)
    assert new.fence > old.fence
    assert not store.write(lambda tx: tx.change(JOB, "a", status="done", value="late", fence=old.fence))
    assert store.write(lambda tx: tx.change(JOB, "a", status="dead", fence=new.fence))
    assert not store.write(lambda tx: tx.change(JOB, "a", status="done", fence=new.fence))


def test_renewing_keeps_the_claim(store: Store) -> None:
    """A new ``due`` alone prolongs the lease; owner and status stay."""
    store.put(JOB, "a", 1, status="pending", due=store.now())
    [claim] = claimed(store)
    assert store.write(lambda tx: tx.change(JOB, "a", due=tx.now + 99, fence=claim.fence))
    found = store.get(JOB, "a")
    assert found is not None
    assert (found.status, found.owner, found.due) == (RUNNING, claim.owner, store.now() + 99)


def test_only_a_claim_makes_a_record_run(store: Store) -> None:
    """A status of ``running`` without an owner would never be claimed again: it is refused."""
    with pytest.raises(UsageError, match="Only claim"):
        store.put(JOB, "a", 1, status=RUNNING)
    store.put(JOB, "a", 1, status="new")
    with pytest.raises(UsageError, match="Only claim"):
        store.write(lambda tx: tx.change(JOB, "a", status=RUNNING))


def test_lists_come_in_pages(store: Store) -> None:
    """A list is walked by its last place, in the order of scope and key, whatever is written meanwhile."""
    for n in range(7):
        store.put(JOB, f"k{n}", n, scope="s", status="even" if n % 2 == 0 else "odd")
    seen, after = [], None
    while True:
        page = store.find(JOB, scope="s", status=["even", "odd"], after=after, limit=3)
        seen += [one.value for one in page.records]
        store.put(JOB, "k0", 0, scope="s", status="odd")
        after = page.next
        if after is None:
            break
    assert seen == list(range(7))
    assert [one.value for one in store.find(JOB, status="odd").records] == [0, 1, 3, 5]


def test_lists_by_age_and_by_life(store: Store, clock: VirtualClock) -> None:
    """A list can be of what was written before a moment, or of what is live."""
    store.put(JOB, "old", 1, status="x")
    clock.advance(10)
    store.put(JOB, "new", 1, status="x", due=store.now())
    assert [one.key for one in store.find(JOB, updated_before=store.now()).records] == ["old"]
    assert [one.key for one in store.find(JOB, live=True).records] == ["new"]


def test_counting_by_status(store: Store) -> None:
    """The count is of one kind, and of one scope if it is named."""
    for n, scope in enumerate(("a", "a", "b")):
        store.put(JOB, str(n), n, scope=scope, status="done")
    store.put(Kind("other"), "x", 1, status="done")
    assert store.count(JOB) == {"done": 3}
    assert store.count(JOB, scope="a") == {"done": 2}


def test_numbers_that_no_database_takes(store: Store) -> None:
    """Beyond 64 bits each driver has an error that is no store's; a store answers, or refuses."""
    store.put(JOB, "a", 1, status="pending", due=1.0)
    [claim] = claimed(store)
    for more in (1 << 63, 10**400):
        assert not store.write(
            lambda tx, fence=more: tx.change(JOB, "a", status="x", value=1, fence=fence)  # type: ignore[misc]
        )
        with pytest.raises(UsageError, match="limit is"):
            store.find(JOB, limit=more)
    assert len(store.find(JOB, updated_before=1 << 70).records) == 1
    assert store.write(lambda tx: tx.change(JOB, "a", status="x", value=1, fence=claim.fence))


def test_the_oldest_of_a_status(store: Store, clock: VirtualClock) -> None:
    """By when it was written the last time; None if there is none."""
    assert store.oldest(JOB, status="new") is None
    first = store.now()
    for key, status in (("a", "old"), ("b", "new"), ("c", "new")):
        clock.advance(5)
        store.put(JOB, key, 1, status=status)
    assert store.oldest(JOB, status="new") == first + 10
    assert store.write(lambda tx: tx.oldest(JOB, status="old")) == first + 5


def test_deleting_and_purging(store: Store, clock: VirtualClock) -> None:
    """A record is removed by name, in a version if one is named; many by what they are, so many at a time."""
    for key in "abcd":
        store.put(JOB, key, 1, status="done")
    assert not store.write(lambda tx: tx.delete(JOB, "a", version=2))
    assert store.write(lambda tx: tx.delete(JOB, "a", version=1))
    assert not store.write(lambda tx: tx.delete(JOB, "a"))
    clock.advance(1)
    store.put(JOB, "d", 1, status="done")
    assert store.write(lambda tx: tx.purge(JOB, status="done", updated_before=tx.now, limit=1)) == 1
    assert store.write(lambda tx: tx.purge(JOB, status="done", updated_before=tx.now)) == 1
    assert [one.key for one in store.find(JOB).records] == ["d"]


def test_an_operation_happens_once(store: Store) -> None:
    """A second write under an operation id changes nothing; the block can see that it is a repetition."""
    for n in (1, 2):
        store.put(JOB, "put", n, status="x", operation_id="one")
        store.write(lambda tx, n=n: tx.put(JOB, "write", n, status="x"), operation_id="two")  # type: ignore[misc]
        with store.transaction(operation_id="three") as tx:
            tx.put(JOB, "block", n, status="x")
            assert tx.repeated == (n == 2)
    assert [one.value for one in store.find(JOB).records] == [1, 1, 1]


def test_a_failed_operation_may_be_tried_again(store: Store) -> None:
    """An operation id counts when it is committed, not when it is tried."""

    def fail(tx: Tx) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write(fail, operation_id="one")
    assert store.outcome("one") == "absent"
    store.put(JOB, "a", 1, status="x", operation_id="one")
    assert store.outcome("one") == "committed"


def test_an_unserialisable_value_changes_nothing(store: Store) -> None:
    """What cannot be kept is refused before anything is written."""
    store.put(JOB, "a", 1, status="x")
    with pytest.raises(CheckpointError, match=r"value\['n'\] is nan"):
        store.put(JOB, "a", {"n": float("nan")}, status="y")
    with pytest.raises(CheckpointError, match="tuple"):
        store.write(lambda tx: tx.put(JOB, "a", (1, 2), status="y"))
    found = store.get(JOB, "a")
    assert found is not None
    assert (found.status, found.version) == ("x", 1)


@pytest.mark.parametrize("due", [float("nan"), float("inf"), float("-inf"), 1 << 63, 10**400], ids=range(5))
def test_a_record_is_due_at_a_time_or_never(store: Store, due: float) -> None:
    """NaN is null in SQLite, and so was settled: a job that nothing would have claimed any more."""
    with pytest.raises(UsageError, match="due is"):
        store.put(JOB, "a", 1, status="pending", due=due)
    store.put(JOB, "a", 1, status="pending", due=1.0)
    [claim] = claimed(store)
    with pytest.raises(UsageError, match="due is"):
        store.write(lambda tx: tx.change(JOB, "a", status="pending", due=due, fence=claim.fence))
    with pytest.raises(UsageError, match="due is"):
        store.write(lambda tx: tx.change(JOB, "a", value=2, due=due))
    found = store.get(JOB, "a")
    assert found is not None
    assert (found.status, found.value) == (RUNNING, 1)


def test_this_process_lives(store: Store) -> None:
    """The owner of a claim of this process is alive; a name that was never given out is not."""
    store.put(JOB, "a", 1, status="pending", due=store.now())
    [claim] = claimed(store)
    assert claim.owner is not None
    assert store.owner_alive(claim.owner)
    assert store.owner_alive("1-abc") is False
