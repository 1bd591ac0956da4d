"""The S rows: both of our stores hold every one of them, and each row catches the stores that break it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyFailure
from postgres import PostgresServer

from chaoskit.contracts import Row, missing, row_test
from chaoskit.contracts.store import ROWS, ChaoskitStore
from chaoskit.contracts.store_adapter import StoreSubject

from .broken_stores import BROKEN, Twin

# An example starts processes and opens a store several times: a few of them tell most.
PROFILE = settings(
    max_examples=4, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
OURS = {
    "S1": settings(PROFILE, max_examples=2),  # each of them kills nine processes
    "S6": settings(PROFILE, max_examples=30),  # values, which cost little
}
THEIRS = settings(
    PROFILE, max_examples=60, phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False
)

IDS = [f"S{n}" for n in range(1, 12)]
TWINS = [pytest.param(row, twin, id=f"{row.id}-{twin.__name__}") for row in ROWS for twin in BROKEN[row.id]]


class OnServer(ChaoskitStore):
    """Ours on PostgreSQL."""

    name = "chaoskit (PostgreSQL)"

    def __init__(self, server: PostgresServer, new: Callable[[], str]) -> None:
        self.server, self.new = server, new

    @contextmanager
    def place(self) -> Iterator[str]:
        yield self.new()

    @contextmanager
    def busy(self, place: str) -> Iterator[None]:
        with self.server.connect() as other, other.transaction():
            # As some tool of an operator might: reading goes on, and nothing can be written.
            other.execute(f"lock table {place.rpartition('schema=')[2]}.record in exclusive mode")
            yield

    def damage(self, place: str, key: str, stored: bytes | None) -> None:
        table = f"{place.rpartition('schema=')[2]}.record"
        with self.server.connect() as other:
            if stored is None:
                other.execute(
                    f"update {table} set payload = replace(payload, 'good', 'evil') where key = %s", (key,)
                )
            else:
                text = stored.decode("latin-1").replace("\0", "")
                other.execute(f"update {table} set payload = %s where key = %s", (text, key))


def test_every_row_is_there() -> None:
    """The suite has the eleven rows of the contract, in order, and a broken store for each."""
    assert [row.id for row in ROWS] == IDS == list(BROKEN)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_our_store_in_a_file_holds(row: Row) -> None:
    """Our store keeps the promise of this row, which applies to it."""
    ours = ChaoskitStore()
    assert not missing(row, ours)
    row_test(row, ours, OURS.get(row.id, PROFILE))()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_our_store_on_a_server_holds(
    row: Row, postgres: PostgresServer, new_store_on: Callable[[], str]
) -> None:
    """The same on PostgreSQL."""
    row_test(row, OnServer(postgres, new_store_on), OURS.get(row.id, PROFILE))()


@pytest.mark.parametrize(("row", "twin"), TWINS)
def test_a_broken_store_is_caught(row: Row, twin: type[Twin]) -> None:
    """A store with just this bug fails this row."""
    with pytest.raises((AssertionError, FlakyFailure)):
        row_test(row, twin(), THEIRS)()


class Unreachable(ChaoskitStore):
    """A server that is too busy for the processes that a row starts, and has time for the row itself."""

    def __init__(self) -> None:
        self.row = os.getpid()

    @contextmanager
    def open(self, place: str, **options: Any) -> Iterator[StoreSubject]:
        if os.getpid() != self.row:
            raise TimeoutError("no connection within 10 s")
        with super().open(place, **options) as store:
            yield store


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.id in ("S1", "S2", "S3", "S4")], ids=lambda row: row.id
)
def test_a_child_that_cannot_open_the_store_is_not_taken_for_a_killed_one(row: Row) -> None:
    """Nothing was acknowledged then, and nothing lost: the failure says what failed."""
    with pytest.raises(AssertionError, match=r"a child failed: TimeoutError\('no connection within 10 s'\)"):
        row_test(row, Unreachable(), THEIRS)()
