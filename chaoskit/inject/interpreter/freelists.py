"""Empties the free lists of the interpreter, so that a line allocates alike in every process.

Objects of common types are kept for reuse when they are freed, and to reuse one is not an allocation. How
many there are depends on all that went before, this watching included.
"""

from __future__ import annotations

import gc
import time

from chaoskit.inject.interpreter.words import COUNTDOWN, NEVER

_PATIENCE = 0.001
"""Seconds that a collection may compute before each line; how long it waits for a processor is chance."""
_has_frozen = False


def settle() -> None:
    """Empty them. Objects of the program that make it slow are no longer looked at, up to :func:`thaw`."""
    global _has_frozen
    # A full collection does it (gc.collect in the library reference). What was there before the fork is
    # frozen, so that only the workload's own objects are looked at; many are frozen, too.
    began = time.thread_time()
    gc.collect()
    if time.thread_time() - began > _PATIENCE:
        _has_frozen = True
        gc.freeze()


def settle_within(words: memoryview) -> None:
    """The same in the middle of a line, if its allocations are counted in ``words``."""
    if words[COUNTDOWN] != NEVER:
        settle()


def thaw() -> None:
    """Let the next collection look at all objects again: a frozen one in a cycle would count as left open."""
    global _has_frozen
    if _has_frozen:
        _has_frozen = False
        gc.unfreeze()
