"""What each sync of a program protects: the crash states that it prevents, judged by the same check.

Only the part of the test after its run is executed, as for every crash state. Deleting the call and running
everything again would show the same, but is impossible for a program in another language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from chaoskit.core.auditing import SyncResult
from chaoskit.core.case import BROKEN
from chaoskit.core.schedule import Schedule
from chaoskit.explore.border import Planned, Recording, Spared
from chaoskit.explore.choose import ranked
from chaoskit.explore.job import Job
from chaoskit.explore.judge import judge
from chaoskit.explore.spoiling import Spoiling
from chaoskit.explore.sweep import Sweep

LIMIT = 256
"""The most crash states tried for one sync."""
LEAST = 4
"""How many are tried for each sync, however small the budget is."""
BATCH = 16
"""How many are tried before checking whether one broke, so that equal runs try the same ones."""
FILES = 3
"""The most files spoiled, per sync, to see whether the check looks at them."""


class SyncAudit:
    """One audit; ``job_of`` makes the job of a planned case."""

    def __init__(self, sweep: Sweep, recording: Recording, job_of: Callable[[Planned], Job]) -> None:
        self._sweep = sweep
        self._recording = recording
        self._job_of = job_of

    def results(self, spared: Iterable[Spared]) -> Iterator[SyncResult]:
        """The result for each sync, in the order of the recording."""
        several = list(spared)
        budget = self._sweep.question.options.budget
        # As many cases as the sweep had, divided among the syncs.
        limit = LIMIT if budget is None else max(LEAST, budget // max(1, len(several)))
        for one in several:
            yield self._result(one, min(limit, LIMIT))

    def _result(self, one: Spared, limit: int) -> SyncResult:
        result = SyncResult(one.operation, "superfluous", len(one.cases))
        chosen = self._first(one.cases)[:limit]
        for begin in range(0, len(chosen), BATCH):
            batch = chosen[begin : begin + BATCH]
            result = replace(result, checked=begin + len(batch))
            jobs = [self._job_of(case) for case in batch]
            seen = dict(self._sweep.observe(jobs))
            for number in sorted(seen):
                judgement = judge(jobs[number], seen[number])
                if judgement.verdict in BROKEN:
                    world = batch[number].world
                    harm = judgement.failure.message if judgement.failure else judgement.verdict
                    models = world.models if world is not None else ()
                    return replace(result, word="needed", harm=harm.partition("\n")[0], models=models)
        if not one.cases:
            # Nothing can be lost without this sync, so it is superfluous whatever the check looks at.
            return result
        if len(chosen) < len(one.cases):
            return replace(result, word="not settled")
        return replace(result, word="superfluous" if self._looks(one) else "unnoticed")

    def _first(self, cases: Sequence[Planned]) -> list[Planned]:
        """The cases, the most telling first."""
        blamed = [case.world.blamed if case.world is not None else None for case in cases]
        return [cases[i] for i in ranked(cases, blamed, self._sweep.question.seed)]

    def _looks(self, one: Spared) -> bool:
        """True if the check notices garbage in a file that the sync is about, or that the file is missing.

        Also True if no such file is left at the end, since then there is nothing to try it on.
        """
        run = self._recording.trace[one.operation].place.run
        spoilings = [
            Spoiling(run, how, (name,)) for name in one.files[:FILES] for how in ("garbage", "missing")
        ]
        if not spoilings:
            return True
        plain = self._job_of(Planned(Schedule()))
        jobs = [replace(plain, spoiling=spoiling) for spoiling in spoilings]
        return any(seen.failure is not None for _, seen in self._sweep.observe(jobs))
