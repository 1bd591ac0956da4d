"""What became of a write whose answer was lost, for callers that can go on with the answer."""

from __future__ import annotations

from chaoskit.runtime.durable.store.protocol import Storage
from chaoskit.runtime.failures.stored import OutcomeUnknown

__all__ = ["was_committed"]


def was_committed(store: Storage, unknown: OutcomeUnknown) -> bool:
    """True if it was committed after all; False if it was not, and never will be.

    Raises:
        OutcomeUnknown: ``unknown`` itself, if the store cannot be asked either.
    """
    if unknown.operation_id is None:
        raise unknown
    try:
        return store.outcome(unknown.operation_id) == "committed"
    # Any other error of a write says that nothing was changed. Raised from here, the error of the question
    # would be taken for that, and what was committed be undone.
    except Exception as trouble:
        raise unknown from trouble
