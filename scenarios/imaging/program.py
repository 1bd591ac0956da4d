"""Takes observations through three stages; each ends as a product, in quarantine, or as a dead letter."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from chaoskit.runtime import (
    AtomicStage,
    Checkpoints,
    Classifier,
    CrossCheck,
    GateResult,
    Kind,
    NoCandidate,
    Preflight,
    Quarantine,
    RecoverableError,
    ResilienceError,
    Rule,
    Shutdown,
    Stages,
    Store,
    Tx,
    ValidationError,
    clean_leftovers,
    context,
    make_directories,
    write_file,
)
from scenarios.imaging import work
from scenarios.imaging.registry import Registry
from scenarios.imaging.settings import Settings
from scenarios.imaging.work import Observation

log = logging.getLogger("imaging")
STAGES = ("convert", "calibrate", "image")
PRODUCT = Kind("product")
PREFERRED = ("nightly", "standard", "reference")
CLASSIFIER = Classifier(
    [
        # The same class means another thing in another stage: here a calibration may come later.
        Rule(name="no-calibration", verdict=RecoverableError, types=(NoCandidate,), stages=("calibrate",)),
    ]
)
Report = Callable[[str, str], object]


class Imaging:
    """One worker; leave the block to close everything. ``done`` hears of every stage that is complete."""

    def __init__(
        self, settings: Settings, shutdown: Shutdown, done: Report = lambda observation, stage: None
    ) -> None:
        self.settings, self._shutdown, self._done = settings, shutdown, done
        state, runtime = settings.state, settings.runtime
        self.images, self._slow = state / "products", state / "staging"
        for directory in (self.images, self._slow, settings.fast, state / "quarantine"):
            make_directories(directory)
            clean_leftovers(directory)
        self.registry = Registry(state / "registry.db", PREFERRED, runtime)
        self.quarantine = Quarantine(state / "quarantine")
        kept = CrossCheck("flux is kept", lambda s: s["image"]["flux"] >= 0.5 * s["convert"]["flux"])
        self._gate = runtime.gates["image"].gate("image", across=[kept])
        with ExitStack() as opened:
            self.products = opened.enter_context(Store.open(state / "products.db"))
            # What a crash left between the row and the file of a product.
            AtomicStage.recover(self.products)
            self.queue = opened.enter_context(Store.open(state / "queue.db"))
            self.stages = opened.enter_context(
                Checkpoints(self.queue, pipeline="imaging", attempts=settings.attempts)
            )
            self.resources = opened.enter_context(runtime.resources.monitor())
            self._closing = opened.pop_all()
        self._quota = runtime.quota.quota(wake=shutdown.wake) if runtime.quota else None
        self._policy = runtime.policies(wake=shutdown.wake)["staging"]

    def __enter__(self) -> Imaging:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def run(self) -> None:
        """Take every observation through the stages that can be done now."""
        for path in self._incoming():
            if self._shutdown.requested or self.resources.raised:
                break
            with context.operation("image", correlation_id=f"obs-{path.stem}", observation=path.stem):
                try:
                    self._bring_on(path)
                except ResilienceError as error:
                    # It costs this observation alone; what is known of it is in its checkpoints.
                    log.error("%s", json.dumps(error.to_dict(), default=str), exc_info=error)
        self._tidy_quarantined()

    def _incoming(self) -> list[Path]:
        """The files of the observations; none while their folder cannot be read, which is told."""
        try:
            # Not with a glob: to that a folder which cannot be read is an empty one.
            return sorted(path for path in self.settings.incoming.iterdir() if path.suffix == ".json")
        except OSError as error:
            log.warning("what is incoming cannot be read (%s): %s", CLASSIFIER.classify(error).rule, error)
            return []

    def product(self, name: str) -> dict[str, Any] | None:
        """The row of a product, if its file is there and whole."""
        found = self.products.get(PRODUCT, name)
        if found is None:
            return None
        row: dict[str, Any] = found.value
        path = self.images / row["path"]
        return row if path.exists() and _checksum(path) == row["checksum"] else None

    def _bring_on(self, path: Path) -> None:
        """The stages of one observation that are not complete; nothing if its product is there."""
        name = path.stem
        if self.product(name) is not None:
            self._tidy(name)
            return
        stages = Stages(self.stages, name, STAGES)
        last = self.stages.record("image", scope=name)
        if last is not None and last.status == "completed":
            # The file was removed behind our back, or its row.
            stages.reset("image")
        results: dict[str, Any] = {}
        steps = (partial(self._convert, path), partial(self._calibrate, name), partial(self._image, path))
        for stage, step in zip(STAGES, steps, strict=True):
            # Filled by the stage: only it knows where there was room.
            made: list[Path] = []
            with context.operation(stage), ExitStack() as held:
                if self._quota is not None:
                    held.enter_context(self._quota.hold(stage))
                try:
                    results[stage] = stages.run(stage, partial(step, results, made), artefacts=made)
                except Exception as error:
                    raise self._told(error, stage, name)  # noqa: B904 - which knows its cause
            self._done(name, stage)
        self._tidy(name)

    def _tidy(self, name: str) -> None:
        """Remove what was staged for an observation that is done, and then the checkpoints that name it."""
        known = [self.stages.record(stage, scope=name) for stage in STAGES[:2]]
        for record in known:
            if record is not None and record.value is not None:
                table = self.settings.state / record.value["table"]
                table.unlink(missing_ok=True)
                # Else it may come back with the power, when nothing names it any more.
                _sync(table.parent)
        if any(record is not None for record in known):
            self.stages.forget(STAGES[:2], scope=name)

    def _tidy_quarantined(self) -> None:
        """Remove what was staged for observations that will not be imaged: a tmpfs is small."""
        try:
            for item in self.quarantine.items():
                # One of that name may be incoming again, and needs what is staged for it.
                if not (self.settings.incoming / item.path.name).exists():
                    self._tidy(item.path.stem)
        except (OSError, ResilienceError) as error:
            # It can wait until the next round.
            log.warning("what was staged for observations in quarantine is left: %s", error)

    # The stages.

    def _convert(self, path: Path, results: dict[str, Any], made: list[Path]) -> dict[str, Any]:
        try:
            observation = Observation.read(path)
        except ValidationError as error:
            self.quarantine.put(path, str(error))
            raise
        table = work.converted(observation)
        file = self._stage(f"{path.stem}.converted.json", table)
        made.append(file.absolute())
        return {"table": self._kept(file), "at": observation.at, **_metrics(table)}

    def _calibrate(self, name: str, results: dict[str, Any], made: list[Path]) -> dict[str, Any]:
        before = results["convert"]
        choice = self.registry.choose(before["at"])
        table = work.calibrated(self._table(before), choice.value)
        file = self._stage(f"{name}.calibrated.json", table)
        made.append(file.absolute())
        rejections = [str(one) for one in choice.rejections]
        return {"table": self._kept(file), "rejections": rejections, **_metrics(table)}

    def _image(self, path: Path, results: dict[str, Any], made: list[Path]) -> dict[str, Any]:
        table, earlier = self._table(results["calibrate"]), {name: results[name] for name in STAGES[:2]}
        image = work.imaged(table, robust=False)
        judged = self._gate.judge(_metrics(image), earlier=earlier)
        if judged.route == "robust":
            image = work.imaged(table, robust=True)
            judged = self._gate.judge(_metrics(image), earlier=earlier)
        if not judged.passed:
            self.quarantine.put(path, judged)
            judged.require()
        self._publish(path.stem, image, results["calibrate"]["rejections"], judged)
        return _metrics(image)

    def _publish(self, name: str, image: dict[str, Any], rejections: list[str], judged: GateResult) -> None:
        """The file and its row: both, or neither."""
        content = work.packed(image)
        row = {
            "path": f"{name}.img",
            "size": len(content),
            "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "calibration": image["calibration"],
            "rejections": rejections,
            "advice": [str(one) for one in judged.findings],
            "correlation_id": context.correlation_id(),
        }

        def update(tx: Tx) -> None:
            tx.put(PRODUCT, name, row, status="done")

        with AtomicStage("image", store=self.products) as stage:
            stage.create(self.images / row["path"]).write_bytes(content)
            stage.update(update)

    # What they share.

    def _stage(self, name: str, table: dict[str, Any]) -> Path:
        """Keep a table for the next stage; in another place, should the first turn out to be full."""
        recovery = self.settings.runtime.recoveries["staging"].recovery(
            policy=self._policy, alternative=partial(self._write, fast=False)
        )
        file: Path = recovery.call(self._write, name, work.packed(table))
        return file

    def _write(self, name: str, content: bytes, *, fast: bool = True) -> Path:
        """A file in staging: on the tmpfs, if it has room, else on the disk."""
        staging = self.needs(fast=fast).check().require().staging
        assert staging is not None
        write_file(staging / name, content)
        return staging / name

    def needs(self, *, fast: bool = True) -> Preflight:
        """What has to be there before anything of an observation is written, as the settings estimate it."""
        sizes, slow = self.settings.sizes, str(self._slow)
        return Preflight(
            disk={str(self.images): sizes.product},
            tmpfs=(str(self.settings.fast) if fast else slow, sizes.staging),
            fallback=slow,
            memory=sizes.memory,
            descriptors=sizes.descriptors,
        )

    def _table(self, before: dict[str, Any]) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.settings.state / before["table"]).read_bytes())
        return read

    def _kept(self, file: Path) -> str:
        return os.path.relpath(file, self.settings.state)

    def _told(self, error: Exception, stage: str, name: str) -> ResilienceError:
        """An error with where it came from, and what to do about it."""
        record = self.stages.record(stage, scope=name)
        told = CLASSIFIER.wrap(error, stage=stage)
        told.stage, told.operation = told.stage or stage, "image"
        told.context.update(observation=name, correlation_id=context.correlation_id())
        told.retry_count = 0 if record is None else max(record.attempts - 1, 0)
        return told


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _metrics(table: dict[str, Any]) -> dict[str, Any]:
    return {name: table[name] for name in ("noise", "flux", "beam") if name in table}


def _checksum(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def main(settings: Settings, *, once: bool = False, done: Report = lambda observation, stage: None) -> int:
    """Run until told to stop, or one round with ``once``; the exit status."""
    with Shutdown(settings.runtime.shutdown) as shutdown, Imaging(settings, shutdown, done) as imaging:
        while not shutdown.requested:
            imaging.run()
            if once:
                break
            shutdown.wait(settings.poll)
    return 0
