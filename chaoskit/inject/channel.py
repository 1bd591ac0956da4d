"""The channel from code inside a workload to the harness.

A backend installs a sender in the workload's process before the workload starts; children that are
forked later inherit it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chaoskit.core.errors import UsageError

_send_promise: Callable[[Any], None] | None = None


def install(send_promise: Callable[[Any], None] | None) -> None:
    """Make this process a workload; with None, make it an ordinary process again."""
    global _send_promise
    _send_promise = send_promise


def inside() -> bool:
    """Return True in a workload, and in a child that a workload forked."""
    return _send_promise is not None


def promise(value: Any) -> None:
    """Tell the harness that ``value`` was acknowledged to the outside world.

    Returns once the harness has it: from then on the promise stands, whatever happens next.

    Raises:
        UsageError: outside a workload, or for a value that :mod:`chaoskit.inject.plain` cannot send.
    """
    if _send_promise is None:
        raise UsageError(
            f"promise({value!r}) was called outside a workload; expected a call from inside the function "
            "that chaos.run executes. Read chaos.promised outside."
        )
    _send_promise(value)
