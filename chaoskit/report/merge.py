"""Join reports: CI matrices and sharded runs write several (xdist workers do not)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

from chaoskit.grouping.union import union
from chaoskit.report.document import Entry, Outcome, Report, Run, in_order

_Key = tuple[str, ...]


def merge(reports: Iterable[Report]) -> Report:
    """One report that holds the runs and scenarios of all.

    The shards of a scenario become one entry, as if it had not been divided. Otherwise a scenario that occurs
    twice with equal environments was run again: the entry of the run that ended last is kept. With different
    environments (another Python, another kernel) both are kept. The order of ``reports`` does not matter, and
    merging a report twice changes nothing.

    Raises:
        UsageError: if shards of a scenario are missing, or are not of one plan.
    """
    runs: dict[str, Run] = {}
    entries: list[tuple[str, Entry]] = []
    for report in reports:
        names = [_name(run) for run in report.runs]
        runs |= dict(zip(names, report.runs, strict=True))
        entries += [(names[entry.run], entry) for entry in report.entries]
    order = sorted(runs)
    latest: dict[_Key, Entry] = {}
    # In order of time, so that the last one wins. By name only, since entries cannot be compared.
    for name, entry in sorted(entries, key=lambda pair: pair[0]):
        part = entry.result.part
        environment = runs[name].environment
        key: _Key = (entry.result.nodeid, json.dumps(asdict(environment), sort_keys=True))
        if part is not None:
            # Shards come from several machines, but hardly from different Pythons.
            key = (entry.result.nodeid, environment.python, environment.implementation, str(part.shard))
        latest[key] = replace(entry, run=order.index(name))
    return Report(tuple(runs[name] for name in order), in_order(_joined(latest)))


def _joined(latest: Mapping[_Key, Entry]) -> Iterable[Entry]:
    """The entries, with the shards of each scenario joined into one."""
    shards: dict[_Key, list[Entry]] = {}
    for key, entry in latest.items():
        if entry.result.part is None:
            yield entry
        else:
            shards.setdefault(key[:3], []).append(entry)
    unexplored = {entry.result.nodeid for entry in latest.values() if entry.result.part is None}
    for several in shards.values():
        # If one shard could not be explored, that is the outcome of the whole.
        if several[0].result.nodeid in unexplored:
            continue
        result = union([entry.result for entry in several])
        outcome: Outcome = "passed" if result.state == "passed" else "failed"
        yield Entry(result, outcome, run=max(entry.run for entry in several))


def _name(run: Run) -> str:
    """A name that distinguishes runs; alphabetical order is the order of time."""
    return run.created + json.dumps(asdict(run), sort_keys=True)
