"""The recipe of the documents that runs shards on a Dask cluster, on one of two workers here."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.report import Report, read

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="dask.distributed is not installed"
)

RECIPE = Path(__file__).parents[2] / "docs/how-to/recipes/dask_shards.py"

SOURCE = """
import json
from chaoskit import faults, scenario

def overwrite(path):
    (path / "state").write_text("new" * 2000)

@scenario(faults.disk() | faults.kill())
def test_state_survives(chaos):
    (chaos.path / "state").write_text("old")
    chaos.run(overwrite, chaos.path)
    assert (chaos.path / "state").read_text() in ("old", "new" * 2000)

@scenario(faults.kill())
def test_clean(chaos):
    chaos.run((chaos.path / "a").touch)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("project")
    (place / "test_project.py").write_text(SOURCE)
    return place


# A process for itself: importing Dask changes how every exception class of a process is pickled.
CLUSTER = """
import sys
from dask.distributed import LocalCluster

if __name__ == "__main__":
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(**options) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.fixture(scope="module")
def scheduler(project: Path) -> Iterator[str]:
    """The address of a cluster whose workers were started in the project's directory."""
    (project / "cluster.py").write_text(CLUSTER)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "cluster.py"], cwd=project, text=True, **pipes) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        # It ends with its input.
        process.communicate()


def run(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=project, capture_output=True, text=True, check=False)


def shown(report: Report) -> dict[str, Any]:
    return {
        entry.result.nodeid: (
            entry.outcome,
            [(one.id, one.verdict, one.schedule, one.schedules, one.site) for one in entry.result.findings],
            entry.result.verdicts,
        )
        for entry in report.entries
    }


def test_a_cluster_tells_what_one_machine_tells(project: Path, scheduler: str) -> None:
    """Three shards on two workers have the verdicts and findings of an ordinary run, and its exit status."""
    done = run(project, str(RECIPE), scheduler, "3", "joined", "test_project.py")
    alone = run(
        project, "-m", "pytest", "test_project.py", "--chaoskit-report=alone", "--chaoskit-failed-first=off"
    )

    assert (done.returncode, alone.returncode) == (1, 1), done.stderr
    assert shown(read(project / "joined")) == shown(read(project / "alone"))
    assert "findings: joined" in done.stdout


def test_what_went_wrong_on_a_worker_is_told(project: Path, scheduler: str) -> None:
    """A shard without a report is an error that says what pytest said there."""
    done = run(project, str(RECIPE), scheduler, "2", "not there", "test_no_such_file.py")
    assert done.returncode == 1
    assert "file or directory not found: test_no_such_file.py" in done.stderr
    assert not (project / "not there").exists()
