"""One suite of scenarios, the same verdicts with every backend; where they differ the reason stands here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

import inner
import like_windows
import pytest
from budgets import some

from chaoskit.inject import backends

PROGRAMS = Path(__file__).with_name("twenty.py")

IN_MEMORY = """
import pytest

@pytest.fixture(autouse=True)
def in_memory(chaos, fs):
    fs.create_dir(chaos.path)
"""

NOT_IN_MEMORY = {
    "test_syncs_nothing": "crash states are made of real files",
    "test_syncs_before_it_renames": "crash states are made of real files",
    "test_copies_a_file": "with pyfakefs shutil copies by reads and writes: other calls",
}
"""Scenarios that are not the same with pyfakefs, and why."""
if sys.version_info >= (3, 14):
    NOT_IN_MEMORY["test_takes_an_unknown_file_for_an_absent_one"] = (
        "pathlib asks os.path.exists, which pyfakefs answers without a look-up"
    )

OUTSIDE = Path(__file__).with_name("outside.py")

REFUSED = """
import ctypes, os, struct

# A filter that answers seccomp(2) with EPERM, as that of a container does; nothing takes it away again.
_number = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
_rows = struct.pack("=HBBI", 0x20, 0, 0, 0) + struct.pack("=HBBI", 0x15, 0, 1, _number)
_rows += struct.pack("=HBBI", 0x06, 0, 0, 0x00050001) + struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
_code = ctypes.create_string_buffer(_rows, len(_rows))
_program = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", 4, ctypes.addressof(_code)))
_libc = ctypes.CDLL(None, use_errno=True)
assert _libc.prctl(38, 1, 0, 0, 0) == 0
assert _libc.syscall(_number, 1, 0, ctypes.c_void_p(ctypes.addressof(_program))) == 0
"""


def explored(
    where: Path, backend: str, conftest: str = "", *options: str, programs: Path = PROGRAMS
) -> inner.Inner:
    """Run the scenarios of a file with one backend."""
    where.mkdir()
    inner.write(where, "")
    with open(where / "conftest.py", "a") as file:
        file.write(conftest)
    (where / "test_inner.py").write_text(programs.read_text())
    chosen = (f"--chaoskit-backend={backend}",) if backend else ()
    return inner.run(where, *chosen, "--chaoskit-workers=2", *(options or asked(programs)))


def asked(programs: Path, *, but: Container[str] = ()) -> list[str]:
    """What pytest is given to run the tests of a file, or some of them."""
    names = some(re.findall(r"^def (test_\w+)", programs.read_text(), re.MULTILINE))
    return [f"test_inner.py::{name}" for name in names if name not in but]


def told(found: inner.Inner) -> dict[str, tuple[str, dict[str, str], list[str]]]:
    """Each scenario's outcome, its verdicts by schedule, and the ids of its findings."""
    return {
        name: (outcome, found.verdicts(name), sorted(one["id"] for one in found.scenario(name)["findings"]))
        for name, outcome in found.outcomes.items()
    }


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """What the in-process backend has found, with real files."""
    return explored(tmp_path_factory.mktemp("inprocess") / "real", "inprocess")


def test_every_scenario_was_explored(in_process: inner.Inner) -> None:
    """Bugs fail and twins hold, each with cases: an empty exploration would agree with anything."""
    assert len(in_process.outcomes) >= len(asked(PROGRAMS)) >= len(some(range(20))), in_process.output
    assert set(in_process.outcomes.values()) == {"passed", "failed"}
    assert all(in_process.verdicts(name) for name in in_process.outcomes)
    assert {v for name in in_process.outcomes for v in in_process.verdicts(name).values()} == {
        "tolerated",
        "failed safe",
        "violated",
    }


def test_the_kernel_says_the_same(tmp_path: Path, in_process: inner.Inner) -> None:
    """The same cases, the same verdict of each, the same findings by their ids."""
    kernel, reason = backends.found("kernel")
    if kernel is None:
        pytest.skip(f"kernel: {reason}")
    assert told(explored(tmp_path / "kernel", "kernel")) == told(in_process)


