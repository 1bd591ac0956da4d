"""The base of every error that chaoskit raises, and the errors of wrong use.

::

    ChaoskitError
    ├── UsageError           (also ValueError)   an argument or a call that cannot be right
    │   └── ScheduleError                        a schedule that does not parse or does not fit
    ├── BackendUnavailable   (also RuntimeError) the machine cannot do what was asked
    └── …                                        the runtime's: chaoskit.runtime.failures.taxonomy
"""

from __future__ import annotations

from typing import Any


class ChaoskitError(Exception):
    """Base class of all errors raised by chaoskit; every one of them survives pickling.

    A subclass may take any arguments: what is needed to build the same object again travels in
    ``args`` and ``__dict__``, never in a second run of ``__init__``. Errors cross processes: those of a
    case come from a forked child, those of a job from a worker.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args), self.__dict__.copy())


def _rebuild(cls: type[ChaoskitError], args: tuple[Any, ...]) -> ChaoskitError:
    # BaseException.__new__ alone sets args; ExceptionGroup.__new__ also wants the errors among them.
    error = cls.__new__(cls, *args)
    error.args = args
    return error


class UsageError(ChaoskitError, ValueError):
    """Wrong use: the message names the value, what was expected, and the next step."""


class ScheduleError(UsageError):
    """A schedule that does not parse, or that names something this run does not have."""


class BackendUnavailable(ChaoskitError, RuntimeError):
    """This machine cannot do what was asked; the message says why and what would help."""


def wrong(what: str, value: object, expected: str, hint: str = "") -> UsageError:
    """Make the error for a wrong ``value`` of ``what``; the caller raises it, where a reader sees it.

    ``expected`` completes "expected …"; ``hint``, if given, is the next step as a sentence.
    """
    text = f"{what} is {value!r} ({type(value).__name__}); expected {expected}"
    return UsageError(f"{text}. {hint}" if hint else f"{text}.")
