"""The scenarios of a project in shards on the workers of a Dask cluster, joined into one report.

    python dask_shards.py SCHEDULER SHARDS REPORT [ARGUMENTS OF PYTEST]

The project and its environment have to be on every worker, at the same commit and where it was started. A
worker that is lost in the middle changes nothing: Dask gives its shard to another.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from dask.distributed import Client

from chaoskit.report import Report, merge, read, write


def run_shard(shard: str, arguments: list[str]) -> Report:
    """On a worker: one shard, in a new process, since a worker has threads and scenarios fork."""
    with tempfile.TemporaryDirectory() as place:
        options = [f"--chaoskit-shard={shard}", f"--chaoskit-report={place}"]
        command = [sys.executable, "-m", "pytest", *options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # With a finding pytest ends with 1 and there is a report; without one it has not come that far.
        if not Path(place, "report.json").exists():
            raise RuntimeError(f"shard {shard} has no report:\n{done.stdout}{done.stderr}")
        return read(Path(place))


def main(scheduler: str, shards: int, place: str, arguments: list[str]) -> int:
    with Client(scheduler) as client:
        names = [f"{number}/{shards}" for number in range(1, shards + 1)]
        parts = client.map(run_shard, names, arguments=arguments, pure=False)
        report = merge(client.gather(parts))
    write(report, Path(place))
    print(f"{report.totals.cases} cases, {report.totals.findings} findings: {place}")
    return int(report.totals.findings > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
