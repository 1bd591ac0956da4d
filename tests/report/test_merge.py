from __future__ import annotations

import itertools
from dataclasses import replace

from chaoskit.core.result import StateCounts
from chaoskit.report import Entry, Report, merge

from .samples import clean, report, run, violated

EARLY = "2026-01-01T00:00:00Z"
LATE = "2026-01-02T00:00:00Z"


def test_shards_become_one_report():
    """Scenarios of several shards stand in one report, in the order of their names."""
    one = report(clean("b.py::t"), made_by=run(EARLY))
    two = report(clean("a.py::t"), made_by=run(LATE))
    joined = merge([one, two])
    assert [entry.result.nodeid for entry in joined.entries] == ["a.py::t", "b.py::t"]
    assert [joined.runs[entry.run].created for entry in joined.entries] == [LATE, EARLY]


def test_order_does_not_matter():
    """However the shards are given, the joined report is the same."""
    shards = [
        report(clean("a.py::t"), made_by=run(EARLY)),
        report(violated("a.py::t"), clean("b.py::t"), made_by=run(LATE)),
        report(clean("a.py::t"), made_by=run(LATE, "3.13.0")),
    ]
    assert len({str(merge(order)) for order in itertools.permutations(shards)}) == 1


def test_merging_twice_changes_nothing():
    """A merged report may be merged in again, alone or with its parts."""
    shards = [report(clean("a.py::t"), made_by=run(EARLY)), report(violated("b.py::t"), made_by=run(LATE))]
    joined = merge(shards)
    assert merge([joined]) == joined
    assert merge([joined, *shards, joined]) == joined


def test_rerun_on_the_same_environment_replaces():
    """A scenario that was run again on an equal machine counts once, as it came out last."""
    first = report(violated("a.py::t"), made_by=run(EARLY))
    again = report(clean("a.py::t"), made_by=run(LATE))
    (entry,) = merge([again, first]).entries
    assert entry.outcome == "passed"


def test_other_environments_are_kept_apart():
    """The same scenario on two Pythons is two entries."""
    reports = [report(clean("a.py::t"), made_by=run(EARLY, python)) for python in ("3.11.7", "3.12.1")]
    joined = merge(reports)
    assert [joined.runs[entry.run].environment.python for entry in joined.entries] == ["3.11.7", "3.12.1"]
    assert joined.totals.scenarios == 2


def test_counts_of_crash_states_are_those_of_what_was_kept():
    """Shards add up; a scenario that was run again counts once."""
    names, times = ("a.py::t", "b.py::t"), (EARLY, LATE)
    lost = [report(violated(name), made_by=run(time)) for name in names for time in times]
    joined = merge([*lost, report(clean("c.py::t"), made_by=run(LATE))])
    assert joined.totals.crash_states == StateCounts(2400, 800, 300, 500)


def test_nothing_merges_to_nothing():
    """Merging no reports, or empty ones, is not an error."""
    assert merge([]) == Report(())
    assert merge([Report((run(),))]) == Report((run(),))


def test_interruption_is_not_lost():
    """One interrupted shard makes the whole incomplete, and an entry keeps its reason."""
    cut = Report((run(EARLY, interrupted=True),), (Entry(clean("a.py::t"), "skipped", "no seccomp"),))
    joined = merge([cut, report(clean("b.py::t"), made_by=run(LATE))])
    assert joined.interrupted
    assert joined.entries[0] == replace(cut.entries[0], run=0)
