"""Ends the runs that no worker will end: theirs was killed, or an operator revoked them."""

from __future__ import annotations

from chaoskit.runtime.durable.checkpoints.checkpoints import Checkpoints

__all__ = ["bury_revoked", "bury_used_up"]


def bury_used_up(steps: Checkpoints, most: int | None, id: str) -> None:
    """Dead-letter a run whose worker was killed during the last of ``most`` attempts; leave others alone."""
    found = steps.record(id)
    if found is not None and found.status == "running" and most is not None and found.attempts >= most:
        # The claim finds that no attempt is left, and dead-letters the run in the same transaction.
        claim = steps.claim(id)
        if claim is not None:
            claim.release()


def bury_revoked(steps: Checkpoints, id: str, error: Exception) -> bool:
    """Dead-letter a run that an operator has revoked; return False if it is too early for that.

    It is too early while the run is not due, or while the process that is being terminated still holds it.
    """
    found = steps.record(id)
    if found is None or found.status not in ("pending", "running"):
        return True
    claim = steps.claim(id)
    if claim is not None:
        claim.fail(error, final=True)
    found = steps.record(id)
    return found is None or found.status == "dead"
