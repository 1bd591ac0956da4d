"""The S row about work that failed for good."""

from __future__ import annotations

from hypothesis import strategies as st

from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.store_adapter import StoreAdapter, StoreSubject

__all__ = ["LETTERS"]

MANY = 20
"""The number of redrives among which a limited store must have refused one."""


def kept_and_redriven(adapter: StoreAdapter, example: tuple[int, str]) -> None:
    """S7: a dead letter keeps everything; a redrive is idempotent and limited, and blocks no live run."""
    attempts, correlation = example
    with adapter.place() as place, adapter.open(place) as store:
        error = ValueError("what failed")
        error.__cause__ = OSError("why it failed")
        payload = {"file": "a.csv", "n": attempts}
        id = store.bury("run", error, payload, attempts, correlation)
        again = store.bury("run", error, payload, attempts, correlation)
        demand(again == id, f"one failure that was reported twice has two letters: {id!r} and {again!r}")
        told = store.letter(id)
        demand(told["payload"] == payload, f"the payload of a letter is {told['payload']!r}")
        said = list(told["errors"])
        demand(said == ["what failed", "why it failed"], f"the errors of a letter are {said}")
        demand(told["attempts"] == attempts, f"{attempts} attempts are kept as {told['attempts']!r}")
        demand(told["correlation"] == correlation, f"the correlation id is {told['correlation']!r}")
        store.redrive(id)
        store.redrive(id)
        got = store.delivered()
        demand(len(got) == 1, f"two redrives of one letter handed it out {len(got)} times")
        demand(
            _refused(store, id, error, payload, attempts), f"it was put back {MANY} times; no limit was met"
        )


def _refused(store: StoreSubject, id: str, error: Exception, payload: object, attempts: int) -> bool:
    for n in range(1, MANY + 1):
        # The run failed once more.
        store.bury("run", error, payload, attempts + n, "")
        try:
            if not store.redrive(id):
                return True
        except Exception:
            return True
        store.delivered()
    return False


LETTERS = (
    Row(
        "S7",
        "A dead letter keeps payload, errors, attempts and correlation; redrive is idempotent and limited.",
        kept_and_redriven,
        st.tuples(st.integers(1, 5), st.text("abc", min_size=1, max_size=5)),
        needs=frozenset({"letters"}),
    ),
)
