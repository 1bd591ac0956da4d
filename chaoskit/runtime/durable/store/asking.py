"""Finding out whether a write whose answer was lost took effect, for callers that can then continue."""

from __future__ import annotations

from chaoskit.runtime.durable.store.protocol import Storage
from chaoskit.runtime.failures.stored import OutcomeUnknown

__all__ = ["was_committed"]


def was_committed(store: Storage, unknown: OutcomeUnknown) -> bool:
    """True if the write was committed after all; False if it was not, and never will be.

    Raises:
        OutcomeUnknown: ``unknown`` itself, if the store cannot be asked.
    """
    if unknown.operation_id is None:
        raise unknown
    try:
        return store.outcome(unknown.operation_id) == "committed"
    # Callers take any other error from a write to mean that nothing was changed. If the error of this
    # question were raised here, they would undo a write that may be committed.
    except Exception as trouble:
        raise unknown from trouble
