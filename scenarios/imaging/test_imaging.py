"""The imaging under everything that can go wrong around it; ``world.check`` has what must hold."""

from __future__ import annotations

import json
import logging
import sqlite3
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from budgets import at_length, bounded, planted
from planting import Planted, Shown, missed

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import DeadLetters, NoCandidate, Shutdown, Store, StoreCorrupt, classify
from scenarios.imaging import checks, program, registry, settings, work, world
from scenarios.imaging.__main__ import main
from scenarios.imaging.program import Imaging

TIMEOUT = 120
"""Seconds of the machine; those of the imaging cost nothing."""
# The check is one function: test_killed_at_any_point tries it on spoiled states, the others do without
# (oracle="off").
Patch = pytest.MonkeyPatch


def ends_well(chaos: Chaos) -> None:
    """A round that is struck, and one that brings everything to its end."""
    world.prepare(chaos.path)
    chaos.run(world.run, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)
    chaos.recover(world.settle, chaos.path)
    world.check(chaos.path, chaos.promised, settled=True)


@scenario(faults.kill(), budget=bounded(5), timeout=TIMEOUT)
def test_killed_at_any_point(chaos: Chaos) -> None:
    """kill -9 before any change of the disk: the next start goes on at the stage that was in progress."""
    world.prepare(chaos.path)
    chaos.run(world.run, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)
    left = world.interrupted(chaos.path)
    chaos.recover(world.settle, chaos.path)
    world.check(chaos.path, chaos.promised, settled=True)
    chaos.sometimes("a stage that a dead worker had begun was brought to its end", left)


