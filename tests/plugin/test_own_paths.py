"""A crash state is looked at where it was recorded, so what a program says of its directory is true there."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import inner
import pytest

from chaoskit.core.case import CaseFailure
from chaoskit.core.operation import Bytes
from chaoskit.explore.crash.snapshot import Node, NodeKind
from chaoskit.explore.crash.steps import Script, Step, StepKind
from chaoskit.explore.crash.telling import tells
from chaoskit.explore.execute import executed
from chaoskit.explore.home import taken
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.inject.kernel import KernelBackend
from chaoskit.report import read

needs_the_kernel = pytest.mark.skipif(
    KernelBackend().unavailable() is not None, reason="the kernel backend does not work here"
)
HOME = "/base/w00-000001"

SCENARIOS = """
import os
import chaoskit, pytest
from chaoskit import faults
from own_paths import FORMS, load, save

EACH = pytest.mark.parametrize("form", FORMS)

def check(chaos, form, synced):
    place = chaos.path / "store"
    save(place, "old", form, True)
    # Whatever shows the path would show it for the others, too.
    told = place if form == "seen" else None
    if told:
        os.symlink(place, chaos.path / "link")

    def work():
        save(place, "new", form, synced)
        chaos.promise(told)

    chaos.run(work)
    promised = chaos.promised
    assert promised in ([], [told])
    assert load(place, form) in ("old", "new")[bool(promised):]
    assert not told or os.readlink(chaos.path / "link") == str(place)

@EACH
@chaoskit.scenario(faults.power_loss() | faults.kill(), model="strict")
def test_right(chaos, form):
    check(chaos, form, True)

@EACH
@chaoskit.scenario(faults.power_loss() | faults.kill(), model="strict")
def test_wrong(chaos, form):
    check(chaos, form, False)

@chaoskit.scenario(faults.power_loss(), model="strict")
def test_recovery(chaos):
    place = chaos.path / "store"
    save(place, "old", "packed", True)
    chaos.run(save, place, "new", "packed", True)
    assert chaos.recover(load, place, "packed") in ("old", "new")
