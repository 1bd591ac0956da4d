"""Cases on several machines: each simulated by an interpreter, a directory and, for root, a network."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import inner
import pytest
from test_shards import SOURCE

from chaoskit.report import read

pytest.importorskip("execnet", reason="execnet is not installed")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

COUNTING = """
    from pathlib import Path
    from chaoskit.hosts import serving

    _tell = serving.HostServer._tell

    def counted(self, message):
        if message[0] == "seen":
            file = Path(__file__).with_name("answered")
            number = len(message[2]) + (int(file.read_text()) if file.exists() else 0)
            file.write_text(str(number))
            {then}
        _tell(self, message)

    serving.HostServer._tell = counted
"""
"""Notes on a host how many cases it has answered."""

DYING = "number >= 20 and os.kill(os.getpid(), 9)"


@dataclass(frozen=True)
class Ran:
    """What one run came to, by test, and how many cases each host has answered."""

    findings: Mapping[str, Any]
    told: Mapping[str, Any]
    answered: list[int]
    output: str


def private_network() -> list[str]:
    """What starts a program without any network, where that is allowed."""
    words = ["unshare", "--net"]
    if shutil.which(words[0]) is None:
        return []
    tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    return words if tried.returncode == 0 else []


def run(
    place: Path, source: str = SOURCE, then: tuple[str, ...] = (), other: str = "", only: str = ""
) -> Ran:
    """Run the tests with one host for each of ``then``, which is what it does when it answers.

    On hosts the tests are ``other``, if that is given. ``only`` chooses tests, as -k does.
    """
    here = place / "here"
    here.mkdir(parents=True)
    inner.write(here, source)
    specs = []
    for number, what in enumerate(then):
        there = place / f"host{number}"
        there.mkdir()
        inner.write(there, other or source)
        counting = "\n".join(line[4:] for line in COUNTING.format(then=what).splitlines())
        (there / "conftest.py").write_text(f"import os\n{counting}")
        python = shlex.join([*(private_network() if number else []), sys.executable])
        specs.append(f"popen//python={python}//chdir={there}")
    options = [f"--chaoskit-hosts={','.join(specs)}"] if specs else []
    ran = inner.run(here, "--chaoskit-workers=1", "-k", only, *options)
    counts = [place / f"host{number}" / "answered" for number in range(len(then))]
    results = {one.result.nodeid: one.result for one in read(here / "report").entries}
    return Ran(
        {name: [asdict(one) for one in result.findings] for name, result in results.items()},
        {
            name: (
                result.state,
                result.plan,
                result.verdicts,
                result.crash_states,
                result.budget,
                result.error,
            )
            for name, result in results.items()
        },
        [int(file.read_text()) if file.exists() else 0 for file in counts],
        ran.output,
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The same tests without hosts."""
    return run(tmp_path_factory.mktemp("whole"))


def test_hosts_show_what_this_machine_shows(here: Ran, tmp_path: Path) -> None:
    """Errnos, kills, power losses, pairs, lying syncs: verdicts, findings and digests are equal."""
    spread = run(tmp_path, then=("pass", "pass"))
    assert spread.findings == here.findings
    assert spread.told == here.told
    # Every case was run there.
    assert sum(spread.answered) >= sum(sum(verdicts.values()) for _, _, verdicts, *_ in here.told.values())
    assert "was lost" not in spread.output
    assert processes_below(tmp_path) == []


def processes_below(place: Path) -> list[str]:
    """The processes whose command line names a directory, a minute after they were told to end at the latest.

    These are the one beside the tests, and those on hosts.
    """
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if str(place).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                pidfd = os.pidfd_open(int(pid))
                found += [] if select.select([pidfd], [], [], 60)[0] else [pid]
                os.close(pidfd)
    return found


