"""Fixtures for one suite over both stores: a file, and a schema of a server for all tests of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import PostgresServer, new_schema, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def new_store_on(postgres: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes targets on the server; what is made there is removed."""
    made: list[str] = []

    def new() -> str:
        made.append(new_schema())
        return postgres.uri(made[-1])

    yield new
    with postgres.connect() as connection:
        for schema in made:
            connection.execute(f"drop schema if exists {schema} cascade")


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be: a test that asks for it runs on both."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    new: Callable[[], str] = request.getfixturevalue("new_store_on")
    return new()
