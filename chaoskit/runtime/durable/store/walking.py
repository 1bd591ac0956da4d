"""Comparing every record of a store with its checksum, in either dialect."""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.runtime.durable.store.protocol import DamagedRecord, Kind, VerifyReport
from chaoskit.runtime.durable.store.reading import COLUMNS, Row, RowReader, as_text, behind, damage_of
from chaoskit.runtime.failures.base import ResilienceError

__all__ = ["look_at_all"]

# Newer formats are not damage: only the feature that owns a record knows which formats it can read.
_ANY = 1 << 62
_WALK = 500


def look_at_all(reader: RowReader) -> VerifyReport:
    """Count the records, and list the damaged ones. If an error ends the walk, ``problems`` contains it."""
    damaged: list[DamagedRecord] = []
    problems: tuple[str, ...] = ()
    count = 0
    try:
        for row in _all(reader):
            count += 1
            damage = damage_of(row, Kind(as_text(row[0]), _ANY))
            if damage is not None:
                damaged.append(damage)
    except ResilienceError as error:
        problems = (error.message,)
    return VerifyReport(count, problems, tuple(damaged))


def _all(reader: RowReader) -> Iterator[Row]:
    """Every row, in small groups, so that no open read holds up checkpoints or writers."""
    after: tuple[object, ...] = ("", "", "")
    while True:
        term, *values = behind(("kind", "scope", "key"), after)
        rows = reader.rows(
            f"select {COLUMNS} from record where {term} order by kind, scope, key limit {_WALK}", values
        )
        yield from rows
        if len(rows) < _WALK:
            return
        after = rows[-1][:3]
