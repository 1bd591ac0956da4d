"""What all scenarios of the ingest share: an inbox, a bucket, the workload, and what must hold of them."""

from __future__ import annotations

import hashlib
import io
import itertools
import logging
import os
import time
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from amazon import BUCKET, HOST, client

from chaoskit import Chaos
from chaoskit.runtime import Checkpoints, FileMissing, S3Target, Store, TransactionReader
from scenarios.ingest import program, settings, targets

HEADER = "time,station,value\n"


def table(*rows: tuple[str, float]) -> str:
    return HEADER + "".join(f"{day}T12:00:00,north,{value}\n" for day, value in rows)


TWO_DAYS = table(("2026-11-01", 1.0), ("2026-11-02", 2.0))
MORE = table(("2026-11-01", 1.5), ("2026-11-02", 2.5), ("2026-11-02", 2.75))
FIRST = {"a": TWO_DAYS, "broken": HEADER + "2026-11-01T12:00:00,north\n", "c": table(("2026-11-03", 3.0))}
"""The inbox of the first day. In the middle of the batch is a file that no one can ingest."""
SECOND = {"a": MORE, "broken": table(("2026-11-04", 4.0)), "c": FIRST["c"]}
"""The inbox of the second day: one file has changed, one was corrected."""
LARGE = table(*((f"2026-11-{day:02}", day + item / 7.0) for day in (1, 2) for item in range(900)))
"""A file whose parts are uploaded in several pieces, if these are small."""
ENVIRONMENT = {
    "INGEST_ACCOUNT__REGION": "eu-west-1",
    "INGEST_ACCOUNT__KEY": "key",
    "INGEST_ACCOUNT__SECRET": "secret",
}
_numbers = itertools.count()
# pyarrow looks for pandas at its first conversion: here once, and not in each workload.
pa.array([0.0])


@dataclass(frozen=True)
class World:
    """The inbox and the state of one case, and where its tables are."""

    path: Path
    port: int | None
    prefix: str | None
    """Below it are the tables of this case in the bucket; None for tables in a directory."""

    def configured(self, endpoint: str | None = None, *, at: Path | None = None) -> settings.Settings:
        """The settings; with paths below ``at`` instead of the directory of the case."""
        root = self.path if at is None else at
        there = str(root / "tables") if self.prefix is None else f"s3://{BUCKET}/{self.prefix}"
        return settings.read(
            {
                **ENVIRONMENT,
                "INGEST_INBOX": str(root / "inbox"),
                "INGEST_STATE": str(root / "state"),
                "INGEST_TARGET": there,
                "INGEST_ACCOUNT__ENDPOINT": endpoint or f"http://{HOST}",
            }
        ).value

    def write(self, files: dict[str, str]) -> None:
        """What the inbox holds from now on."""
        for name, text in files.items():
            path = self.path / "inbox" / "buoys" / f"{name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def place(self, name: str) -> targets.Place:
        """Where the table of a file is, past all faults."""
        if self.prefix is None:
            return self.path / "tables" / "buoys" / name
        return S3Target(
            client(f"http://127.0.0.1:{self.port}", patience=60.0), BUCKET, f"{self.prefix}/buoys/{name}"
        )

    def objects(self) -> dict[str, str]:
        """Every object of the case with its ETag."""
        there = client(f"http://127.0.0.1:{self.port}", patience=60.0)
        found = there.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        return {one["Key"]: one["ETag"] for one in found.get("Contents", [])}


def prepared(path: Path, port: int | None = None) -> World:
    """The inbox of the first day, and a place for tables: below a new prefix, or in a directory."""
    prefix = None if port is None else f"case-{os.getpid()}-{time.time_ns()}-{next(_numbers)}"
    world = World(path, port, prefix)
    (path / "state").mkdir()
    world.write(FIRST)
    return world


def started(chaos: Chaos, port: int | None = None) -> World:
    """The same, with a bucket that outlives every crash."""
    if port is not None:
        chaos.peer(HOST, address=("127.0.0.1", port))
    return prepared(chaos.path, port)


def work(world: World, endpoint: str | None = None) -> int:
    """The workload: one round of the ingest."""
    logging.getLogger("ingest").addHandler(logging.NullHandler())
    # With relative paths: errors are recorded under a checksum, and a crash state is checked elsewhere.
    with chdir(world.path):
        return program.main(world.configured(endpoint, at=Path()), once=True)


def next_day(world: World) -> int:
    """One round, when what the breaker keeps away may come again."""
    time.sleep(world.configured().runtime.breakers["s3"].open_for)
    return work(world)


