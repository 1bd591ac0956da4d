from __future__ import annotations

import itertools
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chaoskit.core.case import CaseFailure
from chaoskit.core.operation import Frame
from chaoskit.core.schedule import Schedule
from chaoskit.report import Collector
from chaoskit.report.collect import shortener

from .samples import clean, violated

ROOT = Path("/home/u/app")


def test_order_of_arrival_does_not_show():
    """Results may come from any worker at any time; the report has them sorted by name."""
    results = [clean(f"t.py::test_{name}") for name in "abcdef"]
    orders = [random.Random(seed).sample(results, len(results)) for seed in range(5)]
    reports = []
    for order in orders:
        collector = Collector(ROOT)
        for result in order:
            collector.add(result.to_dict(), outcome="passed")
        reports.append(collector.report().entries)
    assert all(entries == reports[0] for entries in reports)
    assert [entry.result for entry in reports[0]] == [result.aggregated() for result in results]


def test_rerun_replaces():
    """A test that was run again counts once, with what came last."""
    collector = Collector(ROOT)
    collector.add(violated("t.py::t").to_dict(), outcome="failed")
    collector.add(clean("t.py::t").to_dict(), outcome="passed")
    assert len(collector) == 1
    (entry,) = collector.report().entries
    assert entry.outcome == "passed"


def test_paths_of_the_machine_do_not_reach_the_report():
    """Paths of the project are relative, those of temporary files and of Python replaced, everywhere."""
    library = f"{sys.base_prefix}/lib/python3/json/__init__.py"
    result = violated()
    finding = replace(
        result.findings[0],
        stack=(Frame("/home/u/app/src/a.py", 3, "save"), Frame(library, 1, "dump")),
        failure=CaseFailure("error", "OSError", "m", f'wrote /tmp/case-1/job\n  File "{library}", line 1'),
    )
    outside = Schedule.parse("rename(/home/u/app/a -> b)#1=kill")
    options = replace(result.options, command="--workspace /home/u/app -- true", replay=outside)
    result = replace(result, file="/home/u/app/scenarios/t.py", findings=(finding,), options=options)
    collector = Collector(ROOT, hide={Path("/tmp/case-1"): "<tmp>"})
    collector.add(result.to_dict(), outcome="skipped", reason="see /home/u/app/README.md")
    (entry,) = collector.report(command=["/home/u/app/.venv/bin/pytest", "t.py"]).entries
    assert entry.result.file == "scenarios/t.py"
    assert entry.reason == "see README.md"
    (told,) = entry.result.findings
    assert [frame.file for frame in told.stack] == ["src/a.py", "<python>/lib/python3/json/__init__.py"]
    assert told.failure.text == 'wrote <tmp>/job\n  File "<python>/lib/python3/json/__init__.py", line 1'
    assert entry.result.options.command == "--workspace . -- true"
    assert entry.result.options.replay == Schedule.parse("rename(a -> b)#1=kill")
    text = json.dumps(collector.report(command=["/home/u/app/x"]).to_dict())
    assert "/home/u" not in text
    assert "/tmp/case" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/app", "."),
        ("/srv/app/", ""),
        ("/srv/app/a b.py:1", "a b.py:1"),
        ("/srv/app2/x", "/srv/app2/x"),
        ("/srv/app-old/x", "/srv/app-old/x"),
        ("/srv/app.py", "/srv/app.py"),
        ("/mnt/srv/app/x", "/mnt/srv/app/x"),
        ("/srv/app/tmp/x and '/srv/app/y'", "<tmp>/x and 'y'"),
        ("'/srv/app'", "'.'"),
        ("nothing", "nothing"),
    ],
)
def test_only_whole_names_are_shortened(text, expected):
    """A directory is replaced where a path goes through it or ends in it, and nowhere else."""
    assert shortener({Path("/srv/app"): "", Path("/srv/app/tmp"): "<tmp>"})(text) == expected


def test_longest_prefix_wins_in_any_order():
    """A directory in a directory is told from the outer one, however the two are given."""
    pairs = [(Path("/a"), "<a>"), (Path("/a/b"), "<b>"), (Path("/a/b/c"), "<c>")]
    for order in itertools.permutations(pairs):
        assert shortener(dict(order))("/a/x /a/b/x /a/b/c/x") == "<a>/x <b>/x <c>/x"


def test_run_says_where_it_was():
    """The environment names kernel, Python and packages of the run."""
    run = Collector(ROOT).report(command=["pytest"], interrupted=True, place=Path("/")).runs[0]
    assert run.interrupted
    assert run.command == ("pytest",)
    assert run.created.endswith("Z")
    assert run.environment.python == sys.version.split()[0]
    assert "pytest" in run.environment.packages
    assert run.environment.kernel
