"""What all scenarios share."""

from __future__ import annotations

from email import policy  # noqa: F401
from encodings import idna, utf_8_sig  # noqa: F401
from zlib import crc32

import pytest
from budgets import FEW, planted

# Each case is a process that would load these at its first failure, its first secret to hide, its first row,
# mail or name of a host: with the calls that the supervisor sees, a third of what a short case takes.
from chaoskit.runtime import secret_commands  # noqa: F401
from chaoskit.runtime.failures import built_in, index  # noqa: F401

HALVED = {"durability", "programs"}
"""Folders with many programs of others, of which no two are alike and each stands for all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the planted mistakes, the longest: at the end they would keep one process busy alone.

    With ``BUDGET=few``, which leaves those out, half of the programs of others are left out as well.
    """
    items.sort(key=lambda item: planted.mark not in item.own_markers)
    for item in items if FEW else ():
        # By its name, so that a test is left out or not whatever is selected beside it.
        if item.path.parent.name in HALVED and crc32(item.nodeid.encode()) % 2:
            item.add_marker(pytest.mark.skip(reason="with BUDGET=few half of the programs are tried"))
