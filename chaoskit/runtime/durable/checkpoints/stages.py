"""The stages of one job. Each is a checkpoint; a restart continues with the first that is not complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, synchronous
from chaoskit.runtime.durable.checkpoints.checkpoints import Checkpoints
from chaoskit.runtime.failures.base import PermanentError, TransientError

__all__ = ["StageHeld", "StageDead", "Stages"]

T = TypeVar("T")


class StageHeld(TransientError):
    """Another worker runs the stage, or the stage is not due yet."""

    default_hint = "Wait for it, or end the worker that runs it."


class StageDead(PermanentError):
    """The attempts of the stage are used up; its dead letter says why."""

    default_hint = "Fix the cause, then redrive its dead letter."


class Stages:
    """The stages ``names`` of ``job``, in order. The job is the scope of their checkpoints.

    A crash loses at most the stage that was running. If an artefact of a stage has changed, the stage is no
    longer complete, and neither are those after it.

    Raises:
        UsageError: there are no names, or one occurs twice.
    """

    def __init__(self, checkpoints: Checkpoints, job: str, names: Sequence[str]) -> None:
        stages = kinds.listed("names", names, str)
        if not stages or len(set(stages)) < len(stages):
            raise wrong("names", names, "at least one name, each once")
        self._checkpoints = kinds.instance("checkpoints", checkpoints, Checkpoints)
        self._job, self._names = kinds.text("job", job), stages

    def resume(self) -> str | None:
        """The first stage that is not complete; None if all are. Reads the artefacts.

        Raises:
            RecordCorrupt, StoreTooNew: a checkpoint cannot be read.
        """
        return next((name for name in self._names if not self._complete(name)), None)

    def run(self, name: str, fn: Callable[[], T], *, artefacts: Sequence[str | os.PathLike[str]] = ()) -> T:
        """The result of the stage: the recorded one if the stage is complete, otherwise that of ``fn``.

        ``fn`` must return plain data (see ``Store``). It is recorded together with the ``artefacts``, files
        that ``fn`` has made. An error of ``fn`` is recorded and raised.

        Raises:
            UsageError: there is no such stage, one before it is not complete, or ``fn`` is async.
            StageHeld: the stage cannot be run now.
            StageDead: the stage has no attempts left.
            CheckpointError: an artefact is missing after ``fn``, or the store cannot hold its result.
        """
        place = self._place(name)
        synchronous("the function of a stage", fn, optional=False)
        # Otherwise a stage could run on outdated input, and its wrong result would be recorded as complete.
        missing = next((one for one in self._names[:place] if not self._complete(one)), None)
        if missing is not None:
            raise UsageError(
                f"stage {name!r} of {self._job!r} was started and {missing!r} is not complete; expected the"
                " stages in their order. Begin with resume()."
            )
        if self._complete(name):
            value: T = self._checkpoints.load(name, scope=self._job)
            return value
        found = self._checkpoints.record(name, scope=self._job)
        if found is not None and found.status == "completed":
            claim = self._checkpoints.reclaim(name, scope=self._job)
        else:
            claim = self._checkpoints.claim(name, scope=self._job)
        if claim is None:
            raise self._refusal(name)
        with claim:
            result: T = called("the function of a stage", fn)
            claim.complete(result, artefacts=artefacts)
        return result

    def reset(self, name: str) -> None:
        """Make the stage, and all after it, run again.

        Raises:
            UsageError: there is no such stage.
        """
        later = self._names[self._place(name) :]
        self._checkpoints.forget(later, scope=self._job)

    def _complete(self, name: str) -> bool:
        # By checksum, not only by size: stages are few, and each may stand for hours of work.
        return self._checkpoints.is_completed(name, scope=self._job, verify_checksum=True)

    def _place(self, name: str) -> int:
        if name not in self._names:
            raise wrong("stage", name, f"one of {', '.join(map(repr, self._names))}")
        return self._names.index(name)

    def _refusal(self, name: str) -> Exception:
        found = self._checkpoints.record(name, scope=self._job)
        where = f"stage {name!r} of {self._job!r}"
        if found is not None and found.status == "dead":
            return StageDead(
                f"{where} has no attempts left; expected at least one. See its dead letter {found.letter}."
            )
        return StageHeld(f"{where} is run by another worker or not due yet; expected it to be free.")
