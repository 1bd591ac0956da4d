"""Corruption is offered where a file is first read that can be damaged, and narrowed to what one wants."""

from __future__ import annotations

import os

import pytest
from made_operations import offered, operation, write

from chaoskit import faults
from chaoskit.core.errors import UsageError
from chaoskit.core.operation import Bytes, Operation
from chaoskit.faults.corrupt.examples import TABLE, examples
from chaoskit.faults.corruptions import PER_FILE

IN = (1, 7)
READ = operation("read", "in.csv", result=9, length=9, inode=IN)


def opened(data: bytes | None = TABLE, **more: object) -> Operation:
    """An open of ``in.csv``; ``data`` is what it held, None if that was known before."""
    kept = None if data is None else Bytes(data)
    return operation("open", "in.csv", flags=os.O_RDONLY, inode=IN, held=kept, **more)


def test_a_file_has_sixty_damages_at_most() -> None:
    """Fewer where the format has fewer, and as many as are asked for: one of each kind first."""
    for name, data in examples().items():
        got = offered(faults.corruption(), opened(data), READ)
        assert len(got) == len(set(got)) <= PER_FILE == 60, name
        assert all(one.startswith("damage[") for one in got)
        assert offered(faults.corruption(per_file=3), opened(data), READ) == got[:3]


@pytest.mark.parametrize("number", [0, -1, True, 2.5, "60"])
def test_a_number_of_damages_is_a_number(number: object) -> None:
    """What is none is refused, with what was expected."""
    with pytest.raises(UsageError, match=r"per_file.*whole number of damages, from 1"):
        faults.corruption(per_file=number)  # type: ignore[arg-type]


def test_nothing_is_offered_where_nothing_can_be_damaged() -> None:
    """Not at other calls, nor at an open of which the content is known already, nor at one that failed."""
    assert offered(faults.corruption(), write(9)) == []
    assert offered(faults.corruption(), opened(None), READ) == []
    assert offered(faults.corruption(), opened(result=-2), READ) == []


def test_inputs_were_there_before_and_have_not_changed() -> None:
    """Not what the run has made, and each content once in a test, however many runs read it."""
    inputs = faults.corruption().inputs()
    assert offered(inputs, opened(), READ) == offered(faults.corruption(), opened(), READ)
    made = operation("write", "in.csv", result=9, length=9, inode=IN)
    assert offered(inputs, made, opened(), READ, at=1) == []
    assert offered(inputs, opened(), READ, opened(), READ, at=2) == []
    other = operation("write", "out", result=9, length=9, inode=(1, 8))
    assert offered(inputs, other, opened(), READ, at=1)


def test_detectable_is_what_a_strict_reader_refuses() -> None:
    """A ragged row is told by the table itself; another value, a lost row and a hostile member are not."""
    every, told = (
        set(offered(s, opened(), READ)) for s in (faults.corruption(), faults.corruption().detectable())
    )
    assert told < every
    assert {"damage[csv.row1.field.missing]", "damage[csv.row1.quote.open]"} <= told
    assert {
        "damage[csv.row1.formula]",
        "damage[csv.row1.twice]",
        "damage[csv.header.reordered]",
    } <= every - told
    archives = set(offered(faults.corruption().detectable(), opened(examples()["tar"]), READ))
    assert "damage[tar.member1.flip.checksum]" in archives
    assert not {one for one in archives if "hostile" in one}


def test_default_has_what_is_detectable_in_inputs() -> None:
    """Text and unknown files have no rules that tell, so a program that reads them gets no case more."""
    default = faults.default().only("damage")
    assert offered(default, opened(), READ) == offered(
        faults.corruption().inputs().detectable(), opened(), READ
    )
    for name in ("text", "file"):
        assert offered(default, opened(examples()[name]), READ) == []
    made = operation("write", "in.csv", result=9, length=9, inode=IN)
    assert offered(default, made, opened(), READ, at=1) == []


def test_a_label_narrows_like_any_fault() -> None:
    """By ``only``, with wildcards, and by the file's name."""
    hostile = faults.corruption().only("damage[*hostile*]")
    got = offered(hostile, opened(examples()["zip"]), READ)
    assert "damage[zip.hostile.traversal]" in got
    assert all("hostile" in one for one in got)
    assert offered(faults.corruption().on(path="*.json"), opened(), READ) == []


@pytest.mark.parametrize(
    "made",
    [
        faults.corruption(),
        faults.corruption(per_file=5),
        faults.corruption().inputs().detectable(),
        faults.corruption().detectable().on(path="*.csv"),
    ],
    ids=repr,
)
def test_a_set_shows_itself_as_the_code_that_makes_it(made: faults.FaultSet) -> None:
    """The representation evaluates to an equal set."""
    assert eval(repr(made), {"faults": faults}) == made


def test_asking_for_corruption_loads_no_format() -> None:
    """Archive and database modules are loaded when the first file is damaged, not with the package."""
    import subprocess
    import sys

    code = (
        "import sys\nfrom chaoskit import faults\nfaults.default(); faults.corruption()\n"
        "print([m for m in sys.modules if m.startswith('chaoskit.faults.corrupt.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_only_opened_is_not_damaged() -> None:
    """A lock file has content and is never read: its cases could not be judged."""
    assert offered(faults.corruption(), opened()) == []
    elsewhere = operation("read", "other", result=9, length=9, inode=(1, 9))
    assert offered(faults.corruption(), opened(), elsewhere) == []
