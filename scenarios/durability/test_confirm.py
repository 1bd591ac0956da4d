"""Each finding that is stated as known has a crash state that its models allow, says an independent judge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from chaoskit.inject.kernel import KernelBackend
from scenarios.durability.confirm import Claim, claims
from scenarios.durability.judgements import JUDGEMENTS
from scenarios.durability.known import KNOWN
from scenarios.durability.stores import STORES
from scenarios.durability.test_stores import left_out

ROOT = Path(__file__).parents[2]
MISSING = {store.name: left_out(store) for store in STORES}
PAGE = ROOT / "docs" / "reference" / "real-programs-evidence.md"


SLOW = ("Mercurial", "Git, core.fsync=default", "Git, core.fsync=all")
"""These start programs for each value, and take as long as all others: two processes share the work."""
PARTS = {"programs": SLOW, "libraries": tuple(store for store in KNOWN if store not in SLOW)}

UNBOUNDED = {name: value for name, value in os.environ.items() if name != "BUDGET"}
"""For the recordings of a store, which BUDGET=few may have left out as a scenario."""


def evidence(stores: Sequence[str]) -> dict[str, str]:
    """What a new recording says of each of these stores; one process for all, whose start takes longest."""
    command = [sys.executable, "-m", "scenarios.durability.confirm", *stores]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=UNBOUNDED)
    found = dict(text.split("\n", 1) for text in ended.stdout.split("\n## ")[1:])
    # Python's status for an error that nothing has caught is also that of a claim that is not confirmed.
    assert set(found) == set(stores), ended.stderr
    return found


@pytest.mark.parametrize("part", PARTS)
def test_the_crash_states_of_each_store_are_confirmed(part: str) -> None:
    """Recorded again and rebuilt: every model that is named for a schedule allows what it leaves."""
    if reason := KernelBackend().unavailable():
        pytest.skip(reason)
    stores = [store for store in PARTS[part] if not MISSING[store]]
    if not stores:
        pytest.skip("; ".join(MISSING[store] for store in PARTS[part]))
    found = evidence(stores)
    for claim in claims(stores):
        text = found[claim.store]
        assert f"`{claim.schedule}`: legal under {', '.join(claim.models)}\n" in text, text
        assert "not legal" not in text


def test_a_claim_that_is_not_true_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state under a model that forbids it, and one that no recording has: both are said, and why."""
    if reason := KernelBackend().unavailable():
        pytest.skip(reason)
    program = (
        "from scenarios.durability import confirm, judgements, known\n"
        "known.KNOWN.clear()\n"
        "known.KNOWN['SQLite, delete, synchronous=extra'] = (\n"
        "    'data loss under strict, xfs: write(store.db-journal)#2=power_loss[drop 3]',\n"
        "    'data loss under xfs: promise()#9=power_loss[drop 1]',\n"
        ")\n"
        "judgements.JUDGEMENTS['SQLite, delete, synchronous=extra'] = ''\n"
        "raise SystemExit(confirm.main([]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, env=UNBOUNDED
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "0 of 2 crash states are confirmed" in ended.stdout
    assert "legal under strict\n" in ended.stdout
    assert "**not legal under xfs**: growth to 516 bytes" in ended.stdout
    assert "a new recording has no such state" in ended.stdout


def test_each_store_with_findings_has_a_judgement_and_evidence() -> None:
    """The page has every claim, and a sentence on whether it was to be expected."""
    text = PAGE.read_text("utf-8")
    assert set(JUDGEMENTS) == set(KNOWN)
    for claim in claims():
        assert f"`{claim.schedule}`: legal under {', '.join(claim.models)}\n" in text
    assert "not legal" not in text


def test_a_claim_of_another_form_is_refused() -> None:
    """The error shows the line and the form."""
    with pytest.raises(ValueError, match="expected 'CONSEQUENCE under MODEL, MODEL: SCHEDULE'"):
        Claim.parse("GDBM", "it breaks")
