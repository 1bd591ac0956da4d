"""What all scenarios of the imaging share: observations, a registry, the workload, and what must hold."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

from chaoskit.runtime import Checkpoints, Quarantine, Store
from scenarios.imaging import program, settings, work
from scenarios.imaging.registry import Registry
from scenarios.imaging.work import Calibration, Observation

AT = 1_000_000.0
"""When everything was observed."""
OBSERVATIONS: dict[str, Any] = {
    "m31": {"at": AT, "noise": 1.0, "samples": [1.0, 2.0, 3.0]},
    "noisy": {"at": AT, "noise": 3.0, "samples": [4.0, 5.0, 6.0]},
    "dark": {"at": AT, "noise": 30.0, "samples": [7.0, 8.0, 9.0]},
    "broken": {"at": "yesterday"},
}
"""One that works, one that needs other parameters, one that never works, and one that is not an image."""
FEW = {name: OBSERVATIONS[name] for name in ("m31", "broken")}
"""For crash states, of which the others would make many more and none of another kind."""
CALIBRATIONS = [
    Calibration("nightly", 2.0, 1.0, AT - 200.0, AT - 100.0),
    Calibration("standard", 3.0, 9.0, 0.0, AT * 2),
    Calibration("reference", 1.0, 1.0, 0.0, AT * 2),
]
"""The first has expired, the second is too poor, the third is the one to take."""
ENVIRONMENT = {f"IMAGING_SIZES__{name}": "4KiB" for name in ("STAGING", "PRODUCT", "MEMORY")}


def prepare(directory: Path) -> None:
    (directory / "incoming").mkdir()
    (directory / "state").mkdir()
    for name, told in OBSERVATIONS.items():
        (directory / "incoming" / f"{name}.json").write_text(json.dumps(told))
    registry(directory).write(CALIBRATIONS)


def configured(root: Path) -> settings.Settings:
    """The settings with all places below ``root``."""
    places = {"INCOMING": "incoming", "STATE": "state", "FAST": "state/fast"}
    return settings.read(
        {**ENVIRONMENT, **{f"IMAGING_{name}": str(root / place) for name, place in places.items()}}
    ).value


def registry(root: Path) -> Registry:
    return Registry(root / "state" / "registry.db", program.PREFERRED, configured(root).runtime)


def run(directory: Path, done: Callable[[str], object] = lambda told: None) -> int:
    """The workload: one round. Each stage that is complete is a promise."""
    logging.getLogger("imaging").addHandler(logging.NullHandler())
    # With relative paths: errors are recorded under a checksum, and a crash state is checked elsewhere.
    with chdir(directory):
        return program.main(configured(Path()), once=True, done=partial(_told, done))


def _told(done: Callable[[str], object], observation: str, stage: str) -> None:
    done(f"{observation} {stage}")


def settle(directory: Path, later: float = 60.0) -> int:
    """The next round, a little later."""
    time.sleep(later)
    return run(directory)


def interrupted(directory: Path) -> bool:
    """True if a stage is claimed by a process that is gone."""
    with Checkpoints(directory / "state" / "queue.db", pipeline="imaging") as stages:
        return any(stages.in_progress())


def expected(name: str) -> bytes | None:
    """The image that an observation comes to; None if it comes to none."""
    if name not in ("m31", "noisy"):
        return None
    told = OBSERVATIONS[name]
    observation = Observation(name, told["at"], tuple(told["samples"]), told["noise"])
    table = work.calibrated(work.converted(observation), CALIBRATIONS[2])
    return work.packed(work.imaged(table, robust=name == "noisy"))


def check(directory: Path, promised: list[str], *, settled: bool = False) -> None:
    """The invariants of the imaging.

    - The products database and the files agree.
    - There is no product from an expired or failing calibration.
    - A crash loses at most the stage in progress: what was told as complete is.
    - It leaves no partial artefact under a final name.
    - At the end every observation is a product, or in quarantine with a reason (``settled``).
    """
    state = directory / "state"
    files = {path.name: path.read_bytes() for path in (state / "products").glob("[!.]*")}
    quarantined = {one.path.stem: one.why for one in Quarantine(state / "quarantine").items()}
    with Store.open(state / "products.db") as products:
        rows = {one.key: one.value for one in products.find(program.PRODUCT).records}
    for name, why in quarantined.items():
        # Said before the move: one that is damaged has a text too, which says that it cannot be read.
        assert why is not None, f"{name} is in quarantine without a reason"
        assert not why.damaged, why.reason
        kept = (state / "quarantine" / f"{name}.json").read_text()
        assert kept == json.dumps(OBSERVATIONS[name]), f"{name} is damaged in quarantine"
    for name, content in files.items():
        assert content == expected(Path(name).stem), f"{name} is partial, or never should have been"
        assert Path(name).stem in rows, f"{name} has no row"
    for name, row in rows.items():
        content = files.get(row["path"])
        # A crash between the commit and the last rename is finished by the next start.
        assert content is not None or not settled, f"{name} has no file"
        if content is not None:
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == row["checksum"]
        assert row["calibration"] == "reference", f"{name} was calibrated with {row['calibration']}"
        assert len(row["rejections"]) == 2, row["rejections"]
        assert row["correlation_id"] == f"obs-{name}"
    with Store.open(state / "queue.db") as queue, Checkpoints(queue, pipeline="imaging") as stages:
        for told in promised:
            name, stage = told.split()
            record = stages.record(stage, scope=name)
            if stage == "image":
                assert name in rows, f"{name} was told as complete and has no product"
            elif name not in rows and name not in quarantined:
                assert record is not None, f"{told} was complete"
                assert record.status == "completed", f"{told} was complete and is {record.status}"
                assert record.correlation_id == f"obs-{name}"
    if settled:
        good = {name for name in OBSERVATIONS if expected(name) is not None}
        assert rows.keys() == good
        assert quarantined.keys() == OBSERVATIONS.keys() - good
    if settled:
        left = [path.name for path in state.rglob("*") if ".ck-" in path.name or ".stage-" in path.name]
        staged = [path.name for place in ("fast", "staging") for path in (state / place).iterdir()]
        left += [name for name in staged if name.partition(".")[0] in rows.keys() | quarantined.keys()]
        assert not left, f"temporary files: {left}"
