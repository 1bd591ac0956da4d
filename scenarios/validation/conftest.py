"""The file systems of the bed, each once for a run of pytest; skipped with the reason where there is none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bed import VARIANTS, Bed, unavailable
from mounts import hide


@pytest.fixture(scope="session")
def beds() -> Iterator[Callable[[str], Bed]]:
    """``beds(variant)``: the bed of that name."""
    made: dict[str, Bed] = {}
    # In memory where that is possible: the disk would only be in the way.
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = Path(tempfile.mkdtemp(prefix="chaoskit-bed-", dir=parent))

    def bed(name: str) -> Bed:
        if (reason := unavailable(VARIANTS[name])) is not None:
            pytest.skip(reason)
        if not made:
            hide()
        if name not in made:
            made[name] = Bed(VARIANTS[name], place / name)
        return made[name]

    yield bed
    # The last one first: its processes hold the ends of pipes that those before it wait for.
    for one in reversed(made.values()):
        one.close()
    place.rmdir()
