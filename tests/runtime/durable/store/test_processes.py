"""Several processes on one store, killed and stopped at any moment; the complete run is a validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import PostgresServer
from store_team import Team

PROCESSES, OPERATIONS = 4, 250


@pytest.fixture
def gather() -> Iterator[Callable[..., Team]]:
    """Makes teams, and ends what is left of them."""
    teams: list[Team] = []

    def make(target: str, server: PostgresServer | None = None) -> Team:
        teams.append(Team(target, PROCESSES, OPERATIONS, server))
        return teams[-1]

    yield make
    for one in teams:
        one.end()


def test_killed_and_stopped_processes_lose_and_double_nothing(
    gather: Callable[..., Team], tmp_path: Path
) -> None:
    """By operation id: each acknowledged one is there, each is there once, and there is no error."""
    team = gather(str(tmp_path / "store.db"))
    team.run(kills=12, stops=4)
    team.check()
    assert not team.met


def test_a_killed_server_loses_and_doubles_nothing(
    gather: Callable[..., Team], postgres: PostgresServer, new_store_on: Callable[[], str]
) -> None:
    """The same on a server that is killed as well: what its absence is told as has two names."""
    team = gather(new_store_on(), postgres)
    try:
        team.run(kills=6, stops=2, server_kills=2)
    finally:
        assert postgres.process is not None
        if postgres.process.poll() is not None:
            postgres.start()
    team.check()
    assert set(team.met) <= {"gone", "unknown"}
