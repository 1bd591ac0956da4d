"""Ctrl-C and its like, at any moment of a write: nothing hangs, nothing is shared out, nothing is lost.

The first part strikes deterministically: at each line of the store's own code in turn, once, and twice in
a row. The second lets real signals rain on a process in which other threads are writing.
"""

from __future__ import annotations

import linecache
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import chaoskit.runtime.durable.store
from chaoskit.runtime import Store
from chaoskit.runtime.durable.store.lock import LockFile
from chaoskit.runtime.durable.store.protocol import Kind, Tx

JOB = Kind("job")
PACKAGE = str(Path(chaoskit.runtime.durable.store.__file__).parent)
STORM = Path(__file__).with_name("storm.py")


class Second(BaseException):
    """What the second of two signals raises."""


def raise_second(signum: int, frame: FrameType | None) -> None:
    raise Second


class Strike:
    """Raises at the n-th line that is executed in the store's package; with ``twice``, again at once."""

    def __init__(self, at: int, *, twice: bool, within: str = PACKAGE) -> None:
        self.within = within
        self.left, self.twice, self.struck = at, twice, False
        self.seen: set[tuple[int, int]] = set()

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self.within):
            return None
        if event == "line" and not self.leaves_with(frame):
            self.left -= 1
            if self.left == 0:
                self.struck = True
                if self.twice:
                    # It is pending from here on, and strikes as soon as the clean-up has begun.
                    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
                    signal.raise_signal(signal.SIGUSR1)
                    sys.settrace(None)
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
                raise KeyboardInterrupt
        return self

    def leaves_with(self, frame: FrameType) -> bool:
        """True at the end of a ``with``: its line comes a second time, and no signal is looked at there."""
        here = (id(frame), frame.f_lineno)
        if not linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with "):
            return False
        again = here in self.seen
        self.seen ^= {here}
        return again

    def during(self, write: Callable[[], None]) -> bool:
        """Call ``write``; True if it was struck."""
        # What a trace function raises at the end of an except block leaves the handled exception in force,
        # for every later error of this thread to name as its context. A generator has a place for that of
        # its own, which goes with it.
        return next(self._during(write))

    def _during(self, write: Callable[[], None]) -> Iterator[bool]:
        sys.settrace(self)
        try:
            write()
        except (KeyboardInterrupt, Second):
            pass
        finally:
            sys.settrace(None)
        yield self.struck


@pytest.fixture
def second() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, raise_second)
    yield
    signal.signal(signal.SIGUSR1, before)


def put(store: Store, key: str) -> None:
    store.put(JOB, key, 1, status="x")


def write(store: Store, key: str) -> None:
    store.write(lambda tx: tx.put(JOB, key, 1, status="x"), operation_id=key)


def block(store: Store, key: str) -> None:
    with store.transaction(operation_id=key) as tx:
        tx.put(JOB, key, 1, status="x")


@pytest.fixture(autouse=True)
def nothing_is_in_force() -> Iterator[None]:
    """A test leaves no exception behind as the one that is being handled."""
    yield
    assert sys.exc_info() == (None, None, None)


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("way", [put, write, block])
def test_a_write_can_be_struck_at_any_line(
    path: Path, way: Callable[[Store, str], None], twice: bool
) -> None:
    """Afterwards this thread and another one write at once, and what was struck is there once or not."""
    with Store.open(path, durability="memory", lock_timeout=5, reserve=0) as store:
        at = 0
        while True:
            at += 1
            if not Strike(at, twice=twice).during(partial(way, store, f"struck-{at}")):
                break
            put(store, f"after-{at}")
            other = threading.Thread(target=write, args=(store, f"other-{at}"))
            other.start()
            other.join()
            assert store.get(JOB, f"other-{at}") is not None
            assert store.get(JOB, f"after-{at}") is not None
            found = store.get(JOB, f"struck-{at}")
            assert found is None or found.version == 1
        assert at > 30
        # What the last strike left locked was released with the write after it.
        assert LockFile.open(path.with_name("store.db.lock")).holder(0) is None


@pytest.mark.usefixtures("second")
def test_a_leader_that_is_struck_hands_back_what_is_not_its_own(path: Path) -> None:
    """Those who wait for a leader get no error of its signal: their writes are done by the next."""
    with Store.open(path, lock_timeout=5, reserve=0) as store:
        inside, go_on = threading.Event(), threading.Event()

        def wait(tx: Tx) -> None:
            inside.set()
            go_on.wait()
            signal.raise_signal(signal.SIGUSR1)

        errors: list[BaseException] = []

        def follow(n: int) -> None:
            try:
                put(store, str(n))
            except BaseException as error:
                errors.append(error)

        followers = [threading.Thread(target=follow, args=(n,)) for n in range(5)]

        def release() -> None:
            inside.wait()
            for one in followers:
                one.start()
            while sum(not one.taken for one in list(store._here().core.queue._waiting)) < len(followers):
                pass
            go_on.set()

        helper = threading.Thread(target=release)
        helper.start()
        with pytest.raises(Second):
            store.write(wait)
        helper.join()
        for one in followers:
            one.join()
        assert errors == []
        assert store.count(JOB) == {"x": 5}


def test_a_storm_of_signals(tmp_path: Path) -> None:
    """Seven threads write while the main thread is interrupted, often twice in a row: all is there."""
    command = [sys.executable, str(STORM), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, "fine\n"), ended.stdout + ended.stderr


class Naive:
    """The obvious leader and followers: a flag says that there is a leader, and the leader resets it."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("create table kept(key text primary key)")
        self.guard, self.busy = threading.Lock(), False
        self.waiting: deque[tuple[str, threading.Event, list[BaseException]]] = deque()

    def save(self, key: str) -> None:
        mine = (key, threading.Event(), list[BaseException]())
        with self.guard:
            self.waiting.append(mine)
            leads, self.busy = not self.busy, True
        if leads:
            self.lead()
        mine[1].wait()
        if mine[2]:
            raise mine[2][0]

    def lead(self) -> None:
        while True:
            with self.guard:
                batch = [self.waiting.popleft() for _ in range(len(self.waiting))]
                if not batch:
                    self.busy = False
                    return
            try:
                self.connection.execute("begin immediate")
                for key, *_ in batch:
                    self.connection.execute("insert into kept values(?)", (key,))
                self.connection.execute("commit")
            except BaseException as error:
                self.connection.rollback()
                for *_, errors in batch:
                    errors.append(error)
            for _, event, _ in batch:
                event.set()


@pytest.mark.usefixtures("second")
def test_the_obvious_leader_would_hold_up_everyone(path: Path) -> None:
    """Struck twice, it leaves its flag or its lock behind: each later write would wait forever."""
    held_up = 0
    for at in range(1, 30):
        naive = Naive(path.with_name(f"{at}.db"))
        Strike(at, twice=True, within=__file__).during(partial(naive.save, "a"))
        held_up += naive.busy or naive.guard.locked()
        naive.connection.close()
    assert held_up > 0
