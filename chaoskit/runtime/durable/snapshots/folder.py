"""The newest snapshots of a job, each as a file in one directory."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chaoskit.core.errors import ChaoskitError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.durable.files import clean_leftovers, make_directories
from chaoskit.runtime.durable.files.reading import open_regular
from chaoskit.runtime.durable.files.writing import write_buffers
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability, check_durability
from chaoskit.runtime.durable.reserve import Reserve
from chaoskit.runtime.durable.snapshots.codec import StateCodec
from chaoskit.runtime.durable.snapshots.container import PREFIX_SIZE, Buffer, envelope_length, read_envelope
from chaoskit.runtime.failures.stored import RecordCorrupt, StoreTooNew
from chaoskit.runtime.failures.taxonomy import CheckpointError, DiskFull, QuotaExceeded
from chaoskit.runtime.numbers import is_whole

__all__ = ["SnapshotInfo", "Snapshots"]

logger = logging.getLogger("chaoskit")

_MISSING: Any = object()


@dataclass(frozen=True)
class SnapshotInfo:
    """One snapshot. ``at`` is in seconds since the epoch, ``size`` in bytes on disk.

    ``emergency`` is True for a snapshot saved by :meth:`Snapshots.emergency`.
    """

    number: int
    path: Path
    size: int
    at: float = 0.0
    stage: str = ""
    description: str = ""
    emergency: bool = False


class Snapshots:
    """Saves the state of a job, keeps the newest ``keep`` snapshots, and loads the newest.

    Once ``save`` has returned, the snapshot survives the crash that ``durability`` names; an interrupted
    ``save`` leaves the earlier ones intact. Several processes may save at once: each snapshot has a distinct
    number, counted from 1. The first ``save`` creates the directory, and in it a file of ``reserve`` bytes,
    which ``emergency`` gives up when the disk is full.

    Raises:
        UsageError: ``job`` cannot be part of a file's name, ``keep`` is less than 1, or ``durability`` is not
            a known level.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        job: str = "state",
        *,
        keep: int = 20,
        codec: StateCodec | None = None,
        durability: Durability = DEFAULT_DURABILITY,
        reserve: int = 4 << 20,
        clock: Clock | None = None,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", kinds.text("job", job)):
            raise wrong("job", job, "up to 100 letters, digits, dots, dashes and underscores: it names files")
        if not (is_whole(keep) and keep >= 1):
            raise wrong("keep", keep, "at least 1")
        if not (is_whole(reserve) and reserve >= 0):
            raise wrong("reserve", reserve, "a number of bytes, at least 0")
        self._directory = Path(os.path.abspath(kinds.path("directory", directory)))
        self._job = job
        self._keep = keep
        self._codec = kinds.instance("codec", codec, StateCodec, optional=True) or StateCodec()
        self._durability = check_durability(durability)
        self._reserve = Reserve(self._directory / f"{job}.reserve", reserve)
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._prepared = False

    def save(self, state: Any, *, stage: str = "", description: str = "") -> SnapshotInfo:
        """Save the state, then remove the oldest snapshots beyond ``keep``.

        Raises:
            CheckpointError: a part of the state cannot be saved. Nothing was written.
            OutcomeUnknown: the state is saved, but may not survive a power loss.
            DiskFull, OSError: the state is not saved. Earlier snapshots are intact.
        """
        info = self._save(state, stage, description, emergency=False)
        # An error here would say that the state is not saved.
        with contextlib.suppress(OSError):
            self.prune()
        return info

    def load(
        self, which: int | Literal["latest", "latest-intact"] = "latest", *, default: Any = _MISSING
    ) -> Any:
        """The state of one snapshot: by its number, or the newest.

        If the newest is damaged, that is an error, since silently falling back to an older one would repeat
        work. To load the newest that can be read, ask for ``"latest-intact"``.

        Raises:
            CheckpointError: there is no such snapshot, and no ``default`` was given.
            UsageError: ``which`` is neither a number, ``"latest"`` nor ``"latest-intact"``.
            RecordCorrupt, StoreTooNew, ConfigurationError, SecurityError: as ``StateCodec.loads``.
        """
        numbers = self._numbers()
        if isinstance(which, int):
            numbers = [number for number in numbers if number == which]
        elif which not in ("latest", "latest-intact"):
            raise wrong("which", which, "a number, 'latest' or 'latest-intact'")
        damaged: ChaoskitError | None = None
        for number in reversed(numbers):
            try:
                return self._codec.loads(self._content(number))
            except (RecordCorrupt, StoreTooNew) as error:
                path = str(self._path(number))
                named = type(error)(f"{path!r}: {error.message}", hint=error.hint, context={"path": path})
                if which != "latest-intact":
                    raise named from error
                damaged = damaged or named
            except FileNotFoundError:
                continue  # Another process pruned it after it was listed.
        if damaged is not None:
            raise damaged
        if default is _MISSING:
            raise CheckpointError(
                f"there is no snapshot {which!r} of {self._job!r} in {str(self._directory)!r}",
                hint="Start from the beginning, or give load(default=…).",
            )
        return default

    def list(self) -> Sequence[SnapshotInfo]:
        """All snapshots, oldest first. Of a damaged one only number, path and size are known."""
        found = []
        for number in self._numbers():
            with contextlib.suppress(FileNotFoundError):
                found.append(self._info(number))
        return found

    def verify(self) -> dict[int, str]:
        """Load each snapshot; return the errors of those that cannot be loaded, by number."""
        wrong_ones = {}
        for number in self._numbers():
            try:
                self._codec.loads(self._content(number))
            except FileNotFoundError:
                continue
            except (ChaoskitError, OSError) as error:
                wrong_ones[number] = str(error)
        return wrong_ones

    def prune(self) -> int:
        """Remove all but the newest ``keep``; return how many were removed.

        A file that cannot be removed now is left for the next call.
        """
        return sum(map(self._remove, self._numbers()[: -self._keep]))

    def emergency(self, state: Any, *, description: str = "") -> SnapshotInfo | None:
        """Save in spite of a full disk. For error handlers: never raises an ``Exception``.

        Gives up the reserve first, then the oldest snapshots one by one, but never the newest. Returns None
        if the state could not be saved; the logger ``chaoskit`` then says why.
        """
        try:
            self._reserve.give_up()
            while True:
                try:
                    return self._save(state, "", description, emergency=True)
                except (DiskFull, QuotaExceeded):
                    older = self._numbers()[:-1]
                    if not any(map(self._remove, older[:1])):
                        raise
        except Exception:
            logger.exception("the emergency snapshot of %r could not be saved", self._job)
            return None

    def _save(self, state: Any, stage: str, description: str, *, emergency: bool) -> SnapshotInfo:
        at = self._clock.time()
        meta = {"at": at, "stage": stage, "description": description, "emergency": emergency}
        pieces = self._codec.pieces(state, meta)
        self._prepare(reserve=not emergency)
        number = self._write(pieces)
        size = sum(memoryview(piece).nbytes for piece in pieces)
        return SnapshotInfo(number, self._path(number), size, at, stage, description, emergency)

    def _write(self, pieces: Sequence[Buffer]) -> int:
        # The directory exists by now. If it cannot be found, its newest number is unknown, and a snapshot
        # that is saved with a lower number would never be loaded.
        numbers = self._numbers(must_exist=True)
        number = numbers[-1] + 1 if numbers else 1
        while True:
            try:
                write_buffers(self._path(number), pieces, durability=self._durability, exclusive=True)
            except FileExistsError:
                number += 1  # Another process saved one after the directory was listed.
            else:
                return number

    def _prepare(self, *, reserve: bool) -> None:
        """Once: create the directory, remove what dead processes left in it, and set the reserve aside."""
        if self._prepared:
            return
        if reserve or not self._directory.is_dir():
            if self._durability == "power-loss":
                make_directories(self._directory)
            else:
                self._directory.mkdir(parents=True, exist_ok=True)
        if reserve:
            clean_leftovers(self._directory)
            self._reserve.lay_by()
            self._prepared = True

    def _path(self, number: int) -> Path:
        return self._directory / f"{self._job}-{number:010d}.snapshot"

    def _numbers(self, *, must_exist: bool = False) -> Sequence[int]:
        pattern = re.compile(rf"{re.escape(self._job)}-(\d{{10}})\.snapshot")
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            if must_exist:
                raise
            return []
        return sorted(int(found[1]) for found in map(pattern.fullmatch, names) if found)

    def _content(self, number: int) -> bytearray:
        with open_regular(self._path(number)) as file:
            # Writable memory, so that the codec can use arrays in place instead of copying them.
            content = bytearray(os.fstat(file.fileno()).st_size)
            rest = memoryview(content)
            while rest and (count := file.readinto(rest)):
                rest = rest[count:]
        return content

    def _info(self, number: int) -> SnapshotInfo:
        path = self._path(number)
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                prefix = file.read(PREFIX_SIZE)
                meta = read_envelope(prefix + file.read(min(envelope_length(prefix), size))).meta
            except (RecordCorrupt, StoreTooNew):
                return SnapshotInfo(number, path, size)
        known: dict[str, Callable[[Any], Any]] = {"at": float, "stage": str, "description": str}
        said = {name: convert(meta[name]) for name, convert in known.items() if name in meta}
        return SnapshotInfo(number, path, size, **said, emergency=bool(meta.get("emergency")))

    def _remove(self, number: int) -> bool:
        try:
            os.unlink(self._path(number))
        except OSError:
            return False
        return True
