"""Archives are unpacked under every fault: the directory is there whole, or it is as it was."""

from __future__ import annotations

import zipfile
from pathlib import Path

from budgets import bounded

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import clean_leftovers, extract

EVERYTHING = faults.disk() | faults.share() | faults.kill() | faults.power_loss() | faults.fsync_lies()
MEMBERS = {"a.csv": b"id,name\n1,a\n", "d/b.bin": bytes(range(256)) * 20}


def pack(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)


def unpack(chaos: Chaos) -> None:
    extract(chaos.path / "in.zip", chaos.path / "out")
    chaos.promise("unpacked")


def unpack_in_place(chaos: Chaos) -> None:
    """What most programs do: ``extractall`` under the final name."""
    with zipfile.ZipFile(chaos.path / "in.zip") as archive:
        archive.extractall(chaos.path / "out")
    chaos.promise("unpacked")


def check(chaos: Chaos) -> None:
    out = chaos.path / "out"
    found = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert found == MEMBERS if out.exists() else not chaos.promised
    chaos.recover(clean_leftovers, chaos.path)
    assert {p.name for p in chaos.path.iterdir()} <= {"in.zip", "out"}, "something was left behind"


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_all_of_an_archive_or_nothing(chaos: Chaos) -> None:
    """After any fault the directory holds every member, or is not there; once promised, it stays."""
    pack(chaos.path / "in.zip")
    chaos.run(unpack, chaos)
    check(chaos)


@scenario(
    faults.disk() | faults.kill(),
    model="strict",
    known={"d3f02c": "the twin without a stage: half an archive"},
)
def test_twin_unpacks_in_place(chaos: Chaos) -> None:
    """Unpacking under the final name is caught with half of an archive there."""
    pack(chaos.path / "in.zip")
    chaos.run(unpack_in_place, chaos)
    check(chaos)
