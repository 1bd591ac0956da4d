"""Trees that a program builds relative to its open directories, deeper than any path reaches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.core.operation import Trace
from chaoskit.explore import snapshot
from chaoskit.explore.crash import script
from chaoskit.explore.crash.materialise import Writer
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.explore.crash.tables import Tables
from chaoskit.inject.removal import remove


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    # pytest's own removal would give up.
    for left in tmp_path.iterdir():
        remove(str(left))


def dig(top: Path, name: str, levels: int) -> None:
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=fd)
        deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)


@pytest.mark.parametrize("read", [Snapshot.take, lambda top: snapshot.take(str(top))], ids=["crash", "plain"])
@pytest.mark.parametrize(
    ("name", "levels", "why"), [("d" * 200, 25, "4,095 bytes"), ("d", 1500, "hundreds of levels")]
)
def test_it_is_refused_with_the_reason(top: Path, read, name: str, levels: int, why: str) -> None:
    dig(top, name, levels)
    with pytest.raises(UsageError, match=why):
        read(top)


def test_four_hundred_levels_are_read_and_written(
    top: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dig(top, "d", 400)
    before = Snapshot.take(top)
    assert len(before.nodes) == 401
    assert len(snapshot.take(str(top))) == 400
    copy = str(tmp_path_factory.mktemp("copy"))
    Writer(Tables(script(Trace(()), before))).write(0, copy)
    assert snapshot.take(copy) == snapshot.take(str(top))
    remove(copy)
