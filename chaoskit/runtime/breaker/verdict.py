"""Decides which outcomes count, by the settings ``on``, ``ignore`` and ``failed_result``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.callables import asked, synchronous

Errors: TypeAlias = "type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]"
"""Exception classes, or a function that looks at the error."""


class Verdict:
    """Distinguishes failures from outcomes that say nothing about the other side."""

    __slots__ = ("_ignore", "_on", "failed_result")

    def __init__(self, on: Errors, ignore: Errors, failed_result: Callable[[Any], bool] | None) -> None:
        # If a predicate raises, err on the side of protection: the outcome counts.
        self._on = matcher("on", on, if_it_raises=True)
        self._ignore = matcher("ignore", ignore, if_it_raises=False)
        synchronous("failed_result", failed_result)
        self.failed_result = failed_result

    def is_failure(self, error: BaseException) -> bool:
        """Return True if ``error`` counts. Ctrl-C, exit and a cancelled task never do.

        A group counts if one of its errors does.
        """
        if not isinstance(error, Exception):
            return False
        return any(self._counts(leaf) for leaf in _leaves(error))

    def is_failed_result(self, value: Any) -> bool:
        """Return True if a returned value counts as a failure."""
        return self.failed_result is not None and asked(
            "failed_result", self.failed_result, value, if_it_raises=True
        )

    def _counts(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and not self._ignore(error) and self._on(error)


def matcher(what: str, errors: Errors, *, if_it_raises: bool) -> Callable[[BaseException], bool]:
    """Return a predicate that is true for the errors that ``errors`` covers.

    ``if_it_raises`` is its answer if a function given as ``errors`` raises.

    Raises:
        UsageError: ``errors`` is neither exception classes nor a synchronous function.
    """
    classes = errors if isinstance(errors, tuple) else (errors,)
    # isinstance, not "type(c) is type": a class may have another metaclass.
    if all(isinstance(c, type) and issubclass(c, BaseException) for c in classes):
        return lambda error: any(_is_a(error, c) for c in classes)
    if callable(errors) and not isinstance(errors, type):
        synchronous(what, errors)
        return lambda error: asked(what, errors, error, if_it_raises=if_it_raises)
    raise wrong(what, errors, "exception classes, a tuple of them, or a function of the error")


def _is_a(error: BaseException, cls: Any) -> bool:
    # Like ``except``: by inheritance alone, whatever the class's metaclass says about instances.
    return type.__instancecheck__(cls, error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, or the error itself; ends even if a group contains itself."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, BaseExceptionGroup):
            todo.extend(one.exceptions)
        else:
            yield one
