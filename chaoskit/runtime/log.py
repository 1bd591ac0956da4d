"""The runtime's logger, which loads ``logging`` only when there is something to log.

A program whose calls succeed logs nothing, and importing ``logging`` would be a tenth of the cost of
importing retry and breaker.
"""

from __future__ import annotations

import sys

__all__ = ["ERROR", "INFO", "WARNING", "log"]

# The standard library documents these numbers as fixed.
INFO, WARNING, ERROR = 20, 30, 40


def log(level: int, message: str, *args: object, error: BaseException | None = None) -> None:
    """Write to the logger ``chaoskit``, with the traceback of ``error``. Never raises an ``Exception``.

    A handler may raise, or memory, stack or descriptors may be used up, but a message about a call must not
    replace its outcome.
    """
    try:
        try:
            import logging
        except Exception:
            # ``logging`` was never loaded, so the program has no handlers. Without any, ``logging`` itself
            # would write messages from WARNING on to stderr.
            if level >= WARNING and sys.stderr is not None:
                print(message % args, file=sys.stderr)
        else:
            logging.getLogger("chaoskit").log(level, message, *args, exc_info=error, stacklevel=2)
    except Exception:
        pass
