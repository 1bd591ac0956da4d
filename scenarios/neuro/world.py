"""What all scenarios of the runner share: its containers, the workload, and what must hold."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

# Some of these would be loaded when a task is first sent or tried again, and each night is a process.
from celery.app import amqp, events  # noqa: F401
from celery.app.task import Context
from celery.exceptions import Ignore, Retry
from kombu import simple  # noqa: F401
from kombu.transport import memory  # noqa: F401

from chaoskit.runtime.retrying import events as retry_events  # noqa: F401
from scenarios.neuro import program, settings

OPERATOR = "night shift"
NIGHT = 12 * 3600.0
"""Seconds in which all runs end, one after the other with all their attempts, if they can end at all."""
RUNS = [
    ("conversion", "good", "1"),
    ("preprocessing", "once137", "1"),
    ("conversion", "always137", "1"),
    ("preprocessing", "garbage", "1"),
]
MORE = [("reconstruction", "once124", "1"), ("parcellation", "gpu", "1"), ("conversion", "endless", "1")]
"""What need not be in each case of a sweep."""
ATTEMPTS = {"conversion": 2, "preprocessing": 3, "reconstruction": 3, "parcellation": 3}
HOPELESS = {"conversion.always137.1", "preprocessing.garbage.1", "conversion.endless.1"}
"""What ends as a dead letter, whatever else goes wrong."""

# What subjects are here: the way in which their container ends, at all times or for the first time alone.
# What cannot be written ends it with an error, as any tool that looks at its results.
CONTAINER = r"""
set -e
how=$1; output=$2; tried=$3/$1
case $how in
once*|gpu) if [ -e "$tried" ]; then how=good; else : > "$tried"; how=${how#once}; fi ;;
always*) how=${how#always} ;;
esac
case $how in
slow*) : > "$3/begun-$1"; while ! [ -e "$3/go-$1" ]; do sleep 0.05; done; how=good ;;
esac
case $how in
good) echo "$1" > "$output/image"; echo "{}" > "$output/dataset_description.json" ;;
licence) echo "license file /opt/fs/license.txt not found" >&2; exit 1 ;;
gpu) echo "kernel: NVRM: the GPU has fallen off the bus" >&2; exit 1 ;;
endless) exec sleep 1000 ;;
garbage) printf '\377\376\000 no words \303(' >&2; exit 70 ;;
*) exit "$how" ;;
esac
"""


def prepare(directory: Path) -> None:
    """The containers, and a directory for what the runner keeps."""
    for name in ("state", "tried"):
        (directory / name).mkdir()
    (directory / "container.sh").write_text(CONTAINER)


def environment(directory: Path, store: str | None = None, **more: str) -> dict[str, str]:
    """The variables of a site whose runs are in a file, unless told."""
    # Without the directory: its name would get into records, and no state of a disk can be carried to another
    # case's directory when a checksum is over that.
    command = '["sh", "../container.sh", "{subject}", "{output}", "../tried"]'
    return {
        "NEURO_STATE": str(directory / "state"),
        "NEURO_RUNTIME__CELERY__STORE": store or str(directory / "state" / "runs.db"),
        "NEURO_RUNTIME__CELERY__BROKER": "memory://",
        **{f"NEURO_PIPELINES__{name.upper()}__COMMAND": command for name in ATTEMPTS},
        **more,
    }


def opened(
    directory: Path, store: str | None = None, started: Callable[[str], object] = str, **more: str
) -> program.Neuro:
    """The runner, in this process, on a broker that is lost with it."""
    logging.getLogger("neuro").addHandler(logging.NullHandler())
    loaded = settings.read(environment(directory, store, **more)).value
    neuro = program.Neuro(loaded, started)
    for task in neuro.tasks.values():
        task.forgetful_broker = True
    return neuro


def night(directory: Path, promise: Callable[[str], object], store: str | None = None, **more: str) -> None:
    """The workload: all runs are submitted and carried out until each has ended; then the operator comes.

    One letter is settled for good, the others are put back, and run again. Called again it goes on from where
    it was.
    """
    with opened(directory, store, lambda run: promise(f"started {run}"), **more) as neuro:
        for run in RUNS:
            promise(f"accepted {neuro.submit(*run)}")
        drain(neuro)
        neuro.look_after()
        letters = neuro.letters()
        for letter in letters.find("preprocessing"):
            letters.resolve(letter.id, by=OPERATOR, notes="no such brain")
            promise(f"resolved {letter.id}")
        letters.redrive_all(by=OPERATOR, dry_run=False)
        drain(neuro)


def interrupted(directory: Path) -> bool:
    """True if a run is said to be carried out, by a worker that is gone."""
    with opened(directory) as neuro:
        return any(any(task.steps().in_progress()) for task in neuro.tasks.values())


def redriven(directory: Path) -> bool:
    """True if a dead letter was put back."""
    with opened(directory) as neuro:
        return any(one.redrives for one in neuro.letters().find(resolved=None))


def drain(neuro: program.Neuro) -> None:
    """What workers and beat do, until no run waits. The messages of an earlier life are lost.

    Raises:
        TimeoutError: the night is over. While a disk stays full no run can end, and workers would wait on.
    """
    morning = time.monotonic() + NIGHT
    while time.monotonic() < morning:
        while _deliver(neuro):
            pass
        steps = [task.steps() for task in neuro.tasks.values()]
        if not any([*one.pending(), *one.in_progress()] for one in steps):
            return
        time.sleep(neuro.settings.look_every)
        neuro.look_after()
    raise TimeoutError("the night is over, and runs wait still")


def _deliver(neuro: program.Neuro) -> bool:
    """What a worker does with the next message: wait until it is due, call the task, acknowledge."""
    with neuro.app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        try:
            message = queue.get(block=False)
        except queue.Empty:
            return False
        args, kwargs, _ = message.payload
        headers = message.headers
        if headers["eta"] is not None:
            time.sleep(max(datetime.fromisoformat(headers["eta"]).timestamp() - time.time(), 0))
        task = neuro.tasks[headers["task"]]
        request = {**headers, "args": args, "kwargs": kwargs, "is_eager": False, "called_directly": False}
        task.request_stack.push(Context(request, delivery_info={}))
        try:
            task(*args, **kwargs)
        except (Retry, Ignore):
            pass
        except Exception:
            # Celery says so in its log and its result; what matters is in the store.
            logging.getLogger("neuro").exception("a task has failed")
        finally:
            task.request_stack.pop()
        message.ack()
        return True


def check(directory: Path, promised: list[str], store: str | None = None, *, settled: bool = False) -> None:
    """The invariants of the runner.

    - A run is never lost: what was accepted is done, scheduled or dead-lettered; done means that its output
      is there, whole. When all is well again nothing is scheduled (``settled``).
    - No entry twice for one failure: a run has one letter for each time that it was given up.
    - What was resolved stays resolved, by the one it was resolved by.
    - Attempts never exceed the policy: it is started no more often than the policy says, and as often again
      after each redrive.
    """
    told = [tuple(one.split()) for one in promised]
    starts = Counter(run for what, run in told if what == "started")
    with opened(directory, store) as neuro:
        letters = list(neuro.letters().find(resolved=None))
        for what, name in told:
            if what == "resolved":
                (letter,) = [one for one in letters if one.id == name]
                assert (letter.resolved, letter.resolved_by) == (True, OPERATOR), f"{name} is {letter.status}"
        for what, run in told:
            if what != "accepted":
                continue
            pipeline = run.split(".")[0]
            record = neuro.tasks[pipeline].steps().record(run)
            assert record is not None, f"{run} is lost"
            mine = [one for one in letters if one.run_id == run]
            open_ones = [one for one in mine if not one.resolved]
            most = ATTEMPTS[pipeline] * (1 + sum(one.redrives for one in mine))
            assert starts[run] <= most, f"{run} was started {starts[run]} times, {most} are allowed"
            assert len(mine) <= 1, f"{run} has {len(mine)} letters"
            if record.status == "completed":
                assert run not in HOPELESS, f"{run} cannot be done"
                output = neuro.output(run)
                assert (output / "image").read_text() == f"{run.split('.')[1]}\n", f"{run} has no image"
                assert (output / program.DONE).read_text() == "{}\n", f"{run} is not whole"
                assert not open_ones, f"{run} is done and has an open letter"
            elif record.status == "dead":
                assert mine, f"{run} is dead without a letter"
                assert (mine[0].session, mine[0].subject) == ("1", run.split(".")[1])
                assert mine[0].status != "redriven", f"{run} is put back and not to be had"
            else:
                assert record.status in ("pending", "running"), record.status
                assert all(one.status != "open" for one in mine), f"{run} is scheduled and has an open letter"
                assert not settled, f"{run} is {record.status}: {record.error}"