@at_length
@scenario(faults.signal("SIGTERM"), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_told_to_stop(chaos: Chaos, monkeypatch: Patch) -> None:
    """SIGTERM at any call: the observation in progress is brought on, no other is begun."""
    monkeypatch.setattr(world, "OBSERVATIONS", world.FEW)
    world.prepare(chaos.path)
    outcome = chaos.run(world.run, chaos.path, chaos.promise)
    assert outcome.ok, outcome
    world.check(chaos.path, chaos.promised)
    assert not world.interrupted(chaos.path)
    chaos.recover(world.settle, chaos.path)
    world.check(chaos.path, chaos.promised, settled=True)


@at_length
@scenario(faults.clock(), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_the_clock_is_set(chaos: Chaos, monkeypatch: Patch) -> None:
    """An hour back or ahead, at each line that reads it: no observation is lost or done twice for that."""
    monkeypatch.setattr(world, "OBSERVATIONS", world.FEW)
    world.prepare(chaos.path)
    chaos.run(world.run, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)
    chaos.recover(world.settle, chaos.path, 86400.0)
    world.check(chaos.path, chaos.promised, settled=True)


@scenario(faults.power_loss(), model="strict", budget=bounded(5), timeout=TIMEOUT, oracle="off")
def test_the_power_goes(chaos: Chaos, monkeypatch: Patch) -> None:
    """Files and rows agree on whatever the disk kept, and what was told as complete is there."""
    monkeypatch.setattr(world, "OBSERVATIONS", world.FEW)
    ends_well(chaos)


@at_length
@scenario(faults.disk(), budget=bounded(5), timeout=TIMEOUT, oracle="off")
def test_disks_in_trouble(chaos: Chaos) -> None:
    """Full in the middle of a stage, read-only, broken: no partial product, and no row without a file."""
    ends_well(chaos)


# Once: what stays full is the whole disk, to which nothing can fall back.
FULL = (
    faults.disk()
    .only("ENOSPC")
    .without("ENOSPC[persistent]")
    .on(call=["open", "write"], path="state/fast/**")
)


@scenario(FULL, budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_the_tmpfs_is_full(chaos: Chaos) -> None:
    """Whenever that is noticed: the same round goes on, on the disk."""
    falls_back(chaos)


def falls_back(chaos: Chaos) -> None:
    world.prepare(chaos.path)
    chaos.run(world.run, chaos.path, chaos.promise)
    assert {f"{name} image" for name in world.OBSERVATIONS if world.expected(name)} <= set(chaos.promised)
    world.check(chaos.path, chaos.promised)


@at_length
@scenario(faults.kill() | faults.disk(), depth=2, budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_trouble_in_the_recovery(chaos: Chaos, monkeypatch: Patch) -> None:
    """A crash, then another fault in the rounds that recover from it."""
    monkeypatch.setattr(world, "OBSERVATIONS", world.FEW)
    world.prepare(chaos.path)
    chaos.run(world.run, chaos.path, chaos.promise)
    chaos.run(world.settle, chaos.path)
    chaos.recover(world.settle, chaos.path)
    world.check(chaos.path, chaos.promised, settled=True)


# -- one round, without faults of the harness -------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Observations that wait."""
    world.prepare(tmp_path)
    return tmp_path


def opened(here: Path) -> Imaging:
    return Imaging(world.configured(here), Shutdown(signals=()))


def without_calibrations(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM calibrations")


def expire(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE calibrations SET until = 1")


def spoil(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE calibrations SET noise = 99")


def damage_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : 4096 + 512] = b"\xff" * 512
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    "harm",
    [Path.unlink, without_calibrations, expire, spoil, damage_a_page, truncate],
    ids=lambda f: f.__name__,
)
def test_without_a_calibration_there_is_no_product(harm: Callable[[Path], None], here: Path) -> None:
    """Missing, expired, poor, or in a registry that is damaged: nothing is made, and later all is well."""
    path = here / "state" / "registry.db"
    intact = path.read_bytes()
    harm(path)
    world.run(here)
    with opened(here) as imaging:
        assert [imaging.product(name) for name in world.OBSERVATIONS] == [None] * 4
        failed = imaging.stages.record("calibrate", scope="m31")
        assert failed is not None
        assert failed.error is not None
        assert failed.error["type"] == "NoCandidate"
    path.write_bytes(intact)
    world.run(here)
    world.check(here, [], settled=True)


def test_the_last_good_calibration_is_the_last_resort(here: Path) -> None:
    """While the registry is away; and not for data that it is not valid for."""
    kept = world.registry(here)
    assert kept.choose(world.AT).candidate == "reference"
    kept.path.unlink()
    choice = kept.choose(world.AT + 1)
    assert (choice.value.name, len(choice.rejections)) == ("reference", 3)
    with pytest.raises(NoCandidate, match="not valid"):
        kept.choose(world.AT * 3)


def test_a_file_removed_behind_its_back_is_made_again(here: Path) -> None:
    """Found by the validator, told by a dry run, repaired, and made by the next round."""
    world.run(here)
    (here / "state" / "products" / "m31.img").unlink()
    with opened(here) as imaging:
        subject = checks.consistency(imaging)
        report = subject.check()
        assert report.counts() == {"missing": 1}
        assert subject.repair(report).dry_run
        assert subject.check().counts() == {"missing": 1}
        subject.repair(report, dry_run=False)
        assert subject.check().counts() == {}
    world.run(here)
    world.check(here, [], settled=True)


def test_what_was_staged_is_made_again(here: Path, monkeypatch: Patch) -> None:
    """A machine that restarts has an empty tmpfs: the first stage whose table is gone is where it goes on."""
    stopped = RuntimeError("stopped")

    def stop(*_: object, **__: object) -> None:
        raise stopped

    monkeypatch.setattr(program.work, "imaged", stop)
    world.run(here)
    for path in (here / "state" / "fast").iterdir():
        path.unlink()
    monkeypatch.undo()
    world.run(here)
    world.check(here, [], settled=True)


@pytest.mark.parametrize("harm", [damage_a_page, truncate], ids=lambda f: f.__name__)
def test_a_damaged_store_stops_the_worker(harm: Callable[[Path], None], here: Path) -> None:
    """Nothing is made that could not be recorded, and nothing that is there is touched."""
    world.run(here)
    path = here / "state" / "products.db"
    intact = path.read_bytes()
    harm(path)
    with pytest.raises(StoreCorrupt):
        world.run(here)
    path.write_bytes(intact)
    world.check(here, [], settled=True)


def test_one_id_runs_through_everything(
    here: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Patch
) -> None:
    """Checkpoint, product, error, log line and dead letter of an observation have the same."""
    monkeypatch.setitem(world.ENVIRONMENT, "IMAGING_ATTEMPTS", "1")
    expire(here / "state" / "registry.db")
    with caplog.at_level(logging.ERROR, "imaging"):
        world.run(here)
    (told,) = [json.loads(one.getMessage()) for one in caplog.records if "m31" in one.getMessage()]
    assert (told["stage"], told["operation"], told["retry_count"]) == ("calibrate", "image", 0)
    assert told["context"]["correlation_id"] == "obs-m31"
    assert told["hint"]
    assert told["at"].endswith("Z")
    with Store.open(here / "state" / "queue.db") as store:
        letters = {one.session: one.correlation_id for one in DeadLetters(store).find()}
    assert letters["m31"] == "obs-m31"


def test_its_health(here: Path) -> None:
    """Healthy with all that it needs; unhealthy, and 503 for a probe, without the registry."""
    with opened(here) as imaging:
        health = checks.health(imaging)
        assert health.report().status == "healthy", health.report()
        (here / "state" / "registry.db").unlink()
        health = checks.health(imaging)
        with health.serve() as server, pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.url, timeout=30)
        refused.value.close()
        assert refused.value.code == 503
        assert health.report().status == "unhealthy"


def test_nothing_is_begun_beyond_a_limit(here: Path, monkeypatch: Patch) -> None:
    """Too few descriptors are left: the observations wait."""
    with opened(here) as imaging:
        monkeypatch.setattr(type(imaging.resources), "raised", ["descriptors"])
        imaging.run()
        assert not imaging.stages.statistics().by_status


@pytest.mark.parametrize(
    ("size", "most", "error"),
    [
        ("PRODUCT", "900TiB", "DiskFull"),
        ("MEMORY", "900TiB", "OutOfMemory"),
        ("DESCRIPTORS", str(1 << 40), "TooManyFiles"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    size: str, most: str, error: str, here: Path, monkeypatch: Patch
) -> None:
    """Disk, memory, descriptors: by the name of what is missing, and with nothing staged."""
    monkeypatch.setitem(world.ENVIRONMENT, f"IMAGING_SIZES__{size}", most)
    monkeypatch.setitem(world.ENVIRONMENT, "IMAGING_RUNTIME__RETRY__STAGING__WAIT__INITIAL", "0.01")
    monkeypatch.setitem(world.ENVIRONMENT, "IMAGING_RUNTIME__RETRY__STAGING__WAIT__CAP", "0.01")
    world.run(here)
    with opened(here) as imaging:
        failed = imaging.stages.record("convert", scope="m31")
    assert failed is not None
    assert failed.error is not None
    assert failed.error["type"] == error
    assert not [path for place in ("fast", "staging") for path in (here / "state" / place).iterdir()]


def test_a_folder_of_observations_that_is_away_is_told(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is not an empty one: the log names it."""
    (here / "incoming").rename(here / "away")
    world.run(here)
    assert "what is incoming cannot be read" in caplog.text


def test_it_is_a_command(here: Path, monkeypatch: Patch) -> None:
    """As its README starts it: what is incoming once, with nothing but its places to know."""
    for name, place in {"INCOMING": "incoming", "STATE": "state", "FAST": "state/fast"}.items():
        monkeypatch.setenv(f"IMAGING_{name}", str(here / place))
    assert main(["--once"]) == 0
    world.check(here, [], settled=True)


def test_the_numbers_are_those_of_its_users(tmp_path: Path) -> None:
    """A margin of a fifth, two operations at once and one image, calibrations first."""
    loaded = settings.read({"IMAGING_INCOMING": str(tmp_path), "IMAGING_STATE": str(tmp_path)}).value
    quota = loaded.runtime.quota
    assert quota is not None
    assert (quota.concurrency, quota.budgets["image"].concurrent, quota.priorities) == (
        2,
        1,
        {"calibrate": 10},
    )
    assert replace(loaded, fast=tmp_path).fast == tmp_path
    with Imaging(replace(loaded, fast=tmp_path), Shutdown(signals=())) as imaging:
        assert imaging.needs().margin == 0.2
    refused = NoCandidate("none")
    assert program.CLASSIFIER.classify(refused, stage="calibrate").category == "recoverable"
    assert program.CLASSIFIER.classify(refused, stage="image").category == "permanent"
    assert classify(refused).category == "permanent"


# -- one guarantee less -----------------------------------------------------------------------------------


def expired_ones_too(monkeypatch: Patch) -> None:
    """No calibration is asked when it is valid."""
    monkeypatch.setattr(work.Calibration, "covers", lambda self, at: True)


def poor_ones_too(monkeypatch: Patch) -> None:
    """No calibration is judged."""
    monkeypatch.setattr(registry, "Candidate", lambda name, get, quality: registry_candidate(name, get))


def registry_candidate(name: str, get: Callable[..., work.Calibration]) -> object:
    from chaoskit.runtime import Candidate

    return Candidate(name, get, quality=1.0)


def ungated(monkeypatch: Patch) -> None:
    """Every image is good enough."""
    monkeypatch.setattr(program.GateResult, "passed", True)


def untidy(monkeypatch: Patch) -> None:
    """What was staged for an observation in quarantine stays."""
    monkeypatch.setattr(Imaging, "_tidy_quarantined", lambda self: None)


@pytest.mark.parametrize(
    "remove", [expired_ones_too, poor_ones_too, ungated, untidy], ids=lambda f: f.__name__
)
def test_a_guarantee_less_shows_without_a_fault(
    remove: Callable[[Patch], None], here: Path, monkeypatch: Patch
) -> None:
    """One round is enough to see it."""
    remove(monkeypatch)
    world.run(here)
    with pytest.raises(AssertionError):
        world.check(here, [], settled=True)


PLANTED: Planted = {
    "test_a_product_is_written_in_place": Shown("write(state/products/m31.img)#1=kill", "m31.img is partial"),
    "test_no_start_recovers": Shown(
        "link(state/products/.m31.img.stage-*-1-1 -> state/products/.m31.img.ck-*-4)#1=kill",
        "temporary files",
    ),
    "test_products_are_not_durable": Shown(
        "promise()#3=power_loss[only-synced strict]", "m31 was told as complete and has no product"
    ),
    "test_stages_are_not_durable": Shown(
        "promise()#2=power_loss[only-synced strict]", "m31 convert was complete"
    ),
    "test_no_room_on_the_tmpfs_is_the_end": Shown(
        "write(state/fast/.m31.converted.json.ck-*-2)#1=ENOSPC", "'m31 image'"
    ),
}
"""What each twin does otherwise, and the case that shows it."""


@planted
def test_each_missing_guarantee_is_found(tmp_path: Path) -> None:
    """The invariant breaks, and by the fault that the guarantee is there for."""
    assert missed(Path(__file__).with_name("planted_imaging.py"), PLANTED, tmp_path) == {}
