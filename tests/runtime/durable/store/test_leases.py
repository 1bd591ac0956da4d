"""Who owns a claim: the kernel says who lives, a fence keeps out the late, and no clock decides."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Store, StoreBusy
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.durable.store.protocol import RUNNING, Kind, Record

JOB = Kind("job")
HOUR = 3600.0

CLAIMER = """
import sys
from chaoskit.runtime import Store, StoreBusy
from chaoskit.runtime.durable.store.protocol import Kind
store = Store.open(sys.argv[1], durability="process-crash", reserve=0)
for line in sys.stdin:
    found = store.write(lambda tx: tx.claim(Kind("job"), lease=0.001, limit=int(line)))
    print(" ".join(f"{one.key}/{one.fence}" for one in found), flush=True)
"""


class Other:
    """Another process, that claims when it is told to."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", CLAIMER, str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, limit: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{limit}\n")
        self.process.stdin.flush()

    def answer(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def claim(self, limit: int = 1) -> list[str]:
        self.ask(limit)
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def shared(path: Path, clock: VirtualClock) -> Iterator[Store]:
    with Store.open(path, durability="process-crash", clock=clock, reserve=0) as store:
        yield store


@pytest.fixture
def other(shared: Store, path: Path) -> Iterator[Other]:
    other = Other(path)
    yield other
    other.end()


def claim(store: Store) -> list[Record]:
    return store.write(lambda tx: tx.claim(JOB, lease=60))


def add(store: Store, *keys: str) -> None:
    for key in keys:
        store.put(JOB, key, 1, status="pending", due=1.0)


def test_a_claim_of_the_living_stays(shared: Store, other: Other, clock: VirtualClock) -> None:
    """Whatever the clock says: an hour ahead steals nothing, though the lease was over in a millisecond."""
    add(shared, "a")
    assert other.claim() == ["a/1"]
    clock.step(HOUR)
    assert claim(shared) == []


def test_a_claim_of_the_suspended_stays(shared: Store, other: Other, clock: VirtualClock) -> None:
    """A stopped process is alive: it will go on with what it has."""
    add(shared, "a")
    assert other.claim() == ["a/1"]
    os.kill(other.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, other.process.pid, os.WSTOPPED | os.WNOWAIT)
    clock.step(HOUR)
    assert claim(shared) == []
    os.kill(other.process.pid, signal.SIGCONT)


def test_a_claim_of_the_dead_is_free_at_once(shared: Store, other: Other, clock: VirtualClock) -> None:
    """Whatever the clock says: an hour back keeps nothing, though the lease is not over by it."""
    add(shared, "a")
    assert other.claim() == ["a/1"]
    other.end()
    clock.step(-HOUR)
    [found] = claim(shared)
    assert (found.attempts, found.fence) == (2, 2)


def test_an_owner_is_known_by_name(shared: Store, other: Other) -> None:
    """Alive while its process is; a later process in its place is another owner."""
    add(shared, "a", "b")
    other.claim()
    found = shared.get(JOB, "a")
    assert found is not None
    assert found.owner is not None
    assert shared.owner_alive(found.owner)
    other.end()
    assert shared.owner_alive(found.owner) is False
    replacement = Other(shared.path)
    try:
        # It takes over the byte of the dead one in the lock file, and the dead one's name means nothing now.
        assert sorted(replacement.claim(2)) == ["a/2", "b/1"]
        assert shared.owner_alive(found.owner) is False
    finally:
        replacement.end()


def test_the_fence_keeps_out_who_was_overtaken(shared: Store, other: Other) -> None:
    """An owner that was given up for dead, and comes back, changes nothing any more."""
    add(shared, "a")
    [mine] = claim(shared)
    # As if this process had been taken for dead: another one has it by force.
    shared.put(JOB, "a", 1, status="pending", due=1.0)
    assert other.claim() == ["a/2"]
    assert not shared.write(lambda tx: tx.change(JOB, "a", status="done", value="late", fence=mine.fence))
    found = shared.get(JOB, "a")
    assert found is not None
    assert (found.status, found.value) == (RUNNING, 1)


def test_two_recoverers_never_have_the_same(shared: Store, path: Path) -> None:
    """Three processes claim at once, some at a time: each record is claimed by one, and none is left."""
    add(shared, *(f"{n:03}" for n in range(150)))
    others = [Other(path) for _ in range(3)]
    try:
        got: list[str] = []
        for _ in range(20):
            for one in others:
                one.ask(3)
            for one in others:
                got += one.answer()
        assert max(Counter(got).values()) == 1
        assert len(got) == 150
    finally:
        for one in others:
            one.end()


def test_an_owner_on_another_machine_is_known_by_its_lease(
    path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock cannot be looked at from here, so the time is what there is."""
    monkeypatch.setattr("chaoskit.runtime.durable.store.owners._machine", lambda: "elsewhere")
    with Store.open(path, durability="memory", clock=clock, reserve=0) as store:
        add(store, "a")
        [theirs] = claim(store)
    monkeypatch.undo()
    with Store.open(path, durability="memory", clock=clock, reserve=0) as store:
        assert theirs.owner is not None
        assert store.owner_alive(theirs.owner) is None
        assert claim(store) == []
        clock.advance(61)
        assert [one.fence for one in claim(store)] == [2]


def test_an_owner_of_an_earlier_boot_is_dead(
    path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine has started since: nothing that ran then is alive, whatever its lease."""
    monkeypatch.setattr("chaoskit.runtime.durable.store.owners._boot", lambda: "earlier")
    with Store.open(path, durability="memory", clock=clock, reserve=0) as store:
        add(store, "a")
        claim(store)
    monkeypatch.undo()
    with Store.open(path, durability="memory", clock=clock, reserve=0) as store:
        assert [one.fence for one in claim(store)] == [2]


def test_a_system_without_locks_is_not_asked_for_each(shared: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system refuses the lock of an owner it would refuse the next too: the claim fails at once."""
    add(shared, "a")
    asked: list[int] = []

    def refuse(fd: int, how: int, length: int, byte: int) -> None:
        if byte:
            asked.append(byte)
            raise OSError(errno.ENOLCK, "No locks available")
        fcntl.lockf(fd, how, length, byte)

    monkeypatch.setattr("chaoskit.runtime.durable.store.lock.lockf", refuse)
    with pytest.raises(StoreBusy, match="gives no lock to this owner: No locks available"):
        claim(shared)
    assert len(asked) == 1
    monkeypatch.undo()
    assert [one.attempts for one in claim(shared)] == [1]


def test_a_lease_is_more_than_no_time(shared: Store) -> None:
    """A lease of zero or less would be over before it began."""
    with pytest.raises(UsageError, match=r"lease is 0 .* expected seconds, more than zero"):
        shared.write(lambda tx: tx.claim(JOB, lease=0))
