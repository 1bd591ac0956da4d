"""Rare states that a program comes by, as its strategies tell of them: for ``chaos.sometimes``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chaoskit.runtime import BreakerChanged, subscribe


@contextmanager
def breaker_states() -> Iterator[list[str]]:
    """The states that breakers of this process come to within the block, in their order."""
    told: list[str] = []

    def listen(event: Any) -> None:
        if isinstance(event, BreakerChanged):
            told.append(event.after.value)

    with subscribe(listen):
        yield told
