"""Small programs that trust a clock, each with its corrected twin.

Run by test_clock_bugs.py by another pytest. A program is a function of the directory; what it returns
is for ``holds`` to judge.
"""

from __future__ import annotations

import itertools
import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaoskit import Chaos, faults, scenario

Clock = Callable[[], float]
Program = Callable[[Path], Any]
wall, steady = time.time, time.monotonic
STEPS = faults.clock()


@dataclass(frozen=True)
class Planted:
    """A bug, its twin, what both must return, and a schedule that must break the bug."""

    bug: Program
    twin: Program
    holds: Callable[[Any], bool]
    finds: str
    faults: faults.FaultSet = STEPS
    verdict: str = "violated"
    twin_verdicts: tuple[str, ...] = ("tolerated", "failed safe")


def steals_a_lease(clock: Clock) -> Program:
    """A lease of 30 s is taken by another while its holder still works."""

    def program(path: Path) -> bool:
        expires = clock() + 30
        stolen: list[bool] = []
        other = threading.Timer(10, lambda: stolen.append(clock() > expires))
        other.start()
        other.join()
        return stolen == [False]

    return program


def measures(clock: Clock) -> Program:
    """How long something took."""

    def program(path: Path) -> float:
        began = clock()
        (path / "f").write_bytes(b"x")
        return clock() - began

    return program


def caches(clock: Clock) -> Program:
    """What is cached for a minute is still served after two."""

    def program(path: Path) -> bool:
        stored = clock()
        time.sleep(120)
        return clock() - stored > 60

    return program


def plans_the_next_run(clock: Clock) -> Program:
    """The next run is in a minute, and not in an hour and a minute."""

    def program(path: Path) -> float:
        began, due = time.monotonic(), clock() + 60
        while (left := due - clock()) > 0:
            time.sleep(left)
        return time.monotonic() - began

    return program


def orders(numbers: Callable[[], float]) -> Program:
    """What happened first comes first."""

    def program(path: Path) -> list[str]:
        events = [(numbers(), "begun")]
        events.append((numbers(), "paid"))
        events.append((numbers(), "sent"))
        return [name for _, name in sorted(events)]

    return program


def names_files(names: Callable[[], float]) -> Program:
    """Three files, no two of one name."""

    def program(path: Path) -> int:
        for _ in range(3):
            (path / f"{names()}.json").write_bytes(b"x")
        return len(os.listdir(path))

    return program


def overflows(path: Path) -> bool:
    """The wait doubles for each second that it has been tried."""
    began = time.time()
    for _ in range(3):
        time.sleep(min(0.1 * 2 ** int(time.time() - began), 60))
    return True


def counts_attempts(path: Path) -> bool:
    """The wait doubles for each attempt."""
    for attempt in range(3):
        time.sleep(0.1 * 2**attempt)
    return bool(time.time())


def gives_up(clock: Clock) -> Program:
    """What takes 5 s is waited for, for 30 s at most."""

    def program(path: Path) -> bool:
        done = threading.Event()
        threading.Timer(5, done.set).start()
        until = clock() + 30
        while not done.is_set() and clock() < until:
            time.sleep(0.5)
        return done.is_set()

    return program


def uses_a_token(check: Clock) -> Program:
    """A token is good for ten minutes, and the server that has issued it was not suspended."""

    def program(path: Path) -> bool:
        issued, expires = time.time(), check() + 600
        time.sleep(100)
        return check() > expires or time.time() - issued < 600

    return program


def cleans_up(age: Callable[[Path], float]) -> Program:
    """What is older than half an hour is removed, and the file is a minute old."""

    def program(path: Path) -> bool:
        file = path / "fresh"
        file.write_bytes(b"x")
        time.sleep(60)
        if age(file) > 1800:
            file.unlink()
        return file.exists()

    return program


def age_by_time(file: Path) -> float:
    """By the wall clock."""
    return time.time() - file.stat().st_mtime


def age_by_neighbour(file: Path) -> float:
    """By a file that is written now: the same clock made both times."""
    (now := file.with_name("now")).write_bytes(b"")
    age = now.stat().st_mtime - file.stat().st_mtime
    # A clock that was set in between shows as an age that this program cannot have seen.
    return age if age < 120 else 0.0


def packs(form: str) -> Program:
    """Two moments in a record of fixed length."""

    def program(path: Path) -> int:
        data = struct.pack(form, int(time.time()))
        time.sleep(2)
        return len(data + struct.pack(form, int(time.time())))

    return program


