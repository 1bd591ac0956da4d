"""diskcache: small values in SQLite, large ones in files beside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from budgets import bounded

from chaoskit import Chaos, faults, scenario

diskcache = pytest.importorskip("diskcache", reason="needs the dependency group scenarios")

SMALL, LARGE = b"s" * 100, b"L" * 50_000
# diskcache opens its database for up to a minute before it gives up, so faults strike once it is open.
SETTING = "Cache.__setitem__"


def fill(path: Path) -> None:
    with diskcache.Cache(path, timeout=0.01) as cache:
        cache["old"] = LARGE


def store(path: Path, promise: Callable[[str], None]) -> None:
    with diskcache.Cache(path, timeout=0.01) as cache:
        for key, value in (("small", SMALL), ("large", LARGE), ("old", SMALL)):
            cache[key] = value
            promise(key)


def check(chaos: Chaos) -> None:
    """Every key has its old value or its new one, and the new one where it was acknowledged."""
    with diskcache.Cache(chaos.path, timeout=0.01) as cache:
        found = {key: cache.get(key) for key in ("small", "large", "old")}
    old = {"small": None, "large": None, "old": LARGE}
    new = {"small": SMALL, "large": LARGE, "old": SMALL}
    for key, value in found.items():
        assert value == new[key] or (key not in chaos.promised and value == old[key]), key


@scenario(
    faults.kill().on(site=SETTING)
    | (faults.disk() | faults.share())
    .on(site=SETTING, call=("open", "read", "write", "mkdir", "unlink"))
    .only("ENOSPC[]", "EIO[]", "short[1]", "full", "lost"),
    budget=bounded(80),
)
def test_a_value_that_was_stored_is_there(chaos: Chaos) -> None:
    """No error and no kill takes an acknowledged value, or leaves half of one."""
    fill(chaos.path)
    chaos.run(store, chaos.path, chaos.promise)
    check(chaos)


@scenario(
    faults.kill().on(site=SETTING),
    known={
        "44f895": "a kill between the file and its row leaves the file for good, and nothing ever "
        "looks for it",
        "ddb4a3": "a kill between the file and its row leaves the file for good, and nothing ever "
        "looks for it",
    },
)
def test_a_kill_leaves_no_orphans(chaos: Chaos) -> None:
    """Every file of the cache belongs to a value, so that the size limit holds."""
    fill(chaos.path)
    chaos.run(store, chaos.path, chaos.promise)
    with diskcache.Cache(chaos.path) as cache, warnings.catch_warnings():
        warnings.simplefilter("always")
        assert [str(warning.message) for warning in cache.check()] == []
