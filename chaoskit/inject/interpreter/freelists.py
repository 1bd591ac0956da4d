"""Empty the interpreter's free lists, so that a line allocates alike in every process.

Freed objects of common types are kept for reuse, and reusing one is not an allocation. Their number depends
on everything that happened before, this watching included.
"""

from __future__ import annotations

import gc
import time

from chaoskit.inject.interpreter.words import COUNTDOWN, NEVER

_PATIENCE = 0.001
"""Processor seconds that a collection may take before each line. Not real seconds, since waiting for a
processor is chance."""
_has_frozen = False


def settle() -> None:
    """Empty the free lists. Objects of the program that make it slow are skipped until :func:`thaw`."""
    global _has_frozen
    # A full collection does it (gc.collect in the library reference). Objects from before the fork are
    # frozen, so that only the workload's own objects are visited; if there are many, they are frozen, too.
    began = time.thread_time()
    gc.collect()
    if time.thread_time() - began > _PATIENCE:
        _has_frozen = True
        gc.freeze()


def settle_within(words: memoryview) -> None:
    """Empty the free lists in the middle of a line, if its allocations are counted in ``words``."""
    if words[COUNTDOWN] != NEVER:
        settle()


def thaw() -> None:
    """Let the next collection visit all objects again: a frozen one in a cycle would count as left open."""
    global _has_frozen
    if _has_frozen:
        _has_frozen = False
        gc.unfreeze()
