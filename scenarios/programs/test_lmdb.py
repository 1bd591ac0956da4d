"""LMDB: copy on write in one file that readers map."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from chaoskit import Chaos, faults, scenario

lmdb = pytest.importorskip("lmdb", reason="needs the dependency group scenarios")


def put(path: Path, numbers: range, promise: Callable[[int], None] = lambda _: None) -> None:
    """Two keys in each transaction, large enough to fill separate pages."""
    with closing(lmdb.open(str(path), map_size=1 << 20)) as environment:
        for n in numbers:
            with environment.begin(write=True) as transaction:
                transaction.put(b"a%d" % n, b"v" * 6000)
                transaction.put(b"b%d" % n, b"v" * 10)
            promise(n)


@scenario(faults.disk() | faults.kill())
def test_committed_transactions_survive(chaos: Chaos) -> None:
    """Both keys of a transaction or none, in order, and none missing that was acknowledged."""
    put(chaos.path, range(2))
    chaos.run(put, chaos.path, range(2, 4), chaos.promise)
    with (
        closing(lmdb.open(str(chaos.path), map_size=1 << 20, readonly=True)) as environment,
        environment.begin() as t,
    ):
        found = {bytes(key) for key, value in t.cursor() if value == b"v" * (6000 if key[:1] == b"a" else 10)}
        assert len(found) == t.stat()["entries"]
    numbers = {int(key[1:]) for key in found}
    assert found == {b"%s%d" % (side, n) for side in (b"a", b"b") for n in numbers}
    assert numbers == set(range(len(numbers)))
    assert {0, 1} | set(chaos.promised) <= numbers
