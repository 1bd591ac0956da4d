"""Recordings, call sites and counts in a file: each distinct one once, and all of them read back."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.counted import CountedCases
from chaoskit.core.errors import ScheduleError
from chaoskit.core.operation import Frame
from chaoskit.core.result import PointSummary
from chaoskit.core.schedule import Point, place_text
from chaoskit.report import Report, schema
from chaoskit.report.files import to_json

from .samples import SITE, clean, report, violated

OUTER, INNER = Frame("app/main.py", 3, "main"), Frame("app/save.py", 30, "save")

NAMES = st.sampled_from(
    ["write(a)", "open(a -> b)", "t1:write(a)", "run2/git~1:open(d)", "odd", "", "(", "a#"]
)
POINTS = st.lists(
    st.tuples(
        st.builds(lambda name, number: f"{name}#{number}", NAMES, st.sampled_from(["1", "2", "3", "01", ""])),
        st.sampled_from(["0", "-ENOENT", ""]),
        st.lists(st.sampled_from([SITE, OUTER, INNER]), max_size=4).map(tuple),
        st.booleans(),
        st.lists(st.sampled_from(["EIO", "kill"]), max_size=2).map(tuple),
        st.integers(0, 2),
    ),
    max_size=25,
)
COUNTED = st.lists(
    st.builds(
        CountedCases,
        st.lists(st.integers(0, 1), max_size=2).map(tuple),
        st.sampled_from(["tolerated", "failed safe"]),
        st.integers(1, 3),
        st.dictionaries(st.sampled_from(["EIO", "kill"]), st.integers(1, 3)),
    ),
    max_size=5,
).map(tuple)

VALIDATOR = jsonschema.validators.validator_for(schema.load())(schema.load())
"""Made once: ``jsonschema.validate`` checks the schema itself each time."""


def test_points_are_rows_of_one_table():
    """Each distinct operation is written once for all scenarios; names and numbers follow from it."""
    names = ("write(a)#1", "write(a)#2", "t1:write(a)#1", "write(a)#3")
    plain = json.loads(json.dumps(report(recorded(*names), recorded(*names[:2], nodeid="b.py::t")).to_dict()))
    assert plain["points"] == {
        "calls": ["write", "t1:write"],
        "operands": ["(a)#"],
        "outcomes": ["0"],
        "call": [0, 1],
        "operand": [0, 0],
        "outcome": [0, 0],
        "stack": [1, 1],
        "more": [{"faults": ["EIO"], "explored": 1}],
    }
    one, other = (scenario["points"] for scenario in plain["scenarios"])
    assert one == {"first": [0, 0, 0], "count": [1, 2, 1], "at": [0], "more": [0]}
    assert other == {"first": [0, 0], "count": [1, 1], "at": [0], "more": [0]}


def test_a_stretch_that_another_scenario_has_is_one_run():
    """What repeats costs two numbers, however long it is."""
    names = [f"write(file-{number})#1" for number in range(50)]
    plain = report(recorded(*names), recorded(*names, nodeid="b.py::t")).to_dict()
    for scenario in plain["scenarios"]:
        assert (scenario["points"]["first"], scenario["points"]["count"]) == ([0], [50])


def test_call_sites_are_written_once():
    """A file names each frame once, by whichever scenario or case it is named, and reads back equal."""
    made = report(violated("a.py::t"), violated("b.py::t"), clean())
    plain = made.to_dict()
    assert plain["frames"] == {
        "files": ["app/save.py"],
        "functions": ["save"],
        "file": [0],
        "line": [12],
        "function": [0],
    }
    assert plain["stacks"] == {"frame": [0], "back": [1]}
    assert Report.from_dict(json.loads(json.dumps(plain))) == made


def test_stacks_share_their_callers():
    """A stack is its innermost frame on top of an earlier stack, which at the end is the empty one."""
    points = recorded("write(a)#1", "write(a)#2", "write(a)#3", "write(a)#4").points
    stacks = ((INNER, OUTER), (SITE, OUTER), (), (OUTER,))
    points = tuple(replace(one, stack=stack) for one, stack in zip(points, stacks, strict=True))
    made = report(replace(clean(), points=points, cases=()))
    plain = made.to_dict()
    # The frames in the order in which points name them: INNER, OUTER, SITE.
    assert plain["stacks"] == {"frame": [1, 0, 2], "back": [1, 1, 2]}
    assert plain["points"]["stack"] == [2, 3, 0, 1]
    assert Report.from_dict(json.loads(json.dumps(plain))) == made


def test_equal_counts_are_written_once():
    """A scenario says which points were struck, and refers to the verdict and the numbers."""
    several = (
        CountedCases((0,), "tolerated", 2, {"EIO": 2}),
        CountedCases((1,), "tolerated", 2, {"EIO": 2}),
        CountedCases((1,), "failed safe", 1, {"EIO": 1}),
    )
    made = report(replace(clean(), cases=(), counted=several))
    plain = made.to_dict()
    assert plain["scenarios"][0]["counted"] == {"points": [[0], [1], [1]], "what": [0, 0, 1]}
    assert plain["counts"][1] == {"verdict": "failed safe", "count": 1, "faults": {"EIO": 1}}
    assert Report.from_dict(json.loads(json.dumps(plain))) == made


@given(st.lists(st.tuples(POINTS, COUNTED), max_size=3))
def test_any_recordings_are_read_back(scenarios):
    """Whatever is in them, reading gives what was written, and so does writing again; the schema holds."""
    results = []
    for number, (points, counted) in enumerate(scenarios):
        made = recorded(*(name for name, *_ in points), nodeid=f"t.py::{number}")
        points = tuple(
            replace(one, outcome=outcome, stack=stack, stable=stable, faults=faults, explored=explored)
            for one, (_, outcome, stack, stable, faults, explored) in zip(made.points, points, strict=True)
        )
        results.append(replace(made, points=points, counted=counted if len(points) > 1 else ()))
    before = report(*results)
    text = to_json(before)
    VALIDATOR.validate(json.loads(text))
    after = Report.from_dict(json.loads(text))
    assert after == before
    assert to_json(after) == text


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("no point",),
        ("write(a)#2", "write(a)#1", "write(a)#1"),
        ("write(a)#1", "write(a)#3", "write(a)#2"),
        ("write(a)#01", "#1", "1"),
        # Without its number a name looks like one that is to be numbered.
        ("write(a)#", "write(a)#1", "write(a)#2"),
        ("open(%FF*b -> c)#1", "run2/git~1/t3:open(d)#7"),
    ],
)
def test_points_with_any_names_are_read_back(names):
    """Numbers out of turn, and words that do not name a point, come back as they were."""
    made = report(recorded(*names))
    assert Report.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    odd = [replace(one, call="other", index=9) for one in made.entries[0].result.points]
    made = report(replace(made.entries[0].result, points=tuple(odd)))
    assert Report.from_dict(json.loads(json.dumps(made.to_dict()))) == made


TABLES = [
    ("points", "call", "a point refers to .* calls"),
    ("points", "operand", "a point refers to .* operands"),
    ("points", "outcome", "a point refers to .* outcomes"),
    ("points", "stack", "a point refers to .* stacks"),
    ("stacks", "back", "stack 1 is on top of .*; expected 1 to 1"),
    ("frames", "file", "a frame refers to .* files"),
    ("frames", "function", "a frame refers to .* functions"),
]


@pytest.mark.parametrize("index", [-1, 7, True, "0", None])
@pytest.mark.parametrize(("table", "column", "said"), TABLES)
def test_an_index_that_is_not_there_is_refused(table, column, said, index):
    """A file that was damaged does not show another point than was recorded."""
    plain = counting()
    plain[table][column][0] = index
    with pytest.raises(ValueError, match=said):
        Report.from_dict(plain)


@pytest.mark.parametrize("index", [-1, 7, True, "0", None])
@pytest.mark.parametrize(
    ("key", "column", "said"),
    [
        ("points", "first", "a point refers to 8 of 2 rows|a recording has 2 rows from row"),
        ("points", "count", "a point refers to 6 of 2 rows|a recording has .* rows; expected|from row 0 on"),
        ("points", "at", "more about a point refers to .* points"),
        ("points", "more", "a point refers to .* more"),
        ("counted", "what", "counted refers to .* counts"),
    ],
)
def test_a_scenario_that_refers_to_nothing_is_refused(key, column, said, index):
    """So with the rows of a recording, what is said about its points, and the counts."""
    plain = counting()
    plain["scenarios"][0][key][column][0] = index
    with pytest.raises(ValueError, match=said):
        Report.from_dict(plain)


def test_a_run_of_no_rows_is_refused():
    """It would not be missed, and is in no file that was written whole."""
    plain = counting()
    plain["scenarios"][0]["points"]["count"] = [0]
    with pytest.raises(ValueError, match="has 0 rows from row 0 on; expected at least one"):
        Report.from_dict(plain)


def test_a_stack_on_top_of_itself_is_refused():
    """A stack rests on an earlier one, so no file makes a reader go round in circles."""
    plain = counting()
    plain["stacks"] = {"frame": [0, 0], "back": [1, 0]}
    with pytest.raises(ValueError, match="stack 2 is on top of the one 0 before it; expected 1 to 2"):
        Report.from_dict(plain)


@pytest.mark.parametrize("keys", [*(keys[:2] for keys in TABLES), ("frames", "line"), ("stacks", "frame")])
def test_columns_of_different_lengths_are_refused(keys):
    """No point is lost without a word where a column was cut short."""
    plain = counting()
    table, column = keys
    plain[table][column].pop()
    with pytest.raises(ValueError, match=r"shorter|longer"):
        Report.from_dict(plain)


@pytest.mark.parametrize(
    "keys",
    [("points", "first"), ("points", "count"), ("points", "at"), ("points", "more"), ("counted", "what")],
)
def test_columns_of_a_scenario_that_were_cut_short_are_refused(keys):
    """The same for what a scenario refers to."""
    plain = counting()
    key, column = keys
    plain["scenarios"][0][key][column].pop()
    with pytest.raises(ValueError, match=r"shorter|longer"):
        Report.from_dict(plain)


def test_version_2_is_still_read():
    """There a recording is a list of records, without what names say, or a stack like the one before."""
    made = report(recorded("write(a)#1", "write(a)#2", "rename(a -> b)#1"))
    first, *others = [{"name": one.name, "outcome": "0"} for one in made.entries[0].result.points]
    points = [{**first, "stack": [0], "faults": ["EIO"], "explored": 1}, *others]
    assert Report.from_dict(earlier(made, 2, points)) == made


def test_version_3_is_still_read():
    """There each scenario has tables of its own, and what else there is about a point by its position."""
    made = report(recorded("write(a)#1", "write(a)#2", "rename(a -> b)#3"))
    points = version_3()
    assert Report.from_dict(earlier(made, 3, points)) == made
    points["name"][1] = 7
    with pytest.raises(ValueError, match="a point refers to 7 of 2 names"):
        Report.from_dict(earlier(made, 3, points))
    points = version_3()
    points["name"].pop()
    with pytest.raises(ValueError, match=r"shorter|longer"):
        Report.from_dict(earlier(made, 3, points))


def test_a_point_takes_few_bytes():
    """A long recording of a program with a loop has at most 3 bytes for each; repeated, next to none.

    With tables and columns of its own for each scenario it had 10, and 10 again.
    """
    size = 3000
    once = len(to_json(report(long(size)))) - len(to_json(report(long(0))))
    assert once / size < 3
    twice = len(to_json(report(long(size), long(size, "b.py::t"))))
    again = twice - once - len(to_json(report(long(0), long(0, "b.py::t"))))
    assert again / size < 0.2


def long(size, nodeid="a.py::t"):
    """A program that saves files in turn, from places far down in several stacks, each in its own order."""
    calls = ("open(work/{}.txt)", "write(work/{}.txt)", "fsync(work/{}.txt)", "rename(work/{0}.txt -> {0})")
    deep = tuple(Frame(f"app/part{depth % 7}.py", depth, f"step_{depth}") for depth in range(30))
    numbers, names = Counter(), []
    for index in range(size):
        # A step that shares no divisor with the calls: stretches that repeat are not all there is.
        name = calls[index % len(calls)].format(index // 4 * 7 % 50)
        numbers[name] += 1
        names.append(f"{name}#{numbers[name]}")
    made = recorded(*names, nodeid=nodeid)
    points = (replace(one, stack=deep[one.index * 3 % 20 :]) for one in made.points)
    return replace(made, points=tuple(points))


def counting():
    """A report, as a file has it, in which each table and each column is in use."""
    several = (CountedCases((0,), "tolerated", 2, {"EIO": 2}),)
    return report(replace(clean(), cases=(), counted=several)).to_dict()


def earlier(made, version, points):
    """The report as a file of that version has it, with these points."""
    scenario = {**made.entries[0].to_dict(), "points": points}
    plain = {**made.to_dict(), "schema_version": version, "scenarios": [scenario]}
    plain["frames"] = [{"file": SITE.file, "line": SITE.line, "function": SITE.function}]
    return json.loads(json.dumps(plain))


def version_3():
    """Three points as version 3 has them; the last is out of turn."""
    return {
        "names": ["write(a)#", "rename(a -> b)#3"],
        "outcomes": ["0"],
        "stacks": [[0]],
        "name": [0, 0, 1],
        "outcome": [0, 0, 0],
        "stack": [0, 0, 0],
        "more": {"0": {"faults": ["EIO"], "explored": 1}},
    }


def recorded(*names, nodeid="a.py::t"):
    """A scenario without cases whose recording has points of these names."""
    points = []
    for index, name in enumerate(names):
        try:
            point = Point.parse(name)
        except ScheduleError:
            point = Point("", "")
        said = (point.call, point.target, point.second, place_text(point.place), point.place.run)
        faults = {"faults": ("EIO",), "explored": 1} if not index else {}
        points.append(PointSummary(index, name, *said, "0", (SITE,), **faults))
    return replace(clean(nodeid), points=tuple(points), cases=())
