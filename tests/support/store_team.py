"""Several processes on one store, killed and stopped at any moment, and its server too if it has one."""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from postgres import PostgresServer

from chaoskit.runtime import Store
from chaoskit.runtime.durable.store.lock import LockFile
from chaoskit.runtime.durable.store.protocol import Kind

COUNTER = Kind("counter")
LONG = 0.05
"""Seconds of a call that is kept to be looked at."""
WORKER = Path(__file__).with_name("store_worker.py")


@dataclass
class Team:
    """The processes, each started again after its last acknowledged operation when it is killed."""

    target: str
    processes: int
    operations: int
    server: PostgresServer | None = None
    durability: str = "process-crash"
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    done: dict[int, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    calls: list[tuple[float, float]] = field(default_factory=list)
    """When those began and ended that took longer than :data:`LONG`."""
    strikes: list[tuple[float, float]] = field(default_factory=list)
    """From when to when a process was stopped, or the server gone."""
    selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)

    def start(self, me: int) -> None:
        command = [sys.executable, str(WORKER), self.target, str(me), str(self.done.setdefault(me, 0))]
        process = subprocess.Popen(
            [*command, str(self.operations), self.durability],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
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
        count = 0
        for word, *rest in [line.split(maxsplit=3) for line in text.decode().splitlines()]:
            if word == "done":
                count += 1
                self.done[me] = int(rest[0]) + 1
                begun, ended = float(rest[1]), float(rest[2])
                if ended - begun > LONG:
                    self.calls.append((begun, ended))
            elif word == "error":
                self.errors.append(" ".join(rest))
            else:
                self.met[word] += 1
        return count

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
        """Stop it while others go on; at once when it is the holder of a lock for which all wait."""
        process = self.running[me]
        begun = time.monotonic()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if self.server is not None:
            self.progress(5 if len(self.running) > 1 else 0)
        else:
            lock = LockFile.open(Path(f"{self.target}.lock"))
            if lock.holder(0) != process.pid and len(self.running) > 1:
                self.progress(5)
            lock.close()
        process.send_signal(signal.SIGCONT)
        self.strikes.append((begun, time.monotonic()))

    def kill_server(self, _: int) -> None:
        assert self.server is not None
        begun = time.monotonic()
        self.server.kill()
        self.server.start()
        self.strikes.append((begun, time.monotonic()))

    def end(self) -> None:
        for one in self.running.values():
            one.kill()
            one.wait()
        self.selector.close()

    def run(self, *, kills: int, stops: int, server_kills: int = 0, seed: int = 7) -> None:
        """All of it: strikes in a random order, at random distances, and then to the end."""
        chance = random.Random(seed)
        for me in range(self.processes):
            self.start(me)
        plan: list[Callable[[int], None]] = [self.kill] * kills + [self.stop] * stops
        plan += [self.kill_server] * server_kills
        chance.shuffle(plan)
        # So that the last strike comes before the last operation.
        most = max(2 * self.processes * self.operations // (3 * max(len(plan), 1)), 6)
        for strike in plan:
            if not self.progress(chance.randrange(5, most)):
                break
            strike(chance.choice(sorted(self.running)))
        assert not self.progress(float("inf"))

    def longest(self, *, besides: bool = False) -> float:
        """Seconds of the longest call; with ``besides``, not counting the time in which a strike lasted.

        What is stopped may hold the store for as long as it is stopped, and no call can be answered by a
        server that is gone: only the rest is the store's own.
        """
        lengths = (end - begun - besides * self.struck(begun, end) for begun, end in self.calls)
        return max(lengths, default=0.0)

    def struck(self, begun: float, ended: float) -> float:
        """Seconds of a call in which a strike lasted."""
        # Strikes follow one another, so none is counted twice.
        return sum(max(0.0, min(ended, end) - max(begun, start)) for start, end in self.strikes)

    def check(self) -> None:
        """By operation id: each is there, each once, and no error had another name than it should."""
        assert self.errors == []
        assert self.done == dict.fromkeys(range(self.processes), self.operations)
        with Store.open(self.target, durability="process-crash", reserve=0) as store:
            ids = {f"{me}-{n}" for me in range(self.processes) for n in range(self.operations)}
            # From the ledger itself: to ask ``outcome`` for each of many is a transaction for each.
            ledger = {row[0] for row in store.write(lambda tx: tx.rows("select id from operation"))}  # type: ignore[attr-defined]
            assert ids - ledger == set()
            # More than once, an operation would have counted more than once.
            counted = sum(one.value["n"] for one in store.find(COUNTER, limit=1000).records)
            assert counted == self.processes * self.operations
            assert store.verify(deep=True).ok
