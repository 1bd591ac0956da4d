"""The ingest without the runtime: the same tables, and nothing that would survive trouble.

It is what ``benchmarks/systems.py`` compares the ingest with.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema([("time", pa.timestamp("s")), ("station", pa.string()), ("value", pa.float64())])


def main(inbox: Path, target: Path) -> None:
    """Make a table of each file, one after the other."""
    for source in sorted(inbox.glob("*/*.csv")):
        table = target / source.parent.name / source.stem
        table.mkdir(parents=True, exist_ok=True)
        days: defaultdict[str, list[tuple[datetime, str, float]]] = defaultdict(list)
        with source.open(newline="") as file:
            for row in csv.DictReader(file):
                time = datetime.strptime(row["time"], "%Y-%m-%dT%H:%M:%S")
                days[f"{time:%Y-%m-%d}"].append((time, row["station"], float(row["value"])))
        for day, rows in sorted(days.items()):
            columns = [list(column) for column in zip(*rows, strict=True)]
            pq.write_table(pa.table(columns, schema=SCHEMA), table / f"{day}.parquet")
