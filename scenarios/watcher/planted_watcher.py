"""The watcher with one guarantee removed: each of these scenarios must be violated.

Run by ``test_watcher.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import Checkpoints, Claim, read_rows
from chaoskit.runtime.durable.checkpoints import sources
from chaoskit.runtime.guarding.archives import extracting
from scenarios.watcher import program, remote, world
from scenarios.watcher.plain import FILTERED
from scenarios.watcher.remote import Client, Database
from scenarios.watcher.test_watcher import RECORDED, TIMEOUT, ends_well, keeps_its_result

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def few(monkeypatch: Patch) -> None:
    """One sample, which can be brought to its end: what each twin lacks shows with any of them."""
    monkeypatch.setattr(world, "RUNS", {"run1": ["good"]})
    monkeypatch.setattr(world, "WITHOUT_RESULT", set())


@scenario(faults.network().on(host=world.DATABASE).only("reset"), budget=6, timeout=TIMEOUT, oracle="off")
def test_uploads_have_no_key(chaos: Chaos, monkeypatch: Patch) -> None:
    def upload(self: Database, sample: str, rows: list[dict[str, str]]) -> None:
        self._client.ask("POST", "/samples", told={"sample": sample, "rows": rows})

    monkeypatch.setattr(Database, "upload", upload)
    ends_well(chaos)


@scenario(faults.kill().on(host=world.DATABASE), budget=6, timeout=TIMEOUT, oracle="off")
def test_recorded_before_it_is_uploaded(chaos: Chaos, monkeypatch: Patch) -> None:
    upload = Database.upload

    def work(self: program.Watcher, claim: Claim) -> None:
        rows, target = fetched(self, claim)
        claim.complete(artefacts=[target.relative_to(self.settings.state)])
        upload(self._database, f"{claim.scope}/{claim.key}", rows)

    monkeypatch.setattr(program.Watcher, "_upload", work)
    ends_well(chaos)


def fetched(watcher: program.Watcher, claim: Claim) -> tuple[list[dict[str, str]], Path]:
    """A result, as the watcher gets it."""
    archive = watcher._spool / f"{claim.scope}.{claim.key}.tar.gz"
    target = watcher._results / claim.scope / claim.key
    watcher._pipeline.result(claim.reached[1], archive)
    program.make_directories(target.parent)
    try:
        program.extract(archive, target, replace=True)
    finally:
        archive.unlink()
    return [row.as_dict() for row in read_rows(target / program.SUMMARY)], target


@scenario(faults.kill().on(path="state/results/**"), budget=12, timeout=TIMEOUT, oracle="off")
def test_a_directory_counts_as_a_result(chaos: Chaos, monkeypatch: Patch) -> None:
    def extract(archive: Path, target: Path, **options: Any) -> None:
        # Nothing is unpacked twice, and what is unpacked comes file by file.
        if not target.exists():
            target.mkdir()
            with tarfile.open(archive) as opened:
                opened.extractall(target, **FILTERED)

    monkeypatch.setattr(program, "extract", extract)
    ends_well(chaos)


@scenario(faults.kill().on(path="state/spool/**"), budget=6, timeout=TIMEOUT, oracle="off")
def test_the_spool_is_never_cleaned(chaos: Chaos, monkeypatch: Patch) -> None:
    clean_up = program.Watcher._clean_up

    def elsewhere(self: program.Watcher) -> None:
        # What the pipeline keeps is removed as ever.
        spool, self._spool = self._spool, self._spool.with_name("nothing")
        self._spool.mkdir(exist_ok=True)
        clean_up(self)
        self._spool = spool

    monkeypatch.setattr(program, "clean_leftovers", lambda directory: [])
    monkeypatch.setattr(program.Watcher, "_clean_up", elsewhere)
    ends_well(chaos)


@scenario(faults.kill().on(host=world.PIPELINE), budget=6, timeout=TIMEOUT, oracle="off")
def test_what_a_dead_watcher_had_is_never_taken_over(chaos: Chaos, monkeypatch: Patch) -> None:
    claim = Checkpoints.claim

    def unless_claimed(self: Checkpoints, key: str, *, scope: str = "", **options: Any) -> Claim | None:
        record = self.record(key, scope=scope)
        if record is not None and record.status == "running":
            return None
        return claim(self, key, scope=scope, **options)

    monkeypatch.setattr(Checkpoints, "claim", unless_claimed)
    ends_well(chaos)


# Two guarantees: a checkpoint syncs what it names, should whatever made it not have done so.
@scenario(RECORDED, model="strict", budget=40, timeout=TIMEOUT, oracle="off")
def test_results_are_not_durable(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sources, "_sync_file", lambda path: None)
    unsynced = partial(extracting.publish_directory, durability="process-crash")
    monkeypatch.setattr(extracting, "publish_directory", unsynced)
    keeps_its_result(chaos)


# One case: it hangs, for as long as it is given.
@scenario(
    faults.network().on(host=world.PIPELINE, call="connect").only("silent"),
    budget=1,
    timeout=10,
    oracle="off",
)
def test_no_time_out(chaos: Chaos, monkeypatch: Patch) -> None:
    once = Client._once

    def for_ever(self: Client, *args: Any, **options: Any) -> Any:
        object.__setattr__(self._service, "timeout", None)
        return once(self, *args, **options)

    monkeypatch.setattr(Client, "_once", for_ever)
    # The deadline of the transport would end the wait, too.
    monkeypatch.setattr(remote, "RetryingAdapter", lambda *_, **__: HTTPAdapter())
    ends_well(chaos)
