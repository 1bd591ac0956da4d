"""The store under disk errors, kills and loss of power: what it acknowledged is there, nothing is mixed.

In memory (``/dev/shm``) and with short waits, since a lock that cannot be had is waited for in full.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import Store
from chaoskit.runtime.durable.store.protocol import Kind
from chaoskit.runtime.failures.taxonomy import ResilienceError

JOB = Kind("job")
VALUES = (1, 2, 3)


def opened(directory: Path) -> Store:
    return Store.open(directory / "store.db", lock_timeout=0.3, reserve=64 << 10, wal_limit=4)


def save(directory: Path, promise: Callable[[int], None]) -> None:
    with opened(directory) as store:
        for value in VALUES:
            store.put(JOB, "k", [value, "x" * 3000], status="done", operation_id=f"op-{value}")
            promise(value)


def check(chaos: Chaos) -> None:
    with opened(chaos.path) as store:
        found = store.get(JOB, "k")
        value = found.value[0] if found is not None else 0
        assert value >= max(chaos.promised, default=0)
        assert found is None or found.value == [value, "x" * 3000]
        for n in VALUES:
            assert store.outcome(f"op-{n}") == ("committed" if n <= value else "absent")
        assert store.verify(deep=True).ok
        store.put(JOB, "after", 1, status="done")


@scenario(faults.disk() | faults.kill() | faults.power_loss(), model="strict", timeout=30)
def test_save_from_nothing(chaos: Chaos) -> None:
    """Creating the store and saving three times: all that was promised is there, in a store that works."""
    outcome = chaos.run(save, chaos.path, chaos.promise)
    check(chaos)
    assert outcome.ok or outcome.error is None or isinstance(outcome.error, ResilienceError)
