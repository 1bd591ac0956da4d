"""The checkpoints of a store as rows, and the rule between steps, their files and their dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.checkpoints.records import CheckpointContent, kind_of
from chaoskit.runtime.durable.checkpoints.sources import Outputs
from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.store.protocol import RUNNING, Record, Storage, Tx, checked
from chaoskit.runtime.failures.stored import RecordCorrupt
from chaoskit.runtime.guarding.consistency.disagreements import Disagreement
from chaoskit.runtime.guarding.consistency.rules import (
    Remedy,
    RowByRow,
    SetColumns,
    Sources,
    disagreement,
)
from chaoskit.runtime.guarding.consistency.sources import Table

__all__ = ["AGAIN", "CheckpointRows", "CheckpointsHold"]

AGAIN = SetColumns({"status": "pending"})
"""The remedy that lets a step run again, with all its attempts."""


class CheckpointRows:
    """The checkpoints of one pipeline as rows.

    The columns are ``id`` (scope/key), ``scope``, ``key``, ``status``, ``attempts``, ``updated``,
    ``version``, ``owner_alive``, ``letter`` and ``artefacts``. The only change that they accept is
    ``{"status": "pending"}``. In an id, a slash in the scope is written as ``%2F``, and ``%`` as ``%25``.
    """

    key = "id"

    def __init__(self, store: Storage, pipeline: str = "default") -> None:
        self._store, self._kind = checked(store), kind_of(kinds.text("pipeline", pipeline))

    def rows(self) -> Iterator[Table]:
        """Yield all checkpoints, reading one page at a time.

        Raises:
            RecordCorrupt: after the last row, if some cannot be read: it is unknown what those refer to.
        """
        after, damaged = None, list[str]()
        while True:
            page = self._store.find(self._kind, after=after, limit=500)
            yield from map(self._row, page.records)
            damaged += (one.key for one in page.damaged)
            after = page.next
            if after is None:
                break
        if damaged:
            raise RecordCorrupt(
                f"{len(damaged)} of its records can't be read, such as {damaged[0]!r}; expected all."
                " 'recovery verify' names them: write them again, or restore them from a backup."
            )

    def find(self, column: str, value: Any) -> list[Table]:
        """The rows with this value; looking up an id reads one record."""
        if column != "id":
            return [row for row in self.rows() if row.get(column) == value]
        scope, _, key = str(value).partition("/")
        found = self._store.get(self._kind, key, scope=scope.replace("%2F", "/").replace("%25", "%"))
        return [] if found is None else [self._row(found)]

    def change(self, seen: Table, columns: Mapping[str, Any] | None) -> bool:
        """Set the checkpoint to pending, if nothing has written to it since.

        Raises:
            UsageError: ``columns`` is any other change.
        """
        if columns != AGAIN.columns:
            raise wrong("columns", columns, f"{AGAIN.columns}", "Checkpoints take no other change.")
        kind, key, scope, version = self._kind, seen["key"], seen["scope"], seen["version"]

        def work(tx: Tx) -> bool:
            record = tx.get(kind, key, scope=scope)
            if record is None or record.version != version:
                return False
            content = replace(CheckpointContent.of(record), artefacts=(), forgiven=record.attempts)
            return tx.change(
                kind,
                key,
                scope=scope,
                status="pending",
                value=content.recorded(),
                due=tx.now,
                version=version,
            )

        return self._store.write(work)

    def _row(self, record: Record) -> dict[str, Any]:
        content = CheckpointContent.of(record)
        alive = self._store.owner_alive(record.owner) if record.owner else None
        return {
            # Keys are often paths, so the first slash has to be the one that separates scope and key.
            "id": f"{record.scope.replace('%', '%25').replace('/', '%2F')}/{record.key}",
            "scope": record.scope,
            "key": record.key,
            "status": record.status,
            "attempts": record.attempts,
            "updated": record.updated,
            "version": record.version,
            "owner_alive": alive,
            "letter": content.letter,
            "artefacts": content.artefacts,
        }


@dataclass(frozen=True)
class CheckpointsHold(RowByRow):
    """A completed step has its artefacts, a running one a live worker, a dead one a dead letter.

    ``base`` is the directory of the artefacts. With ``read`` their content is compared, otherwise only their
    size.
    """

    source: str
    store: Storage
    base: Path
    database: Path | None = None
    read: bool = True
    remedy: Remedy = AGAIN

    def __post_init__(self) -> None:
        kinds.text("source", self.source)
        checked(self.store)
        kinds.instance("base", self.base, str, Path)
        kinds.instance("database", self.database, str, Path, optional=True)
        kinds.switch("read", self.read)

    def _judge(self, row: Table, sources: Sources) -> Disagreement | None:
        if row["status"] == RUNNING and row["owner_alive"] is False:
            return disagreement(self, "stuck", row, sources, "it is running, and its worker has died")
        if row["status"] == "dead":
            letter = row["letter"]
            if letter is None or DeadLetters(self.store).get(letter) is None:
                return disagreement(self, "mismatched", row, sources, "it is dead, and has no dead letter")
        if row["status"] == "completed":
            outputs = Outputs(self.base, self.database)
            for artefact in row["artefacts"]:
                trouble = outputs.damage(artefact, read=self.read)
                if trouble:
                    kind = "missing" if trouble == "is missing" else "mismatched"
                    text = f"it is completed, and its {artefact.path!r} {trouble}"
                    return disagreement(self, kind, row, sources, text)  # type: ignore[arg-type]
        return None
