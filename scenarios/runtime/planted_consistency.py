"""Repairs as they come to mind first: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from test_consistency import TIMEOUT, judge, prepared, repair

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime.guarding.consistency import sources

Patch = pytest.MonkeyPatch


def repaired(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(repair, chaos.path)
    judge(chaos.path)


def copy(source: Path, target: Path) -> None:
    shutil.copy2(source, target.with_name(f"{target.name}.1"))
    os.unlink(source)


@scenario(faults.kill(), timeout=TIMEOUT)
def test_an_orphan_is_copied_and_removed(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sources, "_move", copy)
    repaired(chaos)


def link(source: Path, target: Path) -> None:
    """To a name that is free, and never over another: but in two steps."""
    os.link(source, target.with_name(f"{target.name}.1"))
    os.unlink(source)


@scenario(faults.kill(), timeout=TIMEOUT)
def test_an_orphan_is_linked_and_removed(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sources, "_move", link)
    repaired(chaos)
