"""What one sync of a program protects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SyncWord = Literal["needed", "superfluous", "unnoticed", "not settled"]
"""``needed``: without the sync, some crash state breaks the test. ``superfluous``: no crash state does,
although the test reads what the sync makes durable. ``unnoticed``: no crash state does, because the test
never reads it. ``not settled``: no crash state that was tried does, but some were not tried."""

SYNC_WORDS: tuple[SyncWord, ...] = ("needed", "not settled", "unnoticed", "superfluous")


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What would follow if one sync of the recording had not happened.

    ``point`` is its index among the points. ``states`` counts the crash states that the sync rules out, and
    ``checked`` those that were tried before one broke the test. ``harm`` says how it broke; ``models`` are
    the persistence models that allow that state.
    """

    point: int
    word: SyncWord
    states: int = 0
    checked: int = 0
    harm: str = ""
    models: tuple[str, ...] = ()