def test_the_outside_world_is_the_same(tmp_path: Path) -> None:
    """Requests, names, connections and clocks: each case has the same verdict, with as many findings.

    Their ids may differ: they hold the place in the library where it failed, and that is the call of requests
    with one backend, and a call of its socket with the other.
    """
    pytest.importorskip("requests")
    kernel, reason = backends.found("kernel")
    if kernel is None:
        pytest.skip(f"kernel: {reason}")
    if why := kernel.time_is_real():
        pytest.skip(f"clocks cannot be set with the kernel backend: {why}")
    ours, theirs = (
        {
            name: (outcome, verdicts, len(ids))
            for name, (outcome, verdicts, ids) in told(
                explored(tmp_path / one, one, programs=OUTSIDE)
            ).items()
        }
        for one in ("inprocess", "kernel")
    )
    assert ours == theirs
    assert len(ours) >= len(asked(OUTSIDE)) >= len(some(range(9)))
    assert {outcome for outcome, *_ in ours.values()} == {"passed", "failed"}
    assert sum(len(verdicts) for _, verdicts, *_ in ours.values()) >= 6 * len(ours)


def test_files_in_memory_say_the_same(tmp_path: Path, in_process: inner.Inner) -> None:
    """With pyfakefs nothing but the listed scenarios is different."""
    pytest.importorskip("pyfakefs")
    # The inner pytest loads no plugin by itself.
    options = ("-p", "pyfakefs.pytest_plugin", *asked(PROGRAMS, but=NOT_IN_MEMORY))
    found = told(explored(tmp_path / "memory", "inprocess", IN_MEMORY, *options))
    expected = {name: one for name, one in told(in_process).items() if name not in NOT_IN_MEMORY}
    assert found == expected


def test_it_runs_where_the_kernel_refuses(tmp_path: Path) -> None:
    """A scenario is skipped with the reason and with what works; asked for, the other backend runs it."""
    if sys.platform != "linux" or os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("elsewhere there is no filter to be refused")
    unasked = explored(tmp_path / "unasked", "", REFUSED, "-k", "replaces or swallows")
    assert set(unasked.outcomes.values()) == {"skipped"}
    assert all("inprocess" in text for text in unasked.texts.values()), unasked.texts
    asked = explored(tmp_path / "asked", "inprocess", REFUSED, "-k", "replaces or swallows")
    assert asked.outcomes == {"test_replaces_by_rename": "passed", "test_swallows_errors": "failed"}


_HIDDEN = """
import errno, os, sys, tempfile

import like_windows

like_windows.hide()

from chaoskit import NotInjected, faults, injecting
from chaoskit.core.schedule import Schedule
from chaoskit.inject import backends
from chaoskit.inject.base import Plan

backend = backends.backend("inprocess")
assert backend.unavailable() is None, backend.unavailable()
where = os.path.realpath(tempfile.mkdtemp())

def work():
    with open(os.path.join(where, "a"), "w") as file:
        file.write("text")

ran = backend.run(work, Plan(where, record=True))
assert [str(one) for one in ran.trace][1:] == ["write(a)#1 = 4", "close(a)#1 = 0", "end()#1"], ran.trace
ran = backend.run(work, Plan(where, strikes=Schedule.parse("write(a)#1=ENOSPC").strikes))
assert ran.error.errno == errno.ENOSPC and len(ran.receipts) == 1
ran = backend.run(work, Plan(where, strikes=Schedule.parse("write(a)#1=kill").strikes))
assert ran.signal == 9
with injecting("rename(a -> b)#1=EACCES", path=where) as seen:
    try:
        os.rename(os.path.join(where, "a"), os.path.join(where, "b"))
    except PermissionError as error:
        assert error.filename == os.path.join(where, "a") and error.filename2 == os.path.join(where, "b")
assert seen.faults
os.remove(os.path.join(where, "a")); os.rmdir(where)
loaded = [name for name in sys.modules if name.startswith("chaoskit.inject.kernel")]
assert not loaded, loaded
print("whole")
"""


def test_it_needs_nothing_of_linux() -> None:
    """Without the modules, functions and constants that other systems lack it works all the same."""
    there = {**os.environ, "PYTHONPATH": os.path.dirname(like_windows.__file__)}
    done = subprocess.run(
        [sys.executable, "-c", _HIDDEN], env=there, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "whole", done.stderr
