"""Spoil what a workload left, to see whether the test notices."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from chaoskit.inject.removal import remove


@dataclass(frozen=True, slots=True)
class Spoiling:
    """What to do to the directory after run number ``run``; ``files`` are relative paths, none means all.

    ``how``: ``emptied`` and ``missing`` remove, ``empty`` and ``half`` cut, ``old`` puts back what was there
    before the run, ``garbage`` overwrites.
    """

    run: int
    how: str
    files: tuple[str, ...] = ()

    def before(self, path: str) -> dict[str, bytes]:
        """The contents that have to be kept from before the run."""
        if self.how != "old":
            return {}
        return {name: _read(os.path.join(path, name)) for name in self.files}

    def after(self, path: str, kept: Mapping[str, bytes]) -> None:
        """Spoil what the run left."""
        if self.how == "emptied":
            for entry in list(os.scandir(path)):
                if entry.is_dir(follow_symlinks=False):
                    remove(entry.path)
                else:
                    os.unlink(entry.path)
            return
        for name in self.files:
            file = os.path.join(path, name)
            if self.how == "missing":
                os.unlink(file)
                continue
            data = _read(file)
            # Half of the data: zeroes at the end are space that the program reserved.
            held = len(data.rstrip(b"\0"))
            new = {"empty": b"", "half": data[: held // 2], "garbage": b"\xa5" * len(data)}
            with open(file, "r+b") as opened:
                opened.truncate(0)
                opened.write(kept[name] if self.how == "old" else new[self.how])

    def __str__(self) -> str:
        several = " and ".join(self.files)
        return {
            "emptied": "an emptied directory",
            "missing": f"a missing {several}",
            "empty": f"an empty {several}",
            "half": f"half of {several}",
            "old": f"{several} with its old content, although the workload has promised something",
            "garbage": f"garbage in {several}",
        }[self.how]


def _read(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError:
        return b""
