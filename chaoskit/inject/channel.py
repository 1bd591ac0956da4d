"""The way out of a workload: how code inside of it reaches the harness.

A backend installs a sender in the workload's process before the workload starts; children that are
forked later inherit it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chaoskit.core.errors import UsageError

_send_promise: Callable[[Any], None] | None = None


def install(send_promise: Callable[[Any], None] | None) -> None:
    """Say that this process now is a workload (or, with None, no longer is)."""
    global _send_promise
    _send_promise = send_promise


def inside() -> bool:
    """Whether this process is a workload, or a child that one has forked."""
    return _send_promise is not None


def promise(value: Any) -> None:
    """Tell the harness that ``value`` was acknowledged to the outside world.

    Returns when the harness has it: whatever happens next, the promise was made.

    Raises:
        UsageError: outside of a workload, or for a value that cannot be pickled.
    """
    if _send_promise is None:
        raise UsageError(
            f"promise({value!r}) was called outside of a workload; expected a call from inside the function "
            "that chaos.run executes. Read chaos.promised outside."
        )
    _send_promise(value)
