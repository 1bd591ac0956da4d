"""The runtime's logger, which loads ``logging`` when there is something to say.

A program whose calls succeed says nothing, and a tenth of what an import of the retry and the breaker would
take is that of ``logging``.
"""

from __future__ import annotations

import sys

__all__ = ["ERROR", "INFO", "WARNING", "log"]

# The numbers of the standard library, which documents them as fixed.
INFO, WARNING, ERROR = 20, 30, 40


def log(level: int, message: str, *args: object, error: BaseException | None = None) -> None:
    """Write a line to the logger ``chaoskit``, with the traceback of ``error``. No ``Exception`` leaves it.

    A handler that raises, memory, stack or descriptors at their end: what is to be said about a call must not
    take the place of its outcome.
    """
    try:
        try:
            import logging
        except Exception:
            # Nothing has loaded it so far, so the program has set up no handler: ``logging`` itself would
            # write to stderr then, from WARNING on.
            if level >= WARNING and sys.stderr is not None:
                print(message % args, file=sys.stderr)
        else:
            logging.getLogger("chaoskit").log(level, message, *args, exc_info=error, stacklevel=2)
    except Exception:
        pass
