"""A fork that is spared the work which only other threads make necessary."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.inject import forking, processes


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-xdist has a thread beside the tests, which holds no lock of the library."""
    mine = frozenset(processes.threads("self"))
    monkeypatch.setattr(processes, "threads", lambda pid: [1, *set(look(pid)) - mine])


look = processes.threads
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(look: Callable[[], Any], fork: Callable[[], int] = forking.fork) -> Any:
    """What ``look`` returns in a forked child."""
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        os.write(writing, json.dumps(look()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with open(reading, "rb") as answer:
        return json.loads(answer.read())


def test_the_child_goes_on_with_the_random_numbers() -> None:
    """Python seeds them again in a child; here the same case draws the same numbers each time."""
    state = random.getstate()
    drawn = in_child(random.random)
    random.setstate(state)
    assert drawn == random.random()


def test_the_library_is_as_usable_as_in_the_parent() -> None:
    """Locks of logging are free for any thread, and the main thread is this one by number and by name."""

    def look() -> list[object]:
        free: list[bool] = []

        def other() -> None:
            # Another thread, since the lock is reentrant.
            free.append(logging._lock.acquire(blocking=False))  # type: ignore[attr-defined]

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        main = threading.main_thread()
        return [free, main.native_id == os.getpid(), main is threading.current_thread()]

    assert in_child(look) == [[True], True, True]


def test_what_the_child_forks_finds_the_usual_functions() -> None:
    """Only the one fork is spared: a program's own children draw new random numbers, as without us."""

    def look() -> bool:
        state = random.getstate()
        drawn = in_child(random.random, os.fork)
        random.setstate(state)
        return bool(drawn == random.random())

    before = list(forking._hooks())
    assert in_child(look) is False
    assert forking._hooks() == before


def test_functions_of_others_are_called() -> None:
    """A library that resets itself after a fork still does."""
    called: list[int] = []
    os.register_at_fork(after_in_child=lambda: called.append(os.getpid()))
    assert in_child(lambda: called == [os.getpid()])


def test_with_another_thread_it_is_the_ordinary_fork() -> None:
    """Then a lock may be held by a thread that is gone in the child, and the library makes new ones."""
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    try:
        state = random.getstate()
        drawn = in_child(random.random)
        random.setstate(state)
        assert drawn != random.random()
    finally:
        go.set()
        thread.join()


def test_the_list_is_the_interpreters() -> None:
    """It is not a copy: hooks registered later stand in it, and all that is replaced was found in it."""
    hooks = forking._hooks()

    def later() -> None:
        pass

    os.register_at_fork(after_in_child=later)
    assert hooks[-1] is later
    assert set(forking._INSTEAD) <= set(hooks)
    assert len(forking._INSTEAD) == 3
