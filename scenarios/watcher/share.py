"""The share with the raw data: which runs are complete, and which samples they have."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from chaoskit.runtime import Flag, RetryPolicy, TransientError, classify, clean_leftovers, read_rows

COMPLETE = "RTAComplete.txt"
SHEET = "SampleSheet.csv"
COLUMNS = ("sample", "reads")
FLAG = "errorprocessing"


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a run, with the file of its reads."""

    run: str
    name: str
    reads: Path

    @property
    def key(self) -> str:
        return f"{self.run}/{self.name}"


class Share:
    """Runs and samples below one directory. It may be away for a while: ``policy`` waits for it."""

    def __init__(self, root: Path, policy: RetryPolicy) -> None:
        self._root = root
        self._names = policy(self._complete)
        self._read = policy(self._sheet)
        self.checksum = policy(checksum)

    def runs(self) -> Iterator[str]:
        """The runs that the sequencer has finished and that no one has flagged."""
        for name in self._names():
            if self.flag(name).read() is None:
                yield name
            else:
                # A loss of power may keep both names of a flag, and nothing else looks at a flagged run.
                with suppress(OSError):
                    clean_leftovers(self._root / name)

    def samples(self, run: str) -> list[Sample]:
        """What the sheet of the run names.

        Raises:
            MalformedData: the sheet is wrong, with file, line and column.
            OSError: it cannot be read.
        """
        return self._read(run)

    def flag(self, run: str) -> Flag:
        """The flag that keeps a run out of later scans, until ``chaoskit`` or a person clears it."""
        return Flag(self._root / run / FLAG)

    def give_up(self, run: str, error: Exception) -> None:
        """Flag the run with what is wrong, and what to do about it."""
        # What an earlier life had begun to write when it was killed.
        clean_leftovers(self._root / run)
        decision = classify(error)
        self.flag(run).set(str(error), error=type(error).__name__, rule=decision.rule)

    def _complete(self) -> list[str]:
        # Not with a glob: to that a share which is away, or refuses, is one without runs.
        try:
            folders = sorted(os.listdir(self._root))
        except FileNotFoundError as error:
            raise TransientError(
                f"there is no {self._root}: the share is away, or has another name"
            ) from error
        return [name for name in folders if _is_there(self._root / name / COMPLETE)]

    def _sheet(self, run: str) -> list[Sample]:
        with closing(read_rows(self._root / run / SHEET, columns=COLUMNS)) as rows:
            return [Sample(run, row["sample"], self._root / run / row["reads"]) for row in rows]


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def checksum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
