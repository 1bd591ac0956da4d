"""What each store has acknowledged is there after the power was cut, under each real file system.

A store that breaks this has known findings, stated by their ids and with the schedules that show them; see
``docs/explanation/real-programs.md``, which is made from the report of this module.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from budgets import ALL, FEW

from chaoskit import faults
from scenarios.durability.known import FINDINGS, KNOWN
from scenarios.durability.stores import KEYS, STORES, Store


class CannotOpen(AssertionError):
    """The store cannot be opened or read any more."""


class DataLoss(AssertionError):
    """A value that was acknowledged is gone."""


class SilentError(AssertionError):
    """The store returns something that was never put."""


def value_of(key: str) -> str:
    """A value that takes more than a page, so that it can be torn."""
    return f"{key}-" * 1000 + key


def fill(store: Store, path: Path, keys: Sequence[str], promise: Any = None) -> None:
    """Put values, and promise each once the store has acknowledged it."""
    with store.writing(path) as put:
        for key in keys:
            put(key, value_of(key))
            if promise is not None:
                promise(key)


def read(store: Store, path: Path) -> Mapping[str, str]:
    """Read the store in a separate process, which may die of what it finds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            answer: tuple[str, Any] = ("found", dict(store.read(path)))
        except BaseException as error:
            answer = ("failed", f"{type(error).__name__}: {error}")
        with open(writing, "wb") as file:
            pickle.dump(answer, file)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        data = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        raise CannotOpen(f"reading it dies of {signal.Signals(-code).name}")
    kind, found = pickle.loads(data)
    if kind == "failed":
        raise CannotOpen(found.splitlines()[0])
    return found


def left_out(store: Store) -> str:
    """Why a store is not looked at in this run; empty if it is."""
    # Each of its cases starts it many times.
    if FEW and store.name == "Mercurial":
        return "it takes as long as all the others: left to `make scenarios`, without BUDGET=few"
    return store.missing()


def parameters() -> list[Any]:
    """Each store with what is known of it."""
    found = []
    for store in STORES:
        # Without the schedules: a report shows one beside the reason, and known.py has them all.
        harms = dict.fromkeys(line.partition(": ")[0] for line in KNOWN.get(store.name, ()))
        known = {name: "; ".join(harms) for name in FINDINGS.get(store.name, ())}
        # Never fewer: the plainest case of a known finding must be among them.
        budget = None if ALL else store.budget
        options: dict[str, Any] = {"budget": budget, "timeout": 60.0, "known": known}
        marks = [pytest.mark.chaoskit(faults.power_loss(), oracle=store.oracle, **options)]
        if reason := left_out(store):
            marks.append(pytest.mark.skip(reason=reason))
        found.append(pytest.param(store, id=store.name, marks=marks))
    return found


@pytest.mark.parametrize("store", parameters())
def test_what_was_acknowledged_survives_a_power_loss(store: Store, chaos: Any) -> None:
    """After the power loss the store opens, holds all that it acknowledged, and nothing else."""
    fill(store, chaos.path, KEYS[:1])
    chaos.run(fill, store, chaos.path, KEYS[1:], chaos.promise)
    found = read(store, chaos.path)
    for key, value in found.items():
        if key not in KEYS or value != value_of(key):
            raise SilentError(f"{key!r} is {len(value)} characters that were never put under it")
    for key in (KEYS[0], *chaos.promised):
        if key not in found:
            raise DataLoss(f"{key!r} was acknowledged and is gone")
