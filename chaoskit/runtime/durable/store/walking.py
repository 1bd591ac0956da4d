"""Every record of a store, compared with its checksum, in either dialect."""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.runtime.durable.store.protocol import DamagedRecord, Kind, VerifyReport
from chaoskit.runtime.durable.store.reading import COLUMNS, Row, RowReader, as_text, behind, damage_of
from chaoskit.runtime.failures.base import ResilienceError

__all__ = ["look_at_all"]

# Any format will do: whether a record can be understood is for its feature to say.
_ANY = 1 << 62
_WALK = 500


def look_at_all(reader: RowReader) -> VerifyReport:
    """How many records there are, which of them are damaged, and the error that ended the look, if any."""
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
    """Every row, some at a time, so that no read is held open while the others want to write."""
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
