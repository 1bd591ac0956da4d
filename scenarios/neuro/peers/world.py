"""The same runs, and the same invariants, for the runner that is built without the runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from scenarios.neuro import world
from scenarios.neuro.peers.runner import Runner

COMMAND = ["sh", "../container.sh", "{subject}", "{output}", "../tried"]
RUNS = [("conversion", "good", "1"), ("conversion", "always137", "1")]


def night(directory: Path, promise: Callable[[str], object]) -> None:
    """The workload: submit and carry out; the letters are put back, and run again."""
    runner = Runner(directory / "state", COMMAND, lambda run: promise(f"started {run}"))
    try:
        for run in RUNS:
            promise(f"accepted {runner.submit(*run)}")
        runner.work()
        for letter in runner.letters():
            runner.redrive(letter.id)
        runner.work()
    finally:
        runner.close()


def check(directory: Path, promised: list[str], *, settled: bool = False) -> None:
    """What ``scenarios.neuro.world.check`` asserts, of what this runner claims."""
    starts = Counter(one.split()[1] for one in promised if one.startswith("started"))
    runner = Runner(directory / "state", COMMAND)
    try:
        letters = runner.letters()
        statuses = runner.statuses()
        for run in {one.split()[1] for one in promised if one.startswith("accepted")}:
            assert run in statuses, f"{run} is lost"
            mine = [one for one in letters if one.run == run]
            most = world.ATTEMPTS[run.split(".")[0]] * (1 + sum(one.redriven for one in mine))
            assert starts[run] <= most, f"{run} was started {starts[run]} times, {most} are allowed"
            assert len(mine) <= 1, f"{run} has {len(mine)} letters"
            if statuses[run] == "done":
                assert (runner.output(run) / "image").read_text() == f"{run.split('.')[1]}\n"
            else:
                assert statuses[run] == "dead" or not settled, f"{run} is {statuses[run]}"
    finally:
        runner.close()
