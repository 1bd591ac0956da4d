"""One bug is one finding: small programs with one thing missing, and twins that lack nothing."""

from __future__ import annotations

import sys

import inner
import pytest
from notes import NOTES, STORE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

SOURCE = """
    import sys
    from pathlib import Path
    import pytest
    import notes, store
    from chaoskit import faults, scenario

    ERRORS = faults.disk().only("EIO")
    EVERYTHING = ERRORS | faults.kill() | faults.power_loss()
    VALUES = {"alpha": "a" * 300, "beta": "b" * 300}
    SYNCS = ("value", "name", "index", "directory")

    def check(path):
        texts, number = notes.show(path)
        assert len(texts) == number, f"{texts} counted as {number}"

    @pytest.mark.parametrize("how", ["apart", "whole"])
    @scenario(EVERYTHING)
    def test_notes(chaos, how):
        notes.create(chaos.path / "notes.db")
        chaos.run(notes.add, chaos.path / "notes.db", "milk", how == "whole")
        check(chaos.path / "notes.db")

    @pytest.mark.parametrize("how", ["apart", "whole"])
    @scenario(ERRORS | faults.kill())
    def test_notes_as_a_command(chaos, how):
        notes.create(chaos.path / "notes.db")
        chaos.run_command([sys.executable, "-S", Path("notes.py").absolute(), "notes.db", "milk", how])
        check(chaos.path / "notes.db")

    @pytest.mark.parametrize("lacking", ["nothing", *SYNCS, "all"])
    @scenario(faults.power_loss(), model="strict")
    def test_store(chaos, lacking):
        syncs = [sync for sync in SYNCS if lacking not in (sync, "all")]
        chaos.run(store.fill, chaos.path, VALUES, syncs, chaos.promise)
        lost = store.differing(chaos.path, chaos.promised, VALUES)
        assert not lost, f"lost {lost}"
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """All scenarios, run once."""
    place = tmp_path_factory.mktemp("causes")
    inner.write(place, SOURCE)
    (place / "notes.py").write_text(NOTES)
    (place / "store.py").write_text(STORE)
    return inner.run(place, "--chaoskit-workers=2")


def found(ran: inner.Inner, name: str) -> list[dict[str, object]]:
    return list(ran.scenario(name)["findings"])


@pytest.mark.parametrize("name", ["test_notes", "test_notes_as_a_command"])
def test_c1_one_missing_transaction_is_one_finding(ran: inner.Inner, name: str) -> None:
    """However many calls, errors and crash states show it, with a Python stack and without one."""
    (finding,) = found(ran, f"{name}[apart]")
    assert finding["cause"] == "stopped"
    assert len(finding["schedules"]) > 20
    assert str(finding["schedule"]).endswith("=kill")
    assert ran.outcomes[f"{name}[whole]"] == "passed"


@pytest.mark.parametrize(
    ("lacking", "number"),
    [("nothing", 0), ("value", 1), ("name", 1), ("index", 1), ("directory", 1), ("all", 4)],
)
def test_c1_each_missing_sync_is_one_finding(ran: inner.Inner, lacking: str, number: int) -> None:
    """However many keys are lost with it, and whichever of them the assertion prints."""
    findings = found(ran, f"test_store[{lacking}]")
    assert len(findings) == number
    assert {finding["cause"] for finding in findings} <= {"unsynced"}
    messages = {
        case["failure"]["message"]
        for case in ran.scenario(f"test_store[{lacking}]")["cases"]
        if case["failure"]
    }
    assert lacking != "all" or len(messages) > 1
