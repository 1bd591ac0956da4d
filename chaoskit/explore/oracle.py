"""A trial of the test's own check: does it notice states that no working program leaves?

A check that accepts everything passes every case and says nothing. So the test is run a few more times
without faults, and after the workload something is taken from what it left: a file, its content, half of it.
What the check then accepts is reported. Each state that is tried is one that a crash must not leave either: a
scenario in which "old or new" is right may accept the old content, unless the new one was promised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chaoskit.core.result import OracleTrial
from chaoskit.core.schedule import matcher
from chaoskit.explore.border import CaseSource, Planned, Recording
from chaoskit.explore.observation import Observation
from chaoskit.explore.snapshot import FileEntry, Snapshot, take
from chaoskit.explore.spoiling import Spoiling

FILES = 6
"""The most files written by the workload that are spoiled, each in up to four ways."""


class Onlooker(CaseSource):
    """Watches, in the first recording, what each run changes; it has no cases."""

    def __init__(self) -> None:
        self._before: dict[int, Snapshot] = {}
        self._after: dict[int, Snapshot] = {}

    def cases(self, recording: Recording) -> Iterable[Planned]:
        """Return no cases: the trial is of the test, not of the program."""
        return ()

    def before_run(self, run: int, path: str) -> None:
        """Note what the directory holds."""
        self._before[run] = take(path)

    def after_run(self, run: int, path: str) -> None:
        """Note what the run left."""
        self._after[run] = take(path)

    def spoilings(self, patterns: Iterable[str], promised: bool) -> list[Spoiling]:
        """The spoilings to try; empty if no run left anything. ``promised``: the runs promised something."""
        changing = [run for run in self._after if self._results(run, patterns)]
        if not changing:
            return []
        # The last one: what comes after it is recovery and check.
        run = max(changing)
        before = self._before[run]
        results = self._results(run, patterns)[:FILES]
        found = [Spoiling(run, "emptied")] if promised or any(map(before.get, results)) else []
        for name in results:
            ways = _ways(before.get(name), self._after[run][name], promised)
            found += [Spoiling(run, how, (name,)) for how in ways]
        # If nothing was there before and nothing was promised, any of these alone may be right, but not all.
        return found or [
            Spoiling(run, "emptied"),
            *(Spoiling(run, how, tuple(results)) for how in ("empty", "half", "garbage")),
        ]

    def _results(self, run: int, patterns: Iterable[str]) -> list[str]:
        """The files that a run wrote and whose names do not vary."""
        varying = [matcher(pattern) for pattern in patterns]
        before = self._before[run]
        return [
            name
            for name, entry in self._after.get(run, {}).items()
            if entry.kind == "file"
            and entry.size
            and before.get(name) != entry
            and not any(pattern.fullmatch(name) for pattern in varying)
        ]


def _ways(before: FileEntry | None, after: FileEntry, promised: bool) -> Iterable[str]:
    """The ways of spoiling a file that the test must notice."""
    held = before is not None and before.size > 0
    if held or promised:
        yield from ("missing", "empty")
    # Half of a log that has grown may be just what it held before.
    grown = held and before is not None and after.head.startswith(before.head[: after.size])
    if promised or (held and not grown):
        yield "half"
    if promised and held:
        yield "old"


def verdict(spoilings: Sequence[Spoiling], observed: Mapping[int, Observation]) -> OracleTrial:
    """What the check wrongly accepted. ``observed`` has the observations by the number of the spoiling."""
    accepted = {number for number, seen in observed.items() if seen.failure is None and not seen.skipped}
    if len(accepted) == len(spoilings):
        listed = ", ".join(map(str, spoilings))
        return OracleTrial(len(spoilings), (f"everything that was tried: {listed}",) if spoilings else ())
    by_file: dict[tuple[str, ...], list[int]] = {}
    for number, spoiling in enumerate(spoilings):
        by_file.setdefault(spoiling.files, []).append(number)
    told: list[str] = []
    for files, numbers in by_file.items():
        # A file that may be spoiled in every way is a copy of others, or does not concern the scenario.
        if not files or not accepted.issuperset(numbers):
            told += [str(spoilings[number]) for number in numbers if number in accepted]
    # If nothing was there before and nothing was promised, only a check that accepts everything is weak.
    single = any(spoiling.how == "garbage" for spoiling in spoilings)
    return OracleTrial(len(spoilings), () if single else tuple(told))
