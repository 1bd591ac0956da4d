"""Preflight: the work begins only if everything that it will need is available."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.config import option
from chaoskit.runtime.failures.base import ResourceError
from chaoskit.runtime.failures.taxonomy import DiskFull, OutOfMemory, TooManyFiles
from chaoskit.runtime.guarding.resources import readings
from chaoskit.runtime.numbers import is_number

__all__ = ["Preflight", "PreflightReport", "ResourceCheck"]


@dataclass(frozen=True, slots=True)
class ResourceCheck:
    """One need, with its margin, in bytes or as a number. ``free`` is None if it cannot be read here."""

    resource: str
    place: str
    needed: int
    free: int | None
    bound: str = ""

    @property
    def ok(self) -> bool:
        """True if enough is free, or if what is free cannot be read."""
        return self.free is None or self.free >= self.needed

    def __str__(self) -> str:
        where = f" at {self.place}" if self.place else ""
        if self.free is None:
            return f"{self.resource}{where}: {self.needed:,} needed, what is free is not known here"
        limit = f" (limited by {self.bound})" if self.bound else ""
        return f"{self.resource}{where}: {self.needed:,} needed, {self.free:,} free{limit}"


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """The checks, and ``staging``: where to stage; None if staging was not asked for or fits nowhere."""

    checks: tuple[ResourceCheck, ...]
    staging: Path | None = None
    fell_back: bool = False

    @property
    def ok(self) -> bool:
        """True if all needs are met."""
        return all(one.ok for one in self.checks)

    @property
    def missing(self) -> tuple[ResourceCheck, ...]:
        """The checks that failed."""
        return tuple(one for one in self.checks if not one.ok)

    def require(self) -> PreflightReport:
        """Return the report itself if all needs are met.

        Raises:
            DiskFull, OutOfMemory, TooManyFiles, ResourceError: by the kind of the first unmet need; the
                message lists all of them.
        """
        if self.ok:
            return self
        kind = _ERRORS.get(self.missing[0].resource, ResourceError)
        text = "; ".join(map(str, self.missing))
        raise kind(
            f"the work cannot begin: {text}. Free it, ask for less, or raise the limit.",
            context={"missing": self.to_dict()["missing"]},
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types."""

        def plain(one: ResourceCheck) -> dict[str, Any]:
            return {
                "resource": one.resource,
                "place": one.place,
                "needed": one.needed,
                "free": one.free,
                "bound": one.bound,
                "ok": one.ok,
            }

        return {
            "ok": self.ok,
            "staging": None if self.staging is None else str(self.staging),
            "fell_back": self.fell_back,
            "checks": [plain(one) for one in self.checks],
            "missing": [plain(one) for one in self.missing],
        }


_MOST = 1 << 63
"""More than any resource can have: the kernel counts bytes in 64 bits."""
_ERRORS: Mapping[str, type[ResourceError]] = {
    "disk": DiskFull,
    "staging": DiskFull,
    "memory": OutOfMemory,
    "descriptors": TooManyFiles,
}


