"""Names for which there is no room beside what is kept: refused before anything is made, or cut."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import AppendLog, Checkpoints, Quarantine, Snapshots, Store, Transaction, write_file
from chaoskit.runtime.durable.files.names import unfinished_name


def commit(target: Path, layout: str) -> None:
    with Transaction.local(target, layout=layout) as tx:  # type: ignore[arg-type]
        tx.add("member", b"x")
        tx.commit()


def write(target: Path) -> None:
    with Store.open(target) as store:
        store.write(lambda tx: None)


def append(target: Path) -> None:
    with AppendLog(target) as log:
        log.append(b"x")


MAKERS: list[tuple[Callable[[Path], None], int]] = [
    (write, 245),
    (lambda target: Checkpoints(target).close(), 245),
    (append, 250),
    (lambda target: commit(target, "pointer"), 241),
    (lambda target: commit(target, "final"), 241),
]


@pytest.mark.parametrize(("make", "most"), MAKERS)
def test_a_name_that_leaves_no_room_is_refused(
    tmp_path: Path, make: Callable[[Path], None], most: int
) -> None:
    """One byte more than there is room for: nothing is made, and the error says how many there may be."""
    target = tmp_path / ("é" * (most // 2) + "n" * (most % 2))
    make(target)
    for name in (f"{target.name}n", "n" * 255):
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(UsageError, match=f"expected at most {most}, so that there is room for .?NAME"):
            make(tmp_path / name)
        assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("length", [250, 251, 255])
def test_an_item_of_any_name_can_be_put_in_quarantine(tmp_path: Path, length: int) -> None:
    """Its name is its maker's choice: that of its reason is cut, and is never that of another item's."""
    quarantine = Quarantine(tmp_path / "quarantine")
    names = ["n" * length, "n" * (length - 1) + "m", "é" * (length // 2)]
    for name in names:
        (tmp_path / name).write_text(name)
        quarantine.put(tmp_path / name, f"because of {name[-1]}")
    assert {item.path.name: item.why.reason for item in quarantine.items() if item.why} == {
        name: f"because of {name[-1]}" for name in names
    }
    for reason in [name for name in os.listdir(tmp_path / "quarantine") if name.startswith("..")]:
        # An item that would have this for its own reason is refused.
        forged = tmp_path / reason[1:].removesuffix(".why")
        forged.touch()
        with pytest.raises(UsageError, match="what the quarantine keeps for itself"):
            quarantine.put(forged, "forged")
    for name in names:
        quarantine.release(name, tmp_path / name)
    assert os.listdir(tmp_path / "quarantine") == []


@pytest.mark.parametrize("length", range(120, 128))
def test_a_name_is_cut_between_its_characters(length: int) -> None:
    """Half of one is a name that macOS and Windows refuse."""
    name = unfinished_name(Path("x" * (length % 2) + "é" * length)).name
    assert len(os.fsencode(name)) <= 255
    assert os.fsencode(name).decode() == name


def test_files_and_folders_of_any_name(tmp_path: Path) -> None:
    """What is written beside them on the way is cut."""
    name = "n" * 255
    write_file(tmp_path / name, b"x")
    Snapshots(tmp_path / f"{name[:-1]}s").save({"a": 1})
    assert sorted(os.listdir(tmp_path)) == [name, f"{name[:-1]}s"]
