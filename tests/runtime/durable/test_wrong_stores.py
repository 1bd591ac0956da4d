"""What needs an open store refuses everything else at once, where the mistake is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    AtomicStage,
    CheckpointRows,
    Checkpoints,
    DeadLetters,
    LetterWatch,
    Outbox,
    RemoteRuns,
    StatePublisher,
    StoredBreakers,
    StoredRetries,
)

NEEDY: dict[str, Callable[[Any], object]] = {
    "stage": lambda store: AtomicStage("a", store=store),
    "letters": DeadLetters,
    "outbox": Outbox,
    "retries": StoredRetries,
    "breakers": StoredBreakers,
    "rows": CheckpointRows,
    "remote runs": lambda store: RemoteRuns(store, None, name="a"),  # type: ignore[arg-type]
    "watch": lambda store: LetterWatch(store, None),  # type: ignore[arg-type]
    "publisher": lambda store: StatePublisher(store, name="a"),
}


@pytest.mark.parametrize("given", ["run.db", 5, None])
@pytest.mark.parametrize("name", NEEDY)
def test_what_is_no_store_is_refused(name: str, given: Any) -> None:
    """A path, above all, which only some of them open."""
    with pytest.raises(UsageError, match=r"store is .*expected an open store.*Store\.open\(path\) gives one"):
        NEEDY[name](given)


@pytest.mark.parametrize("given", [5, None, b"run.db"])
def test_checkpoints_take_a_store_or_a_path(given: Any) -> None:
    """And nothing else."""
    with pytest.raises(UsageError, match=r"target is .*expected an open store, or the path of one"):
        Checkpoints(given)
