"""What all scenarios of the watcher share: the world it lives in, the workload, and what must hold of it."""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rare import breaker_states

from chaoskit import Chaos
from chaoskit.runtime import Checkpoints, Shutdown
from chaoskit.runtime.config import Live
from scenarios.watcher import program, servers, settings
from scenarios.watcher.servers import FORGOTTEN
from scenarios.watcher.share import COMPLETE, FLAG, SHEET

PIPELINE, DATABASE = "pipeline.example", "qa.example"
RUNS = {"run1": ["good", "cancelled-once", "failing"], "run2": ["torn"]}
WITHOUT_RESULT = {"run1/failing", "run2/torn"}
"""What no watcher can bring to an end: the pipeline says no, or its archive is damaged."""
SETTINGS = {
    "WATCHER_PIPELINE__URL": f"http://{PIPELINE}",
    "WATCHER_DATABASE__URL": f"http://{DATABASE}",
    "WATCHER_ATTEMPTS": "2",
    "WATCHER_LIMITS__DISK": "1MiB",
}


def prepare(directory: Path) -> None:
    """A share with two runs, one whose sheet is wrong, and one that the sequencer has not finished."""
    for run, samples in {**RUNS, "broken": ["a", "b"], "unfinished": ["c"]}.items():
        folder = directory / "share" / run
        folder.mkdir(parents=True)
        lines = ["sample,reads", *(f"{name},{name}.fastq" for name in samples)]
        (folder / SHEET).write_text("\n".join(lines) + (",surplus\n" if run == "broken" else "\n"))
        for name in samples:
            (folder / f"{name}.fastq").write_text(f"@{name}\nACGT\n+\nIIII\n" * 10)
        if run != "unfinished":
            (folder / COMPLETE).touch()
    (directory / "state").mkdir()


@dataclass(frozen=True, slots=True)
class Servers:
    """The two servers, as a scenario sees them; they outlive every crash of the watcher."""

    pipeline: Any
    database: Any


def started(chaos: Chaos) -> Servers:
    """A share, and the servers."""
    prepare(chaos.path)
    pipeline = chaos.peer(PIPELINE, start=servers.serve_pipeline)
    return Servers(pipeline, chaos.peer(DATABASE, start=servers.serve_database))


def configured(directory: Path, file: Path = settings.DEFAULTS) -> Live[settings.Settings]:
    return settings.live({**SETTINGS, **places(directory)}, file)


def places(directory: Path) -> dict[str, str]:
    return {"WATCHER_SHARE": str(directory / "share"), "WATCHER_STATE": str(directory / "state")}


def watch(directory: Path) -> list[str]:
    """The workload: one round of the watcher. What comes back are the states of its breakers on the way."""
    logging.getLogger("watcher").addHandler(logging.NullHandler())
    with breaker_states() as told:
        program.main(configured(directory), once=True)
    return told


class Doubles:
    """Both servers in place of a watcher's own: one result, and uploads that are kept in a directory."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def result(self, id: str, target: Path) -> None:
        target.write_bytes(servers.result("good"))

    def runs(self) -> dict[str, str]:
        return {}

    def upload(self, sample: str, rows: list[dict[str, str]]) -> None:
        # Under its key: the same upload again is the same one.
        (self._database / sample.replace("/", ".")).write_text(json.dumps(rows))


def upload_alone(directory: Path, later: float = 0.0) -> None:
    """One sample from its claim to its upload, in the thread that asks for it: where memory is struck."""
    time.sleep(later)
    with Shutdown(signals=()) as shutdown, program.Watcher(configured(directory), shutdown) as watcher:
        doubles: Any = Doubles(directory / "database")
        watcher._pipeline = watcher._database = doubles
        watcher._clean_up()
        claim = watcher.samples.claim("good", scope="run1")
        if claim is not None:
            with watcher._attempt("upload", claim):
                claim.progress([1, "r1"])
                watcher._upload(claim)


def settle(directory: Path) -> None:
    """The next rounds, until nothing is left to do, and no more than the attempts of a sample."""
    for _ in range(int(SETTINGS["WATCHER_ATTEMPTS"])):
        # Long enough also after a clock that was an hour ahead: what waits does so by the time of day.
        time.sleep(program.DAY)
        watch(directory)
        with recorded(directory) as samples:
            by_status = samples.statistics().by_status
        if not by_status.keys() - {"completed", "dead"}:
            return


def recorded(directory: Path) -> Checkpoints:
    """What the watcher knows of its samples."""
    state = directory / "state"
    return Checkpoints(state / "watcher.db", pipeline="samples", base=state)


def interrupted(directory: Path) -> bool:
    """True if a sample is claimed by a process that is gone."""
    with recorded(directory) as samples:
        return any(samples.in_progress())


def reason(directory: Path, run: str, name: str) -> str:
    """Why a sample has failed; empty if it has not."""
    with recorded(directory) as samples:
        record = samples.record(name, scope=run)
    return "" if record is None or record.error is None else str(record.error["message"])


def uploads(database: Any) -> Counter[str]:
    """How often the database has got each sample."""
    return Counter(row["sample"] for row in _asked(database.url + "/samples"))


def _asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def left(directory: Path) -> list[Path]:
    """Temporary files."""
    return [path for path in directory.rglob("*") if ".ck-" in path.name or path.parent.name == "spool"]


def check(directory: Path, there: Servers, *, settled: bool = False, hopeless: bool = False) -> None:
    """The invariants of the watcher. With ``hopeless`` a fault may have been one that nothing can repair.

    - Every sample is in exactly one of: uploaded once, failed with a recorded reason, pending.
    - No sample is uploaded twice.
    - No result comes from a corrupt archive.
    - A restart continues; when all is well again nothing is pending (``settled``).
    - No temporary file is left (``settled``).
    - The pipeline has no run that no sample waits for: it is removed by the next start (``settled``).
    """
    uploaded = uploads(there.database)
    assert all(count == 1 for count in uploaded.values()), f"uploaded twice: {uploaded}"
    assert not uploaded.keys() & WITHOUT_RESULT, f"a result of what has none: {uploaded}"
    with recorded(directory) as samples:
        for run, names in RUNS.items():
            for name in names:
                key, record = f"{run}/{name}", samples.record(name, scope=run)
                status = "pending" if record is None else record.status
                if status == "completed":
                    assert uploaded[key] == 1, f"{key} is called uploaded"
                    assert samples.is_completed(name, scope=run, verify_checksum=True), f"{key} has no result"
                elif status == "dead":
                    assert record is not None
                    assert record.error is not None, f"{key} has failed without a reason"
                    assert record.letter is not None
                if settled and not (hopeless and status == "dead"):
                    expected = "dead" if key in WITHOUT_RESULT else "completed"
                    assert status == expected, f"{key} is {status}: {record and record.error}"
        assert samples.verify().ok
    if settled:
        assert hopeless or (directory / "share" / "broken" / FLAG).exists()
        assert not left(directory), f"temporary files: {left(directory)}"
        assert FORGOTTEN not in _asked(there.pipeline.url + "/kept"), "a forgotten run is still there"
