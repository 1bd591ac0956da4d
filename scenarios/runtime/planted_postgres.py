"""The store on a server with one thing done otherwise: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

from typing import Any

from test_postgres import HOST, JOB, TRAFFIC, case_schema, opened, postgres

from chaoskit import Chaos, faults, scenario

__all__ = ["postgres"]


def connected(host: str, port: int) -> Any:
    import psycopg

    words = f"host={host} port={port} user=app dbname=postgres sslmode=disable connect_timeout=2"
    return psycopg.connect(words, tcp_user_timeout=2000)


def add_until_answered(port: int, schema: str) -> None:
    import psycopg

    for _ in range(2):
        try:
            with connected(HOST, port) as server:
                server.execute(f"update {schema}.tally set n = n + 1")
            return
        except psycopg.OperationalError:
            continue


@scenario(TRAFFIC, timeout=60)
def test_a_write_without_an_id_is_repeated(chaos: Chaos, postgres: int) -> None:
    schema = case_schema()
    with connected("127.0.0.1", postgres) as server:
        server.execute(f"create schema {schema}")
        server.execute(f"create table {schema}.tally as select 0 as n")
    chaos.peer(HOST, address=("127.0.0.1", postgres))
    chaos.run(add_until_answered, postgres, schema)
    with connected("127.0.0.1", postgres) as server:
        assert server.execute(f"select n from {schema}.tally").fetchone()[0] <= 1


def finish_in_two(port: int, schema: str) -> None:
    with opened(HOST, port, schema) as store:
        store.put(JOB, "k", 2, status="done")
        store.put(JOB, "message", "k is done", status="pending")


@scenario(faults.kill(), timeout=60)
def test_the_message_is_another_write(chaos: Chaos, postgres: int) -> None:
    schema = case_schema()
    opened("127.0.0.1", postgres, schema).close()
    chaos.peer(HOST, address=("127.0.0.1", postgres))
    chaos.run(finish_in_two, postgres, schema)
    with opened("127.0.0.1", postgres, schema) as store:
        assert (store.get(JOB, "k") is None) == (store.get(JOB, "message") is None)
