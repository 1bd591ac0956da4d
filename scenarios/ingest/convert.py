"""From a table of measurements to Parquet: one part for each day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from chaoskit.runtime import Row, read_rows

COLUMNS = ("time", "station", "value")
SCHEMA = pa.schema([("time", pa.timestamp("s")), ("station", pa.string()), ("value", pa.float64())])


def convert(source: Path, directory: Path) -> Iterator[tuple[Path, int]]:
    """Write the parts of ``source`` into ``directory``; each with its number of rows, once it is written.

    Raises:
        MalformedData: the source is not a table of measurements, with file, line and column.
        OSError: it cannot be read, or a part cannot be written.
    """
    days: defaultdict[str, list[tuple[datetime, str, float]]] = defaultdict(list)
    # All of it before the first part is written: what is wrong in the last row costs no upload.
    for row in read_rows(source, columns=COLUMNS):
        time, value = _time(row), _value(row)
        days[f"{time:%Y-%m-%d}"].append((time, row["station"], value))
    for day, rows in sorted(days.items()):
        columns = [list(column) for column in zip(*rows, strict=True)]
        part = directory / f"{day}.parquet"
        # Opened here: if its last bytes find no room, pyarrow's own file would stay open.
        with part.open("wb") as file:
            pq.write_table(pa.table(columns, schema=SCHEMA), file)
        yield part, len(rows)


def _time(row: Row) -> datetime:
    try:
        return datetime.strptime(row["time"], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        raise row.error("time", "expected a time as 2026-11-29T12:00:00") from None


def _value(row: Row) -> float:
    try:
        return float(row["value"])
    except ValueError:
        raise row.error("value", "expected a number") from None