@dataclass(frozen=True, slots=True)
class Preflight:
    """The needs of the work, as its author estimates them; ``check`` compares them with what is free.

    ``disk`` maps paths to bytes; needs on the same file system add up. ``tmpfs`` is a path and the bytes to
    stage there; if they do not fit, they are staged at ``fallback``. ``memory`` is in bytes. ``margin`` is a
    share added to bytes: 0.2 asks for a fifth more. Nothing is reserved: what is free now may be gone later,
    which a :class:`~chaoskit.runtime.ResourceMonitor` notices.

    Raises:
        UsageError: a need is negative, or the margin is impossible.
    """

    disk: Mapping[str, int] = field(default_factory=dict)
    memory: int = option(default=0, minimum=0, unit="bytes")
    descriptors: int = option(default=0, minimum=0)
    processes: int = option(default=0, minimum=0)
    tmpfs: tuple[str, int] | None = None
    fallback: str | None = None
    margin: float = option(default=0.2, minimum=0, unit="ratio")

    def __post_init__(self) -> None:
        if not (is_number(self.margin) and 0 <= self.margin < math.inf):
            raise wrong("margin", self.margin, "a share of 0 or more, such as 0.2")
        if not isinstance(self.disk, Mapping):
            raise wrong("disk", self.disk, "a mapping of paths to bytes")
        if self.tmpfs is not None and not (isinstance(self.tmpfs, tuple | list) and len(self.tmpfs) == 2):
            raise wrong(
                "tmpfs", self.tmpfs, "a path and the bytes to stage there, such as ('/dev/shm', 4096)"
            )
        staged = () if self.tmpfs is None else (self.tmpfs[1],)
        for need in (*self.disk.values(), *staged, self.memory, self.descriptors, self.processes):
            if not (is_number(need) and 0 <= need <= _MOST):
                raise wrong("a need", need, "zero or more", "Bytes are a number: 2 << 30 is 2 GiB.")
        paths = [*self.disk, *(self.tmpfs or ())[:1], *([] if self.fallback is None else [self.fallback])]
        for path in paths:
            text = os.fspath(path) if isinstance(path, os.PathLike) else path
            if not isinstance(text, str) or "\0" in text:
                raise wrong("a path", path, "the path of a directory, a text")

    def check(self) -> PreflightReport:
        """Look at the machine now.

        Raises:
            OSError: the file system of a path in ``disk`` does not answer, or may not be examined.
        """
        needs: dict[str, int] = {os.fspath(path): need for path, need in self.disk.items()}
        places = _LookedUp()
        found: list[ResourceCheck] = []
        staging, fell_back = None, False
        if self.tmpfs is not None:
            place, need = self.tmpfs
            fits = self._staged(place, need, needs, places)
            if not fits.ok and self.fallback is not None:
                # The staged bytes now need disk, in addition to what else is written there.
                place, fell_back = self.fallback, True
                fits = self._staged(place, need, needs, places)
            staging = Path(place) if fits.ok else None
            found.append(fits)
            if fits.ok:
                needs[place] = needs.get(place, 0) + need
        found += self._disks(needs, places)
        # A tmpfs takes its bytes from the memory that the work needs too.
        in_memory = sum(need for path, need in needs.items() if readings.in_memory(places[path]))
        if self.memory:
            found.append(
                _compared("memory", "", self._with_margin(self.memory + in_memory), readings.memory())
            )
        # Counts get no margin, which would refuse a limit that was set to exactly the need.
        if self.descriptors:
            found.append(_compared("descriptors", "", self.descriptors, readings.descriptors()))
        if self.processes:
            found.append(_compared("processes", "", self.processes, readings.processes()))
        return PreflightReport(tuple(found), staging, fell_back)

    def _staged(self, place: str, need: int, others: Mapping[str, int], places: _LookedUp) -> ResourceCheck:
        """Check that ``need`` fits at ``place``, in addition to what else is written to that file system."""
        try:
            there = places[place]
            _check_stage(there.path)
            beside = sum(n for path, n in others.items() if places[path].device == there.device)
            return _compared("staging", place, self._with_margin(need + beside), readings.disk(there))
        except OSError as error:
            # A place that does not answer, or is not writable, counts as full, so that the fallback is used.
            return ResourceCheck(
                "staging", place, self._with_margin(need), 0, f"it: {error.strerror or error}"
            )

    def _disks(self, needs: Mapping[str, int], places: _LookedUp) -> Iterator[ResourceCheck]:
        by_device: dict[int, list[str]] = {}
        for path in needs:
            by_device.setdefault(places[path].device, []).append(path)
        for paths in by_device.values():
            # Added up, since each need may fit alone where all of them together do not.
            need = self._with_margin(sum(needs[path] for path in paths))
            yield _compared("disk", ", ".join(paths), need, readings.disk(places[paths[0]]))

    def _with_margin(self, need: int) -> int:
        return math.ceil(need * (1 + self.margin))


class _LookedUp(dict[str, readings.ExistingPlace]):
    """Where the files of one check lie; each path is looked up once, a call for each of its parts."""

    def __missing__(self, path: str) -> readings.ExistingPlace:
        self[path] = found = readings.place(path)
        return found


def _check_stage(place: Path) -> None:
    """Raise the error that creating a file in ``place`` would raise."""
    code = errno.ENOTDIR if not place.is_dir() else 0 if os.access(place, os.W_OK | os.X_OK) else errno.EACCES
    if code:
        raise OSError(code, os.strerror(code), str(place))


def _compared(resource: str, place: str, needed: int, usage: readings.Usage | None) -> ResourceCheck:
    if usage is None:
        return ResourceCheck(resource, place, needed, None)
    return ResourceCheck(resource, place, needed, usage.free, usage.bound)