def test_hosts_that_die_change_nothing(here: Ran, tmp_path: Path) -> None:
    """Each is killed behind its twentieth case: the other goes on, then this machine, which says so."""
    spread = run(tmp_path, then=(DYING, DYING))
    assert (spread.findings, spread.told) == (here.findings, here.told)
    assert min(spread.answered) >= 20
    for name in ("host0", "host1"):
        assert f"{name} was lost: the connection has ended" in spread.output


def test_without_any_host_left_cases_run_here(tmp_path: Path) -> None:
    """A machine that cannot be reached is named, and the scenario is examined all the same."""
    source = """
        import saving
        from chaoskit import faults, scenario

        @scenario(faults.kill())
        def test_it(chaos):
            chaos.run(saving.save, chaos.path, {"n": 1})
    """
    inner.write(tmp_path, source)
    ran = inner.run(tmp_path, "--chaoskit-hosts=popen//python=/nowhere/python")
    assert ran.outcomes == {"test_it": "passed"}
    assert "the host popen//python=/nowhere/python was lost: " in ran.output
    assert ran.report["totals"]["cases"] > 3


def test_a_host_with_another_plan_is_refused(tmp_path: Path) -> None:
    """Other code there makes other cases: an error names the host and both digests."""
    spread = run(tmp_path, then=("pass",), other=SOURCE.replace('"b", "c"', '"b"'), only="stretch or clean")
    state, *_, error = spread.told["test_inner.py::test_stretch"]
    assert state == "error"
    assert "on the host popen" in error
    assert "Install the same commit and the same versions there" in error
    # The other is the same on both sides.
    assert spread.told["test_inner.py::test_clean"][0] == "passed"


def test_hosts_and_xdist_are_refused_together(tmp_path: Path) -> None:
    """Each process of xdist would have hosts to itself."""
    inner.write(tmp_path, SOURCE)
    options = ["-k", "clean", "-n1", "--chaoskit-hosts=popen"]
    ran = inner.run(tmp_path, *options, plugins=("xdist.plugin",))
    assert "none together with -n of xdist" in ran.output


def test_code_is_sent_once(here: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With code=here hosts need no copy of the project: they run what is here now, and keep it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = tmp_path / "project"
    project.mkdir()
    inner.write(project, SOURCE)
    counting = "\n".join(line[4:] for line in COUNTING.format(then="pass").splitlines())
    (project / "conftest.py").write_text(f"{(project / 'conftest.py').read_text()}\nimport os\n{counting}")
    python = f"popen//python={shlex.join([*private_network(), sys.executable])}"

    def ran(*options: str) -> dict[str, Any]:
        inner.run(project, "--chaoskit-workers=1", f"--chaoskit-hosts={python}//code=here", *options)
        results = {one.result.nodeid: one.result for one in read(project / "report").entries}
        return {name: [asdict(one) for one in result.findings] for name, result in results.items()}

    def kept() -> dict[Path, int]:
        return {path: path.stat().st_ino for path in (tmp_path / "cache/chaoskit/code").iterdir()}

    assert ran() == here.findings
    (first,) = kept().items()
    assert int((first[0] / "answered").read_text()) > 20
    # What a run has left is not code.
    shutil.rmtree(project / "report")
    (project / "told.json").unlink()
    assert set(ran("-k", "clean")) == {"test_inner.py::test_clean"}
    assert dict([first]) == kept()
    inner.write(project, SOURCE.replace('"b", "c"', '"b"'))
    assert ran("-k", "stretch")["test_inner.py::test_stretch"]
    assert len(kept()) == 2


@pytest.mark.parametrize("spec", ["popen//code=there", "popen//chdir=shop//code=here"])
def test_where_code_is_has_one_answer(tmp_path: Path, spec: str) -> None:
    """It is sent from here, or it is in a directory there."""
    inner.write(tmp_path, SOURCE)
    ran = inner.run(tmp_path, "-k", "clean", f"--chaoskit-hosts={spec}")
    assert "expected code=here to send the project, or chdir= where it is" in ran.output
