"""One input and one fault together, for tests that draw both: see :func:`chaoskit.strategies.worlds`."""

from __future__ import annotations

import atexit
import os
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from chaoskit.core.errors import BackendUnavailable, UsageError
from chaoskit.core.schedule import Schedule
from chaoskit.core.words import PYTEST
from chaoskit.explore.align import align, patterns_with
from chaoskit.explore.border import CaseSource, Planned, Recording
from chaoskit.explore.job import Expected, Job
from chaoskit.explore.replay import planned_for
from chaoskit.explore.sources import sources_of
from chaoskit.faults import FaultSet
from chaoskit.faults.power import DEFAULT_MODELS
from chaoskit.inject import backends
from chaoskit.inject.base import Backend
from chaoskit.inject.leftovers import RunDirectory
from chaoskit.inject.removal import remove
from chaoskit.session.chaos import Chaos
from chaoskit.session.outcomes import Outcome

Data = TypeVar("Data")
Prepare = Callable[[Path, Any], object]

_homes: dict[tuple[int, str], RunDirectory] = {}
"""Where this process makes its worlds, by its process id and the directory for temporary files."""


def _home() -> str:
    """The directory for this process's worlds. If the process is killed, the next run removes it."""
    key = os.getpid(), tempfile.gettempdir()
    if key not in _homes:
        _homes[key] = RunDirectory(key[1])
        atexit.register(_leave, key)
    return _homes[key].path


def _leave(key: tuple[int, str]) -> None:
    # A forked child that exits normally would remove what its parent still needs.
    if key[0] == os.getpid():
        _homes.pop(key).close()


class DrawnWorld(Generic[Data]):
    """A value ``data``, an empty directory ``path``, and a schedule, which :meth:`run` chooses."""

    def __init__(
        self,
        data: Data,
        faults: FaultSet,
        choose: Callable[[Sequence[str]], int],
        *,
        prepare: Prepare | None = None,
        replay: Schedule | None = None,
        model: tuple[str, ...] = DEFAULT_MODELS,
    ) -> None:
        """``choose`` takes the possible schedules, the empty one first, and returns the index of one."""
        self.data = data
        self._drawn = Schedule() if replay is None else replay
        self._choose = choose
        self._prepare = prepare
        self._replay = replay
        self._sources = sources_of(faults, model, replay)
        # The finalizer removes it with this object, or at the end of the process.
        self._base = tempfile.mkdtemp(prefix="world-", dir=_home())
        weakref.finalize(self, remove, self._base)
        self._chaos: Chaos | None = None
        self.path = Path(self._base, "case").resolve()
        self.path.mkdir()

    def run(self, fn: Callable[..., Any], /, *args: Any) -> Outcome:
        """Execute ``fn(path, data, *args)`` without faults, then under a schedule, both times in ``path``.

        The first execution begins in an empty directory: what was in ``path`` is put aside meanwhile.
        ``prepare(path, data)``, if given, is called before each of them.

        Raises:
            BaseException: whatever ``fn`` raises without a fault. UsageError: for a second run.
            BackendUnavailable: where no backend works. ScheduleError: if the schedule to replay names an
            operation that does not happen with this data.
        """
        if self._chaos is not None:
            raise UsageError(
                "world.run was called a second time; expected one run in each world, since the schedule is "
                "drawn for it. Call the functions from one that is run."
            )
        backend, reason = backends.found(backends.AUTO)
        if backend is None:
            raise BackendUnavailable(f"a world needs a backend, and none works here: {reason}")
        planned = self._planned(backend, fn, args)
        self._chaos = self._made(self.path, backend, planned)
        return self._chaos.run(fn, self.path, self.data, *args)

    @property
    def promised(self) -> list[Any]:
        """What the workload has promised by ``promise``, in order."""
        return [] if self._chaos is None else self._chaos.promised

    @property
    def schedule(self) -> str:
        """What strikes, as text; empty before a schedule is drawn, and if nothing strikes."""
        return str(self._drawn)

    @property
    def struck(self) -> bool:
        """True if every fault of the schedule took effect; also if it has none."""
        seen = None if self._chaos is None else self._chaos.observed()
        return seen is not None and len(seen.struck) == len(self._drawn)

    def _planned(self, backend: Backend, fn: Callable[..., Any], args: Sequence[Any]) -> tuple[Planned, Job]:
        """The case to run, from a recording of the workload with this data."""
        recording = self._recording(backend, fn, args)
        possible = [one for source in self._sources for one in source.cases(recording)]
        if self._replay is not None and self._replay.strikes:
            one = planned_for(self._replay, possible, recording, self._sources, PYTEST)
        elif self._replay is not None:
            one = Planned(self._replay)
        else:
            # The empty schedule first: if no fault is needed, the simplest example has none.
            possible = [Planned(Schedule()), *possible]
            one = possible[self._choose([str(planned.schedule) for planned in possible])]
            self._drawn = one.schedule
        patterns = patterns_with(recording.patterns, one.schedule)
        job = Job(schedule=one.schedule, patterns=patterns, world=one.world, expected=Expected())
        return one, job

    def _recording(self, backend: Backend, fn: Callable[..., Any], args: Sequence[Any]) -> Recording:
        # In the same place: a crash state may contain the path in which it was recorded.
        aside = self.path.with_name("aside")
        os.rename(self.path, aside)
        try:
            self.path.mkdir()
            baseline = (Planned(Schedule()), Job(record=True))
            chaos = self._made(self.path, backend, baseline, self._sources)
            chaos.run(fn, self.path, self.data, *args)
        finally:
            remove(str(self.path))
            os.rename(aside, self.path)
        # Only one recording: what varies from run to run shows as a fault that does not strike.
        trace = chaos.observed().trace
        return align(trace, trace).recording

    def _made(
        self, path: Path, backend: Backend, case: tuple[Planned, Job], sources: Sequence[CaseSource] = ()
    ) -> Chaos:
        if self._prepare is not None:
            self._prepare(path, self.data)
        return Chaos(path, backend, case[1], sources=sources)

    def __repr__(self) -> str:
        return f"world({self.data!r}, {self.schedule!r})"
