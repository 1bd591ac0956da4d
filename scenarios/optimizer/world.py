"""What all scenarios of the optimizer share: the jobs, the two receivers of news, and what must hold."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import aiosmtpd.controller

from chaoskit import Chaos
from chaoskit.runtime import Checkpoints, DeadLetters, Snapshots, Store, Ticket, subscribe
from scenarios.optimizer import fitting, program, settings
from scenarios.optimizer.fitting import Fit, Job

MAIL, HOOK = "mail.example", "hooks.example"
# Their sum depends on how it is put together: a result that depends on the batches shows.
JOBS = {"fit": {"points": [0.1, 0.2, 0.3, 1e9, 0.7, 3.0, -1e9, 0.6], "steps": 7}, "wrong": {"points": []}}
SETTINGS = {
    "OPTIMIZER_SAVE_EVERY": "2",
    "OPTIMIZER_BATCH": "8",
    "OPTIMIZER_RUNTIME__NOTIFICATIONS__WEBHOOK__URL": f"http://{HOOK}/ops",
    "OPTIMIZER_RUNTIME__NOTIFICATIONS__EMAIL__HOST": MAIL,
    "OPTIMIZER_RUNTIME__NOTIFICATIONS__EMAIL__PORT": "25",
    "OPTIMIZER_RUNTIME__NOTIFICATIONS__EMAIL__SECURITY": "plain",
    "OPTIMIZER_RUNTIME__NOTIFICATIONS__EMAIL__SENDER": "ops@example.com",
    "OPTIMIZER_RUNTIME__NOTIFICATIONS__EMAIL__RECIPIENTS": "night@example.com",
}


class _Taken:
    """Takes every mail."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        return "250 taken"


def serve_mail(port: int) -> None:
    """An SMTP server, until it is killed."""
    controller = aiosmtpd.controller.UnthreadedController(_Taken(), hostname="127.0.0.1", port=port)
    controller.begin()
    controller.loop.run_forever()


def prepare(directory: Path) -> None:
    """A drop folder with a job that can be done, and one that cannot."""
    for name in ("drop", "state"):
        (directory / name).mkdir()
    for name, job in JOBS.items():
        (directory / "drop" / f"{name}.json").write_text(json.dumps(job))


def started(chaos: Chaos) -> None:
    prepare(chaos.path)
    chaos.peer(MAIL, start=serve_mail)
    chaos.peer(HOOK, start={"POST /ops": "ok"})


def configured(directory: Path) -> settings.Settings:
    places = {"OPTIMIZER_DROP": str(directory / "drop"), "OPTIMIZER_STATE": str(directory / "state")}
    return settings.read({**SETTINGS, **places}).value


def work(directory: Path, promise: Any) -> int:
    """The workload: everything in the drop folder, once. Each snapshot that is reported is a promise."""
    logging.getLogger("optimizer").addHandler(logging.NullHandler())
    # By relative names: a crash state is looked at in another directory, and what the store keeps under a
    # checksum must not name the one in which it was recorded.
    with contextlib.chdir(directory):
        return program.main(configured(Path()), once=True, saved=partial(_reported, promise))


def work_slowly(directory: Path, promise: Any, seconds: list[float]) -> list[str]:
    """The same, with a job whose first steps take so long; what the runner told of its jobs."""
    slopes, told = fitting._slopes, []

    def slow(centre: float, points: list[float]) -> list[float]:
        if seconds:
            time.sleep(seconds.pop(0))
        return slopes(centre, points)

    # In the process of the workload, which ends with it.
    fitting._slopes = slow
    with subscribe(lambda event: told.append(event.name)):
        work(directory, promise)
    return told


def _reported(promise: Any, job: str, number: int) -> None:
    promise(f"{job} {number}")


def fit_alone(directory: Path) -> float | None:
    """The work of one job in the thread that asks for it: where memory is struck."""
    job = Job("fit", tuple(JOBS["fit"]["points"]), 7)  # type: ignore[arg-type]
    snapshots = Snapshots(directory / "fit", keep=20)
    fit = Fit(job, snapshots, batch=8, every=2, saved=lambda number: None)
    return fit.run(Ticket(job.name, 1, math.inf))


def expected() -> float:
    """What the job that can be done comes to when nothing goes wrong."""
    centre, points = 0.0, JOBS["fit"]["points"]
    assert isinstance(points, list)
    for _ in range(7):
        centre -= 0.5 * sum(centre - point for point in points) / len(points)
    return centre


def interrupted(directory: Path) -> bool:
    """True if a job is claimed by a process that is gone."""
    with Checkpoints(directory / "state" / "optimizer.db", pipeline="jobs") as jobs:
        return any(jobs.in_progress())


def forget(directory: Path) -> None:
    """What has become of the jobs is lost, and with it the results: their snapshots are there."""
    for place in [*(directory / "state" / "results").iterdir(), *(directory / "state").glob("optimizer.db*")]:
        place.unlink()


def check_given_up(directory: Path, error: str) -> None:
    """The job that can be done was given up for this error, once, with a report."""
    state = directory / "state"
    report = json.loads((state / "results" / "fit.failed.json").read_text())
    assert report["error"].startswith(error), report
    with Store.open(state / "optimizer.db") as store:
        (letter,) = [one for one in DeadLetters(store).find() if one.run_id == "fit"]
    assert letter.error["type"] == error


def check(directory: Path, promised: list[str], *, settled: bool = False) -> None:
    """The invariants of the optimizer.

    - A checkpoint that was reported is loadable after any crash.
    - The result is that of the baseline, whatever happened on the way.
    - A job ends once: with a result, or with one dead letter; and what has not ended is still to be had.
    """
    state = directory / "state"
    for told in promised:
        job, number = told.split()
        assert Snapshots(state / "jobs" / job).load(int(number))["step"] >= 1, f"{told} was reported as saved"
    with Store.open(state / "optimizer.db") as store, Checkpoints(store, pipeline="jobs", base=state) as jobs:
        fit, wrong = jobs.record("fit"), jobs.record("wrong")
        letters = [letter.run_id for letter in DeadLetters(store).find()]
        assert letters.count("wrong") == (wrong is not None and wrong.status == "dead")
        assert letters.count("fit") == (fit is not None and fit.status == "dead")
        if fit is not None and fit.status == "completed":
            assert json.loads((state / "results" / "fit.json").read_text())["centre"] == expected()
            assert jobs.is_completed("fit", verify_checksum=True)
        if settled:
            assert fit is not None
            assert fit.status == "completed", fit.error
            assert wrong is not None
            assert wrong.status == "dead", f"{wrong.status}: {wrong.error}"
            assert (state / "results" / "wrong.failed.json").exists()
        assert jobs.verify().ok
