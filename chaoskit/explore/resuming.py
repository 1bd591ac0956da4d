"""Where a recovery resumed, compared with what had been promised before it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

NEWEST, LATER, OLDER, UNTOLD, NOTHING = (
    "the newest promise",
    "later than any promise",
    "older than the newest promise",
    "nothing that was ever promised",
    "nothing had been promised",
)
"""The words for that place."""


@dataclass(frozen=True, slots=True)
class RecoveryPlace:
    """One named recovery that returned: ``value``, and the ``newest`` promise before it.

    ``word`` is :data:`NEWEST`, :data:`LATER` (done, and not acknowledged yet), :data:`OLDER`,
    :data:`UNTOLD` or :data:`NOTHING`.
    """

    value: Any
    newest: Any
    word: str


def resumed(value: Any, promised: Sequence[Any], course: Sequence[Any]) -> RecoveryPlace:
    """Classify the return value of a recovery. ``course`` is all that the baseline promises, in order.

    A collection, such as the set of all that is done, is at the newest promise if it contains that promise.
    """
    if not promised:
        return RecoveryPlace(value, None, NOTHING)
    newest = promised[-1]
    return RecoveryPlace(value, newest, _word(value, newest, [*course] or [*promised]))


def _word(value: Any, newest: Any, course: Sequence[Any]) -> str:
    if value == newest or _holds(value, newest):
        return NEWEST
    at = max((i for i, one in enumerate(course) if one == newest), default=len(course))
    if value in course[at + 1 :]:
        return LATER
    empty = value is None or (isinstance(value, Collection) and not value)
    return OLDER if empty or value in course or isinstance(value, list | set | dict) else UNTOLD


def _holds(value: Any, newest: Any) -> bool:
    if not isinstance(value, list | tuple | set | frozenset | dict):
        return False
    try:
        return newest in value
    except TypeError:  # An unhashable value is not in a set, nor a key.
        return False