"""


@needs_the_kernel
def test_a_program_that_keeps_its_path_is_clean_and_its_broken_twin_is_not(tmp_path: Path) -> None:
    """In the open, compressed, and under a checksum alone; with several workers, one of which waits."""
    inner.write(tmp_path, SCENARIOS)
    shutil.copy(Path(__file__).with_name("own_paths.py"), tmp_path)
    inner.run(tmp_path, "--chaoskit-workers=3")
    results = [one.result for one in read(tmp_path / "report").entries]
    forms = ("seen", "packed", "hashed")
    right = {f"test_right[{form}]": "passed" for form in forms} | {"test_recovery": "passed"}
    wrong = {f"test_wrong[{form}]": "failed" for form in forms}
    assert {one.nodeid.rpartition("::")[2]: one.state for one in results} == right | wrong
    assert all(finding.reproduced for one in results for finding in one.findings)
    assert all(one.tried == one.budget.possible > 0 for one in results)


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_a_path_is_seen_wherever_its_writes_were_divided(count: int) -> None:
    """Half of it may end one write, and the other half begin the next."""
    data = b"before " + HOME.encode() + b" behind"
    size = -(-len(data) // count)
    written = [(at, data[at : at + size]) for at in range(0, len(data), size)]
    assert tells(_script(written), HOME)
    assert not tells(_script([(at, part.replace(b"1", b"2")) for at, part in written]), HOME)
    apart = [(2 * at, part) for at, part in written]
    assert tells(_script(apart), HOME) == (count == 1)


@pytest.mark.parametrize(
    "node",
    [
        Node(NodeKind.SYMLINK, text=f"{HOME}/a"),
        Node(NodeKind.FILE, xattrs={"user.at": HOME.encode()}),
        Node(NodeKind.FILE, content=Bytes(f"at {HOME}".encode("utf-16"))),
    ],
)
def test_a_path_is_seen_in_links_attributes_and_wide_text(node: Node) -> None:
    """All that a crash state can bring back."""
    assert tells(_script([], node), HOME)
    assert not tells(_script([], node), HOME.replace("1", "2"))


@pytest.mark.parametrize("promised", [Path(HOME, "a"), {"at": HOME}, [HOME.encode()]])
def test_a_path_is_seen_in_promises(promised: object) -> None:
    """As a path, as text and as bytes."""
    script = replace(_script([]), promised=(promised,))
    assert tells(script, HOME)
    assert not tells(script, f"{HOME}0")


def _script(written: list[tuple[int, bytes]], *nodes: Node) -> Script:
    steps = [
        Step(i, i, StepKind.DATA, 0, offset=at, length=len(data), payload=Bytes(data))
        for i, (at, data) in enumerate(written)
    ]
    return Script(cast(Any, ()), cast(Any, None), nodes, tuple(steps), (), ())


class Watching:
    """A watch that notes what it is told to expect."""

    def __init__(self) -> None:
        self.expected: list[float] = []

    def expect(self, seconds: float) -> None:
        self.expected.append(seconds)

    def tell(self, runs: object) -> None:
        """Nothing to be noted."""


BROKEN = CaseFailure("assertion", "AssertionError", "broken", "the text")


def _ran(tmp_path: Path, broken_at: set[str], **job: Any) -> tuple[list[str], Observation]:
    """Where a job with a world was run, and what came of it; it breaks at the places ``broken_at``."""
    places: list[str] = []
    world = cast(Any, SimpleNamespace(home=str(tmp_path / "home"), tells_of_home=job.pop("tells", False)))
    alone = job.pop("alone", False)

    def run_one(one: Job, watch: object) -> Observation:
        place = os.path.basename(one.home) or "elsewhere"
        # As a runner has it: the text only once for each kind of failure.
        failure = replace(BROKEN, text="" if places else BROKEN.text) if place in broken_at else None
        places.append(place)
        return Observation(failure=failure)

    return places, executed(run_one, Job(world=world, **job), Watching(), alone=alone)


def test_only_what_is_broken_elsewhere_is_looked_at_once_more(tmp_path: Path) -> None:
    """What passes runs beside others; what breaks counts as it is where it was recorded, with its text."""
    assert _ran(tmp_path, set()) == (["elsewhere"], Observation())
    assert _ran(tmp_path, {"elsewhere"}) == (["elsewhere", "home"], Observation())
    assert _ran(tmp_path, {"elsewhere", "home"}) == (["elsewhere", "home"], Observation(failure=BROKEN))


@pytest.mark.parametrize("asked", [{"tells": True}, {"alone": True}, {"record": True}])
def test_what_tells_of_its_place_is_run_there_alone(tmp_path: Path, asked: dict[str, Any]) -> None:
    """And so is what is recorded, or has no other beside it."""
    assert _ran(tmp_path, {"elsewhere"}, **asked) == (["home"], Observation())


def test_a_place_on_another_machine_is_none(tmp_path: Path) -> None:
    """The verdict is then that of the only run."""
    places, seen = _ran(tmp_path / "not-there", {"elsewhere"})
    assert (places, seen.failure) == (["elsewhere"], BROKEN)


def test_a_place_that_is_just_made_again_is_there(tmp_path: Path) -> None:
    """The case whose turn it is removes and makes it; another one must not take that for another machine."""
    place = tmp_path / "place"
    with taken(str(place), Watching(), 5.0):
        assert not place.exists()
        assert _ran(place, {"elsewhere"}, tells=True) == (["home"], Observation())


def test_cases_take_turns_in_one_place(tmp_path: Path) -> None:
    """One begins when the other has ended, with nothing of it, and has all of its time from then on."""
    place, watch = tmp_path / "home", Watching()
    reading, writing = os.pipe()
    with taken(str(place), watch, 5.0):
        place.mkdir()
        (place / "left").touch()
        child = os.fork()
        if child == 0:
            with taken(str(place), Watching(), 5.0):
                os.write(writing, b"late" if place.exists() else b"fresh")
            os._exit(0)
        os.set_blocking(reading, False)
        with pytest.raises(BlockingIOError):
            os.read(reading, 10)
        assert watch.expected == [math.inf, 5.0]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.read(reading, 10) == b"fresh"
    os.close(reading)
    os.close(writing)
