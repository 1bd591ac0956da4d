"""The replacement of a function while a run is armed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chaoskit.inject.inprocess import run as runs
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.run import WatchedRun

Understand = Callable[[WatchedRun, Callable[..., Any], tuple[Any, ...], dict[str, Any]], "PythonCall | None"]
"""Describes a call of the original function; None if it does not concern the run."""


class Interception:
    """Calls ``original``, and lets the armed run see the calls that concern it.

    An object rather than a function, since a function bound in a class would receive the instance, unlike
    those of ``os``. It is equal to the original, since programs look such functions up in sets (``os.chmod in
    os.supports_follow_symlinks``).
    """

    def __init__(self, original: Callable[..., Any], understand: Understand) -> None:
        self.__wrapped__ = original
        self.__name__ = getattr(original, "__name__", repr(original))
        self.__qualname__ = getattr(original, "__qualname__", self.__name__)
        self.__doc__ = original.__doc__
        self.__module__ = getattr(original, "__module__", "") or ""
        self._understand = understand

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = runs.current()
        if run is None or run.passes():
            return self.__wrapped__(*args, **kwargs)
        run.refuse_if_dead()
        with run.within():
            call = self._understand(run, self.__wrapped__, args, kwargs)
        if call is None:
            return self.__wrapped__(*args, **kwargs)
        # A call without a family is only tracked, not an operation.
        return run.make(call) if call.family else call.do()

    def __eq__(self, other: object) -> bool:
        return other is self or other == self.__wrapped__

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)
