"""What one sync of a program is good for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SyncWord = Literal["needed", "superfluous", "unnoticed", "not settled"]
"""``needed``: without it some crash state breaks the test. ``superfluous``: none does, and the test looks at
what the sync is about. ``unnoticed``: none does, since the test does not look. ``not settled``: none of those
that were tried does, and there are more."""

SYNC_WORDS: tuple[SyncWord, ...] = ("needed", "not settled", "unnoticed", "superfluous")


@dataclass(frozen=True, slots=True)
class SyncResult:
    """One sync of the recording, as if it had not happened.

    ``point`` is its index among the points. ``states`` crash states can come about without it and not with
    it, and ``checked`` of them were tried, up to the first ones that broke the test. ``harm`` says how, and
    ``models`` are those that allow that state.
    """

    point: int
    word: SyncWord
    states: int = 0
    checked: int = 0
    harm: str = ""
    models: tuple[str, ...] = ()
