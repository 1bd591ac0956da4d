"""The calibration registry: a plain SQLite database, written by others and read here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

from chaoskit.runtime import (
    Candidate,
    Choice,
    FileMissing,
    NoCandidate,
    QualityGate,
    RuntimeSettings,
    database_transaction,
)
from scenarios.imaging.work import Calibration

TABLE = "CREATE TABLE IF NOT EXISTS calibrations (name TEXT PRIMARY KEY, gain, noise, since, until)"


class Registry:
    """Solutions by name, the preferred ones first."""

    def __init__(self, path: Path, preferred: Iterable[str], runtime: RuntimeSettings) -> None:
        self.path, self._preferred = path, tuple(preferred)
        gate: QualityGate = runtime.gates["calibration"].gate("calibration")
        quality = gate.quality(lambda solution: {"noise": solution.noise})
        candidates: list[Candidate[Any]] = [
            Candidate(name, partial(self.read, name), quality=quality) for name in self._preferred
        ]
        # One key for all times: what was good an hour ago will do, if it is valid for the data at hand.
        chain = runtime.fallbacks["calibration"].chain
        self._chain = chain(*candidates, name="calibration", key=lambda at: "any")

    def connect(self) -> sqlite3.Connection:
        """A connection to what is there: none is made by looking.

        Raises:
            FileMissing: there is no registry.
        """
        if not self.path.exists():
            raise FileMissing(f"there is no registry at {self.path}")
        return sqlite3.connect(self.path, isolation_level=None)

    def write(self, solutions: Iterable[Calibration]) -> None:
        """Add or replace solutions, all or none."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute(TABLE)
            with database_transaction(connection, attempts=3):
                rows = [astuple(one) for one in solutions]
                connection.executemany("INSERT OR REPLACE INTO calibrations VALUES (?, ?, ?, ?, ?)", rows)

    def read(self, name: str, at: float) -> Calibration:
        """One solution, for data of that time.

        Raises:
            LookupError: there is none, or it is not valid then.
            sqlite3.Error: the registry is damaged, or is none.
        """
        with closing(self.connect()) as connection:
            row = connection.execute("SELECT * FROM calibrations WHERE name = ?", [name]).fetchone()
        if row is None:
            raise LookupError(f"no calibration {name!r}")
        found = Calibration(*row)
        if not found.covers(at):
            raise LookupError(f"{name!r} is valid from {found.since:g} to {found.until:g}, not at {at:g}")
        return found

    def choose(self, at: float) -> Choice[Calibration]:
        """The first solution that is there, valid at that time, and good enough; or the last that was.

        Raises:
            NoCandidate: there is none; its context says why each was rejected.
        """
        choice: Choice[Calibration] = self._chain.choose(at)
        if not choice.value.covers(at):
            raise NoCandidate(
                f"the last good calibration, {choice.value.name!r}, is not valid at {at:g}",
                context={"rejections": choice.rejections},
            )
        return choice
