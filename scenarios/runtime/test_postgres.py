"""The store on a server: the client is killed at every call, and the network fails at every exchange.

The server is outside what is struck. It says afterwards, over another connection, what has really
happened; a loss of power on the client's side leaves nothing there but what a kill leaves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
from budgets import bounded
from postgres import running_postgres

from chaoskit import Chaos, Outcome, faults, scenario
from chaoskit.runtime import OutcomeUnknown, Store
from chaoskit.runtime.durable.store.protocol import RUNNING, Kind, Tx
from chaoskit.runtime.failures.taxonomy import ResilienceError

JOB = Kind("job")
HOST = "db.example"
TIMEOUT = 60
# A silent server is waited for until a time-out of libpq or the kernel is over: seconds, for each point.
TRAFFIC = faults.network().without("silent") | faults.network().bytes().only("reset", "eof")


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    """The port of a server for this module."""
    with running_postgres("max_connections=40", tcp=True) as server:
        yield server.port


def target(host: str, port: int, schema: str) -> str:
    return f"postgresql://app@{host}:{port}/postgres?sslmode=disable&schema={schema}"


def opened(host: str, port: int, schema: str) -> Store:
    return Store.open(target(host, port, schema), lock_timeout=2.0)


def case_schema() -> str:
    """A schema that no other case has."""
    return f"case_{os.getpid()}_{time.time_ns()}"


def check_errors(outcome: Outcome) -> None:
    """Whatever went wrong has a name."""
    assert outcome.error is None or isinstance(outcome.error, ResilienceError)


# --- one write ---------------------------------------------------------------------------------------------


def add_one(tx: Tx) -> None:
    found = tx.get(JOB, "count")
    tx.put(JOB, "count", 1 + (found.value if found else 0), status="counting")


def count(port: int, schema: str, promise: Callable[[str], None]) -> None:
    with opened(HOST, port, schema) as store:
        try:
            store.write(add_one, operation_id="one")
        except OutcomeUnknown:
            promise("unknown")
            promise(store.outcome("one"))
        else:
            promise("committed")


def counted(store: Store) -> int:
    found = store.get(JOB, "count")
    return 0 if found is None else int(found.value)


@scenario(TRAFFIC | faults.kill(), timeout=TIMEOUT, budget=bounded(25))
def test_a_write_says_what_became_of_it(chaos: Chaos, postgres: int) -> None:
    """Returned: it is there. Raised: it is not. Unknown: it is what the store answers. Repeated: once."""
    schema = case_schema()
    opened("127.0.0.1", postgres, schema).close()
    chaos.peer(HOST, address=("127.0.0.1", postgres))
    outcome = chaos.run(count, postgres, schema, chaos.promise)
    with opened("127.0.0.1", postgres, schema) as store:
        there = counted(store)
        assert there in (0, 1)
        if chaos.promised and tuple(chaos.promised) != ("unknown",):
            assert there == (1 if "committed" in chaos.promised else 0)
        elif not chaos.promised and isinstance(outcome.error, ResilienceError):
            assert there == 0, f"changed, though the write raised {outcome.error!r}"
        store.write(add_one, operation_id="one")
        assert counted(store) == 1
    check_errors(outcome)


# --- claims ------------------------------------------------------------------------------------------------


def claim_and_finish(port: int, schema: str, promise: Callable[[str], None]) -> None:
    with opened(HOST, port, schema) as store:
        [claim] = store.write(lambda tx: tx.claim(JOB, lease=60))
        promise("claimed")

        def finish(tx: Tx) -> None:
            assert tx.change(JOB, "k", status="done", value=2, fence=claim.fence)
            tx.put(JOB, "message", "k is done", status="pending", due=tx.now)

        store.write(finish)
        promise("done")


@scenario(TRAFFIC | faults.kill(), timeout=TIMEOUT, budget=bounded(25))
def test_a_claim_and_its_end_are_one_each(chaos: Chaos, postgres: int) -> None:
    """The attempt is counted before the work; the result and the message that tells of it come together."""
    schema = case_schema()
    with opened("127.0.0.1", postgres, schema) as store:
        store.put(JOB, "k", 1, status="pending", due=1.0)
    chaos.peer(HOST, address=("127.0.0.1", postgres))
    outcome = chaos.run(claim_and_finish, postgres, schema, chaos.promise)
    with opened("127.0.0.1", postgres, schema) as store:
        found, message = store.get(JOB, "k"), store.get(JOB, "message")
        assert found is not None
        assert (found.status == "done") == (message is not None)
        assert found.attempts == (0 if found.status == "pending" else 1)
        assert "done" not in chaos.promised or found.status == "done"
        assert "claimed" not in chaos.promised or found.status in (RUNNING, "done")
        if found.status != "done":
            # The owner is gone: whatever is not done is claimed again, at once.
            assert [one.key for one in store.write(lambda tx: tx.claim(JOB, lease=60))] == ["k"]
    check_errors(outcome)
