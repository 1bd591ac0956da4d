"""A process whose main thread is interrupted all the time while it and seven others write: see its test.

Every third interrupt is followed by a second one at once, every other third by one a few microseconds later.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from chaoskit.runtime import Store
from chaoskit.runtime.durable.store.protocol import Kind

JOB = Kind("job")
INTERRUPTS, THREADS = 600, 7
Save = Callable[[str], None]


class Second(BaseException):
    pass


class Rain:
    """Signals for the main thread while it is inside ``save``; elsewhere they only count."""

    def __init__(self, source: str) -> None:
        self.fallen, self.inside, self.source = 0, False, source
        self.chance = random.Random(11)
        signal.signal(signal.SIGALRM, self.first)
        signal.signal(signal.SIGUSR1, self.second)
        signal.signal(signal.SIGVTALRM, self.second)

    def within(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if self.source in frame.f_code.co_qualname:
                return True
            frame = frame.f_back
        return False

    def first(self, signum: int, frame: FrameType | None) -> None:
        if not self.within(frame):
            return
        self.fallen += 1
        if self.fallen % 3 == 0:
            signal.raise_signal(signal.SIGUSR1)
        elif self.fallen % 3 == 1:
            signal.setitimer(signal.ITIMER_VIRTUAL, self.chance.uniform(2e-6, 60e-6))
        raise KeyboardInterrupt

    def second(self, signum: int, frame: FrameType | None) -> None:
        if self.within(frame):
            raise Second


def main(directory: Path) -> None:
    store = Store.open(directory / "store.db", lock_timeout=30)

    def save(key: str) -> None:
        store.write(lambda tx: tx.add(JOB, key, 1, status="x") or fail(key))

    def fail(key: str) -> bool:
        raise AssertionError(f"{key} was written twice")

    acknowledged: list[list[str]] = [[] for _ in range(THREADS + 1)]
    wrong: list[str] = []
    over = threading.Event()

    def work(me: int) -> None:
        n = 0
        while not over.is_set():
            n += 1
            try:
                save(f"{me}-{n}")
                acknowledged[me].append(f"{me}-{n}")
            except BaseException as error:
                wrong.append(f"thread {me}: {error!r}")
                return

    threads = [threading.Thread(target=work, args=(me,), daemon=True) for me in range(1, THREADS + 1)]
    for one in threads:
        one.start()
    storm(save, acknowledged[0], wrong)
    over.set()
    for one in threads:
        one.join(20)
    if any(one.is_alive() for one in threads):
        wrong.append("hung")
    if not wrong:
        check(store, acknowledged, wrong)
    print("\n".join(wrong) or "fine", flush=True)
    os._exit(1 if wrong else 0)


def storm(save: Save, acknowledged: list[str], wrong: list[str]) -> None:
    rain = Rain("storm.<locals>.guarded")
    # A main thread that is stuck can say nothing: another one does.
    watch = threading.Timer(60, lambda: (print("hung", flush=True), os._exit(2)))
    watch.daemon = True
    watch.start()

    def guarded(key: str) -> None:
        save(key)
        acknowledged.append(key)

    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
    n = 0
    while rain.fallen < INTERRUPTS and not wrong:
        n += 1
        try:
            guarded(f"0-{n}")
        except (KeyboardInterrupt, Second):
            pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    watch.cancel()


def check(store: Store, acknowledged: list[list[str]], wrong: list[str]) -> None:
    have: set[str] = set()
    after = None
    while True:
        page = store.find(JOB, after=after, limit=1000)
        have |= {one.key for one in page.records}
        after = page.next
        if after is None:
            break
    wrong += [f"lost {key}" for keys in acknowledged for key in keys if key not in have]
    if not store.verify().ok:
        wrong.append("damaged")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
