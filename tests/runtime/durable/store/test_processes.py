"""Several processes on one store, killed and stopped at any moment."""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chaoskit.runtime import Store
from chaoskit.runtime.durable.store.lock import LockFile
from chaoskit.runtime.durable.store.protocol import Kind

COUNTER = Kind("counter")
WORKER = Path(__file__).with_name("worker.py")
PROCESSES, OPERATIONS, KILLS, STOPS = 4, 250, 12, 4


@dataclass
class Team:
    """The processes, each started again after its last acknowledged operation when it is killed."""

    directory: Path
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    done: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PROCESSES), 0))
    errors: list[str] = field(default_factory=list)
    longest: float = 0.0
    selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)

    def start(self, me: int) -> None:
        command = [sys.executable, str(WORKER), str(self.directory), str(me), str(self.done[me])]
        process = subprocess.Popen([*command, str(OPERATIONS)], stdout=subprocess.PIPE)
        self.running[me] = process
        self.selector.register(process.stdout, selectors.EVENT_READ, me)  # type: ignore[arg-type]

    def read(self, me: int) -> int:
        """Take in what one process has said; how much it has acknowledged."""
        stdout = self.running[me].stdout
        assert stdout is not None
        text = os.read(stdout.fileno(), 1 << 16)
        if not text:
            self.selector.unregister(stdout)
            stdout.close()
            self.running.pop(me).wait()
        lines = [line.split(maxsplit=2) for line in text.decode().splitlines()]
        for word, *rest in lines:
            if word == "done":
                self.done[me] = int(rest[0]) + 1
                self.longest = max(self.longest, float(rest[1]))
            else:
                self.errors.append(" ".join(rest))
        return len(lines)

    def progress(self, by: float) -> bool:
        """Wait until so many more operations were acknowledged; False if all have ended before."""
        while by > 0 and self.running:
            for key, _ in self.selector.select():
                by -= self.read(key.data)
        return bool(self.running)

    def kill(self, me: int) -> None:
        self.running[me].kill()
        while me in self.running:
            self.read(me)
        self.start(me)

    def stop(self, me: int) -> None:
        """Stop it while others go on; at once when it is the holder of the lock, for which all wait."""
        process = self.running[me]
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        lock = LockFile.open(self.directory / "store.db.lock")
        if lock.holder(0) != process.pid and len(self.running) > 1:
            self.progress(5)
        lock.close()
        process.send_signal(signal.SIGCONT)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    team = Team(tmp_path)
    yield team
    for one in team.running.values():
        one.kill()
        one.wait()
    team.selector.close()


def test_killed_and_stopped_processes_lose_and_double_nothing(team: Team) -> None:
    """By operation id: each acknowledged one is there, each is there once, and there is no error."""
    chance = random.Random(7)
    for me in range(PROCESSES):
        team.start(me)
    plan = [team.kill] * KILLS + [team.stop] * STOPS
    chance.shuffle(plan)
    for strike in plan:
        if not team.progress(chance.randrange(5, 40)):
            break
        strike(chance.choice(sorted(team.running)))
    assert not team.progress(float("inf"))
    assert team.errors == []
    assert team.done == dict.fromkeys(range(PROCESSES), OPERATIONS)
    with Store.open(team.directory / "store.db", durability="process-crash", reserve=0) as store:
        ids = {f"{me}-{n}" for me in range(PROCESSES) for n in range(OPERATIONS)}
        assert {one for one in ids if store.outcome(one) == "absent"} == set()
        # More than once, an operation would have counted more than once.
        counted = sum(one.value["n"] for one in store.find(COUNTER, limit=1000).records)
        assert counted == PROCESSES * OPERATIONS
        assert store.verify(deep=True).ok
