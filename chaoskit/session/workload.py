"""What may be given to ``chaos.run`` and ``chaos.recover``."""

from __future__ import annotations

import inspect

from chaoskit.core.errors import UsageError, wrong


def refusal(method: str, fn: object) -> UsageError | None:
    """Why ``fn`` cannot be the first argument of a method of ``chaos``; None if it can.

    A generator function can be called, but nothing of its body would run: no fault could strike, and the
    scenario would be green.
    """
    if not callable(fn):
        hint = "For a program: chaos.run_command."
    elif inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        hint = "Calling it runs nothing of its body: use what it yields in a function of the test."
    else:
        return None
    return wrong(f"chaos.{method}'s first argument", fn, "a function", hint)
