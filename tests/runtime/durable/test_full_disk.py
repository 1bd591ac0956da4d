"""A disk that is really full: a small file system of the test's, in a mount namespace of the test's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MOUNTED = ["unshare", "--user", "--map-root-user", "--mount"]
SIZE = 3 << 20

PROGRAM = """
import json, os, subprocess, sys
from chaoskit.cli.group import run
from chaoskit.runtime import Checkpoints, DeadLetters, DiskFull, Store

place = sys.argv[1]
path = os.path.join(place, "run.db")
saved = []
with Store.open(path, reserve=512 << 10, wal_limit=20) as store:
    steps = Checkpoints(store, pipeline="ingest", attempts=1)
    claim = steps.claim("fails")
    filler = open(os.path.join(place, "filler"), "wb", buffering=0)
    for piece in (1 << 16, 1 << 12, 1):
        try:
            while True:
                filler.write(b"x" * piece)
        except OSError:
            pass
    filler.close()
    refused = 0
    for n in range(400):
        try:
            steps.save(f"k{n}", "x" * 3000)
            saved.append(f"k{n}")
        except DiskFull as error:
            refused += 1
            if refused == 3:
                break
    # The last thing that this job can say: with the reserve there is room for it.
    claim.fail(ValueError("what went wrong"))
    full = not store.statistics().reserve
    listing = subprocess.run(
        [sys.executable, "-m", "chaoskit", "recovery", "--store", path, "list", "--json"],
        capture_output=True, text=True,
    )
    os.unlink(os.path.join(place, "filler"))
    steps.save("after", 1)
    for n in range(60):
        steps.save(f"more{n}", "x" * 3000)
    kept = [key for key in saved if steps.is_completed(key)]
    print(json.dumps({
        "refused": refused, "saved": len(saved), "kept": len(kept), "reserve_used": full,
        "code": listing.returncode, "listed": json.loads(listing.stdout or "{}"), "said": listing.stderr,
        "after": steps.load("after"), "dead": [one.run_id for one in DeadLetters(store).find()],
        "reserve_again": store.statistics().reserve, "ok": store.verify(deep=True).ok,
    }))
"""


def run(place: Path, program: str) -> subprocess.CompletedProcess[str]:
    """What the program says that has ``place`` as a small file system to itself."""
    mount = f'mount -t tmpfs -o size={SIZE} none {place} && exec "$@"'
    words = [*MOUNTED, "sh", "-c", mount, "sh"]
    try:
        refused = subprocess.run([*words, "true"], capture_output=True, check=False).returncode
    except OSError:
        refused = 1
    if refused:
        pytest.skip("no mount namespace here: unshare --user --map-root-user --mount is refused")
    return subprocess.run(
        [*words, sys.executable, "-c", program, str(place)], capture_output=True, text=True, check=False
    )


def test_on_a_full_disk_failures_are_recorded_and_nothing_is_lost(tmp_path: Path) -> None:
    """The failure has its letter, the console lists it, what was acknowledged is there, and it goes on."""
    done = run(tmp_path, PROGRAM)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["refused"] == 3
    assert found["reserve_used"]
    assert found["kept"] == found["saved"]
    assert found["code"] == 0, found["said"]
    assert [one["run_id"] for one in found["listed"]["letters"]] == ["fails"]
    assert (found["after"], found["dead"]) == (1, ["fails"])
    assert found["reserve_again"]
    assert found["ok"]


def test_without_a_reserve_the_failure_is_not_recorded(tmp_path: Path) -> None:
    """The planted twin: a store that has set nothing aside cannot say what went wrong."""
    done = run(tmp_path, PROGRAM.replace("reserve=512 << 10", "reserve=0"))
    assert done.returncode == 1
    assert "DiskFull" in done.stderr


AT_NIGHT = """
import json, os, signal, subprocess, sys
from chaoskit.runtime import Checkpoints, DeadLetters, Store

place, reserve, killed = sys.argv[1], RESERVE, KILLED
path = os.path.join(place, "run.db")

def job():
    with Store.open(path, reserve=reserve) as store:
        steps = Checkpoints(store, pipeline="ingest", attempts=1)
        steps.claim("fails").fail(ValueError("what went wrong"))
        for n in range(60):
            steps.save(f"k{n}", "x" * 3000)
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)

child = os.fork()
if child == 0:
    job()
    os._exit(0)
os.waitpid(child, 0)
# After a kill both are there, and are what is lacking: as when the machine was started again.
if killed:
    os.unlink(path + "-shm")

def fill():
    with open(os.path.join(place, "filler"), "ab", buffering=0) as filler:
        for piece in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    filler.write(b"x" * piece)
            except OSError:
                pass

def console(*words):
    # What has filled the disk takes what the last command has given back.
    fill()
    words = [sys.executable, "-m", "chaoskit", "recovery", "--store", path, *words]
    done = subprocess.run(words, capture_output=True, text=True)
    return [done.returncode, json.loads(done.stdout or "null"), done.stderr]

listed = console("list", "--json")
found = {"list": listed}
if listed[0] == 0:
    letter = listed[1]["letters"][0]["id"]
    found["resolve"] = console("resolve", letter, "--json")
    found["again"] = console("verify", "--json")
os.unlink(os.path.join(place, "filler"))
with Store.open(path, reserve=reserve) as store:
    found["kept"] = store.verify(deep=True).ok and Checkpoints(store, pipeline="ingest").statistics().total
found["reserve"] = os.stat(path + ".reserve").st_size if reserve else 0
print(json.dumps(found))
"""


@pytest.mark.parametrize("killed", [False, True])
def test_on_a_full_disk_the_console_works_when_the_job_is_gone(tmp_path: Path, killed: bool) -> None:
    """Reading needs room, too, once no process has the store open; a part of the reserve is lent for it."""
    done = run(tmp_path, AT_NIGHT.replace("RESERVE", str(1 << 20)).replace("KILLED", str(killed)))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    code, listed, said = found["list"]
    assert code == 0, said
    assert [one["run_id"] for one in listed["letters"]] == ["fails"]
    assert [found[name][0] for name in ("resolve", "again")] == [0, 0], found
    assert found["kept"] == 61
    assert found["reserve"] == 1 << 20


def test_without_a_reserve_it_says_that_the_disk_is_full(tmp_path: Path) -> None:
    """The planted twin: nothing can be lent. It is not an I/O error, and the store is not damaged."""
    done = run(tmp_path, AT_NIGHT.replace("RESERVE", "0").replace("KILLED", "False"))
    assert done.returncode == 0, done.stderr
    code, _, said = json.loads(done.stdout)["list"]
    assert code == 4
    assert "is full: 0 bytes are free" in said
