"""Join the reports of shards: CI matrices and split runs write several (the workers of xdist do not)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace

from chaoskit.report.document import Entry, Report, Run, in_order


def merge(reports: Iterable[Report]) -> Report:
    """One report that holds the runs and scenarios of all.

    A scenario that is there twice with equal environments was run again: the entry of the run that ended
    last is kept. With different environments (another Python, another kernel) both are kept. The order
    of ``reports`` does not matter, and merging the same report in twice changes nothing.
    """
    runs: dict[str, Run] = {}
    entries: list[tuple[str, Entry]] = []
    for report in reports:
        names = [_name(run) for run in report.runs]
        runs |= dict(zip(names, report.runs, strict=True))
        entries += [(names[entry.run], entry) for entry in report.entries]
    order = sorted(runs)
    latest: dict[tuple[str, str], Entry] = {}
    # In the order of time, so that the last one wins. Only by name: entries cannot be compared.
    for name, entry in sorted(entries, key=lambda pair: pair[0]):
        environment = json.dumps(asdict(runs[name].environment), sort_keys=True)
        latest[entry.result.nodeid, environment] = replace(entry, run=order.index(name))
    return Report(tuple(runs[name] for name in order), in_order(latest.values()))


def _name(run: Run) -> str:
    """What tells one run from another; in alphabetical order runs are in the order of time."""
    return run.created + json.dumps(asdict(run), sort_keys=True)