def limits(clock: Clock) -> Program:
    """One call each second: after a minute there is room for one."""

    def program(path: Path) -> bool:
        tokens, last = 0.0, clock()
        for _ in range(2):
            time.sleep(60)
            now = clock()
            tokens, last = tokens + (now - last), now
        return tokens >= 1

    return program


def meters(clock: Clock) -> Program:
    """How long is worked in all: each time what has passed since the same line was there before."""

    def program(path: Path) -> bool:
        total, last = 0.0, None
        for _ in range(4):
            now = clock()
            total, last = total + (0 if last is None else now - last), now
            time.sleep(1)
        return 0 < total < 60

    return program


def writes_as_leader(checks: bool) -> Program:
    """Leader for 30 s: what is written after a longer sleep is written by one who is leader no more."""

    def program(path: Path) -> bool:
        until = time.monotonic() + 30
        time.sleep(10)
        if checks and time.monotonic() > until:
            return True
        (path / "state").write_bytes(b"x")
        return time.monotonic() <= until

    return program


def true(value: Any) -> bool:
    return value is True


COUNTER = itertools.count()
PLANTED: dict[str, Planted] = {
    "lease": Planted(steals_a_lease(wall), steals_a_lease(steady), true, "t1:clock(wall)#1=step[3600]"),
    "negative duration": Planted(
        measures(wall), measures(steady), lambda taken: taken >= 0, "clock(wall)#2=step[-3600]"
    ),
    "cache forever": Planted(caches(wall), caches(steady), true, "clock(wall)#2=step[-3600]"),
    "next run far ahead": Planted(
        plans_the_next_run(wall),
        plans_the_next_run(steady),
        lambda taken: 59 < taken < 120,
        "clock(wall)#2=step[-3600]",
    ),
    "order by local time": Planted(
        orders(wall), orders(COUNTER.__next__), ["begun", "paid", "sent"].__eq__, "clock(wall)#2=step[-3600]"
    ),
    "names by the clock": Planted(
        names_files(time.time_ns),
        names_files(COUNTER.__next__),
        (3).__eq__,
        "clock(wall)#1=freeze",
        faults.clock(whole=True),
    ),
    "backoff that overflows": Planted(overflows, counts_attempts, true, "clock(wall)#2=step[3600]"),
    "gives up at once": Planted(gives_up(wall), gives_up(steady), true, "clock(wall)#2=step[3600]"),
    "suspended": Planted(
        uses_a_token(steady),
        uses_a_token(wall),
        true,
        "sleep(test_inner.py,program)#1=suspend[3600]",
        faults.clock().only("suspend"),
    ),
    "removes what is fresh": Planted(
        cleans_up(age_by_time), cleans_up(age_by_neighbour), true, "clock(wall)#1=step[3600]"
    ),
    "end of 32-bit time": Planted(
        packs("<i"),
        packs("<q"),
        lambda size: size in (8, 16),
        "clock(wall)#1=set[2038-01-19T03:14:07Z]",
        faults.clock(whole=True),
    ),
    "limiter below zero": Planted(limits(wall), limits(steady), true, "clock(wall)#2=step[-3600]"),
    "meter in a loop": Planted(meters(wall), meters(steady), true, "clock(wall)#2=step[3600]"),
    "leader no more": Planted(
        writes_as_leader(False),
        writes_as_leader(True),
        true,
        "sleep(test_inner.py,program)#1=late[60]",
        faults.clock(whole=True),
    ),
}


def _each() -> list[Any]:
    return [
        pytest.param(name, marks=scenario(planted.faults, oracle="off"), id=name)
        for name, planted in PLANTED.items()
    ]


def execute(chaos: Chaos, program: Program, holds: Callable[[Any], bool]) -> None:
    def workload() -> Any:
        value = program(chaos.path)
        # Every program reads the wall clock somewhere, if only for a line in a log.
        (chaos.path / "log").write_text(f"ended at {time.time()}")
        return value

    outcome = chaos.run(workload)
    assert outcome.ok, outcome.error
    assert holds(outcome.value), outcome.value


@pytest.mark.parametrize("name", _each())
def test_bug(chaos: Chaos, name: str) -> None:
    execute(chaos, PLANTED[name].bug, PLANTED[name].holds)


@pytest.mark.parametrize("name", _each())
def test_twin(chaos: Chaos, name: str) -> None:
    execute(chaos, PLANTED[name].twin, PLANTED[name].holds)
