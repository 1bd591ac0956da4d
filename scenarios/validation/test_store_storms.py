"""The store under everything at once, complete: 8 processes, 10,000 operations each, killed and stopped.

``tests/runtime/durable/store/test_processes.py`` is the same in small. The figures are written beside the
records of the other validations.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import running_postgres
from store_team import Team

PROCESSES, OPERATIONS = 8, 10_000
KILLS, STOPS, SERVER_KILLS = 60, 20, 4
LONGEST = 1.0
"""Seconds that one call may take at most, on a machine that is left to itself, besides those of a strike: a
process is stopped, or the server gone."""
RECORDS = Path(__file__).parent / "records"


@pytest.fixture(params=["sqlite", "postgres"])
def team(request: pytest.FixtureRequest) -> Iterator[Team]:
    if request.param == "sqlite":
        with tempfile.TemporaryDirectory(prefix="store-storm-") as directory:
            team = Team(f"{directory}/store.db", PROCESSES, OPERATIONS)
            yield team
            team.end()
        return
    with running_postgres("max_connections=40") as server:
        team = Team(server.uri(), PROCESSES, OPERATIONS, server)
        yield team
        team.end()


def test_nothing_is_lost_and_nothing_doubled(team: Team) -> None:
    """By operation id: 0 lost, 0 twice, no error without a name, no call over a second besides strikes."""
    begun, load = time.monotonic(), os.getloadavg()[0]
    server_kills = SERVER_KILLS if team.server is not None else 0
    team.run(kills=KILLS, stops=STOPS, server_kills=server_kills)
    seconds = time.monotonic() - begun
    team.check()
    found = {
        "store": "postgres" if team.server is not None else "sqlite",
        "durability": team.durability,
        "processes": PROCESSES,
        "operations": PROCESSES * OPERATIONS,
        "kills": KILLS,
        "stops": STOPS,
        "server_kills": server_kills,
        "seconds": round(seconds, 1),
        "operations_per_second": round(PROCESSES * OPERATIONS / seconds),
        "longest_call_seconds": round(team.longest(), 3),
        "longest_call_besides_strikes_seconds": round(team.longest(besides=True), 3),
        "calls_over_a_second_besides_strikes": sum(
            end - begun - team.struck(begun, end) > LONGEST for begun, end in team.calls
        ),
        "longest_strike_seconds": round(max((end - begun for begun, end in team.strikes), default=0.0), 3),
        "met": dict(team.met),
        "load_average_at_the_start": round(load, 1),
        "load_average_at_the_end": round(os.getloadavg()[0], 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
    }
    if RECORDS.is_dir() and os.environ.get("CHAOSKIT_RECORD"):
        (RECORDS / f"store-storm-{found['store']}.json").write_text(json.dumps(found, indent=2) + "\n")
    # Others that use the processors make every call longer; then only what is lost or doubled counts.
    if os.getloadavg()[0] <= PROCESSES + 2:
        assert team.longest(besides=True) <= LONGEST, found
