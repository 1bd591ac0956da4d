"""One part of the imaging at a time, without faults: staging, the registry, the gate, what does not agree."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from chaoskit.runtime import Checkpoints, PermissionRefused, Quarantine, Shutdown
from scenarios.imaging import checks, world
from scenarios.imaging.program import Imaging

Patch = pytest.MonkeyPatch


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Observations that wait."""
    world.prepare(tmp_path)
    return tmp_path


@pytest.fixture
def imaging(here: Path, monkeypatch: Patch) -> Iterator[Imaging]:
    """A worker that has not begun, and hardly waits."""
    for name in ("INITIAL", "CAP"):
        monkeypatch.setitem(world.ENVIRONMENT, f"IMAGING_RUNTIME__RETRY__STAGING__WAIT__{name}", "1ms")
    with Imaging(world.configured(here), Shutdown(signals=())) as made:
        yield made


@pytest.mark.parametrize(
    ("error", "places"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), ["fast", "fast"]),
        (OSError(errno.ENOSPC, "full", "x.json"), ["fast", "slow"]),
        (PermissionError(errno.EACCES, "refused", "x.json"), ["fast"]),
    ],
    ids=["retry", "alternative", "give up"],
)
def test_each_kind_of_failure_has_its_answer(
    error: OSError, places: list[str], imaging: Imaging, monkeypatch: Patch
) -> None:
    """What may pass is tried again, a full tmpfs leads to the disk, and anything else is raised at once."""
    tried: list[str] = []
    write = Imaging._write

    def failing(self: Imaging, name: str, content: bytes, *, fast: bool = True) -> Path:
        tried.append("fast" if fast else "slow")
        if len(tried) == 1:
            raise error
        return write(self, name, content, fast=fast)

    monkeypatch.setattr(Imaging, "_write", failing)
    with nullcontext() if len(places) > 1 else pytest.raises((PermissionError, PermissionRefused)):
        imaging._stage("x.json", {"flux": 1.0})
    assert tried == places


def test_calibrations_are_written_all_or_none(here: Path) -> None:
    """The second of two cannot be written: the first is as it was."""
    registry = world.registry(here)
    changed = replace(world.CALIBRATIONS[2], gain=5.0)
    wrong = replace(world.CALIBRATIONS[1], gain=[])  # type: ignore[arg-type] - which no column takes
    with pytest.raises(sqlite3.Error):
        registry.write([changed, wrong])
    assert registry.read("reference", world.AT) == world.CALIBRATIONS[2]


def test_an_image_that_lost_its_flux_is_no_product(here: Path) -> None:
    """The image alone looks good; the check across stages compares it with what was observed."""
    world.registry(here).write([replace(world.CALIBRATIONS[2], gain=0.1)])
    world.run(here)
    why = {item.path.stem: item.why for item in Quarantine(here / "state" / "quarantine").items()}["m31"]
    assert why is not None
    assert "flux is kept" in why.reason
    assert not (here / "state" / "products" / "m31.img").exists()


def test_what_an_advisory_metric_says_stands_in_the_row(imaging: Imaging) -> None:
    """The wide beam of robust weights is worth a remark, and stops nothing."""
    imaging.run()
    advice = {name: (imaging.product(name) or {})["advice"] for name in ("m31", "noisy")}
    assert advice == {"m31": [], "noisy": ["beam: 12; expected at most 9"]}


def test_a_file_that_no_row_names_is_put_aside(imaging: Imaging, here: Path) -> None:
    """A dry run tells of it; the repair moves it, and deletes nothing."""
    imaging.run()
    stray = here / "state" / "products" / "stray.img"
    stray.write_text("pixels")
    # One that is younger than an hour might get its row yet.
    os.utime(stray, (0, 0))
    subject = checks.consistency(imaging)
    report = subject.check()
    assert report.counts() == {"orphaned": 1}
    assert subject.repair(report).dry_run
    assert stray.exists()
    subject.repair(report, dry_run=False)
    assert subject.check().counts() == {}
    assert [path.read_text() for path in (here / "state" / "orphans").iterdir()] == ["pixels"]


def test_a_stage_whose_worker_died_is_stuck_until_it_is_repaired(here: Path) -> None:
    """The validator finds it, and the next round goes on from there."""
    child = os.fork()
    if child == 0:
        try:
            stages = Checkpoints(here / "state" / "queue.db", pipeline="imaging")
            stages.claim("convert", scope="m31")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    with Imaging(world.configured(here), Shutdown(signals=())) as imaging:
        subject = checks.consistency(imaging)
        report = subject.check()
        assert report.counts() == {"stuck": 1}
        subject.repair(report, dry_run=False)
        assert subject.check().counts() == {}
    world.run(here)
    world.check(here, [], settled=True)