def another_day(world: World) -> int:
    """One round a day later: after any clock that was wrong by hours."""
    time.sleep(86400.0)
    return work(world)


def interrupted(world: World) -> bool:
    """True if a file is claimed by a process that is gone."""
    with Checkpoints(world.path / "state" / "ingest.db", pipeline="ingest") as files:
        return any(files.in_progress())


def work_twice(world: World) -> int:
    """One round in each of two processes, at once."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work(world))
        finally:
            os._exit(70)
    work(world)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def changing(world: World, convert: Any) -> Any:
    """``convert`` with an inbox that changes just before it reads."""

    def changed(source: Path, directory: Path) -> Any:
        if source.stem == "a":
            world.write({"a": SECOND["a"]})
        return convert(source, directory)

    return changed


def rows(text: str) -> dict[str, list[tuple[str, float]]]:
    """What the parts of a table hold, by their names, that were made from a file with this content."""
    found: dict[str, list[tuple[str, float]]] = {}
    for line in text.splitlines()[1:]:
        time, _, value = line.split(",")
        found.setdefault(f"{time[:10]}.parquet", []).append((time, float(value)))
    return found


def shown(world: World, name: str) -> dict[str, list[tuple[str, float]]] | None:
    """What a reader sees of a table; None for nothing. Parts that are damaged are an error."""
    place = world.place(name)
    if isinstance(place, Path):
        # As any program reads a directory: one that knows nothing of transactions.
        return {part.name: _rows(part.read_bytes()) for part in place.glob("*.parquet")} or None
    try:
        reader = TransactionReader(place)
    except FileMissing:
        return None
    return {part: _rows(reader.read(part)) for part in reader.manifest()}


def _rows(content: bytes) -> list[tuple[str, float]]:
    # Without threads: the test's own process must have none when the next workload is forked.
    read: list[dict[str, Any]] = pq.ParquetFile(io.BytesIO(content)).read(use_threads=False).to_pylist()
    return [(f"{row['time']:%Y-%m-%dT%H:%M:%S}", row["value"]) for row in read]


def check(world: World, *, settled: dict[str, str] | None = None) -> None:
    """The invariants of the ingest. ``settled`` is the inbox, once all is well again.

    - The bucket shows all of a transaction or none of it: a table is that of one content of its file.
    - A completed checkpoint implies its output exists and matches the input that it was made from.
    - One bad file costs only itself: at the end all others are there (``settled``).
    - Nothing is left in staging, neither here nor in the bucket (``settled``).
    """
    path = world.path / "state" / "ingest.db"
    with Store.open(path) as store, Checkpoints(store, pipeline="ingest") as files:
        for name in FIRST:
            seen, record = shown(world, name), files.record(name, scope="buoys")
            good = {FIRST[name], SECOND[name]} - {FIRST["broken"]}
            contents = {_checksum(text): rows(text) for text in good}
            assert seen is None or seen in contents.values(), f"{name} shows a mix: {seen}"
            if record is not None and record.status == "completed":
                assert record.source is not None
                made = contents.get(record.source.checksum)
                assert seen == made, f"{name} is completed and shows {seen}; expected {made}"
            if settled is not None:
                bad = settled[name] is FIRST["broken"]
                assert record is not None, f"{name} was forgotten"
                assert record.status == ("dead" if bad else "completed"), f"{name}: {record.error}"
                assert seen == (None if bad else rows(settled[name])), f"{name} shows {seen}"
        assert files.verify().ok
    if settled is not None:
        check_left(world)


def check_left(world: World) -> None:
    """Nothing waits in staging, here or there, that no transaction is made of."""
    left = [str(path) for path in (world.path / "state" / "staging").iterdir()]
    assert not left, f"staged here: {left}"
    if world.prefix is None:
        return
    for name in FIRST:
        place = world.place(name)
        objects = world.objects()
        start = f"{world.prefix}/buoys/{name}/"
        manifests = {key.removeprefix(f"{start}manifest/") for key in objects if f"{start}manifest/" in key}
        data = f"{start}data/"
        members = {key.removeprefix(data).split("/")[0] for key in objects if data in key}
        assert {f"{one}.json" for one in members} <= manifests, f"staged there: {members}"
        assert isinstance(place, S3Target)
        uploads = place.client.list_multipart_uploads(Bucket=BUCKET, Prefix=start).get("Uploads", [])
        assert not uploads, f"unfinished uploads: {uploads}"


def _checksum(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
