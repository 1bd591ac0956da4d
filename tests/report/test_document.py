from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest

from chaoskit.core.case import VERDICTS
from chaoskit.core.errors import ScheduleError
from chaoskit.core.result import PointSummary, StateCounts
from chaoskit.core.schedule import Point, place_text
from chaoskit.report import SCHEMA_VERSION, Report, schema

from .samples import SITE, clean, report, run, violated


def test_shipped_schema_is_that_of_the_records():
    """The schema file describes exactly what is written; regenerate it with the module's own command."""
    assert schema.load() == schema.build(), "run: python -m chaoskit.report.schema"


def test_schema_is_itself_valid():
    """Other tools can use the schema file as it is."""
    jsonschema.Draft202012Validator.check_schema(schema.load())


def test_report_follows_its_schema():
    """What is written passes the shipped schema, also after a trip through JSON."""
    plain = json.loads(json.dumps(report(clean(), violated()).to_dict()))
    jsonschema.validate(plain, schema.load())


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: plain.pop("schema_version"),
        lambda plain: plain["totals"]["verdicts"].pop("hung"),
        lambda plain: plain["scenarios"][0]["cases"][0].update(verdict="fine"),
        lambda plain: plain["scenarios"][0].pop("outcome"),
        lambda plain: plain["scenarios"][0]["points"].update(name=["0", "1"]),
        lambda plain: plain["scenarios"][0]["points"].pop("outcome"),
        lambda plain: plain["runs"][0]["environment"].pop("python"),
        lambda plain: plain.update(runs=[]),
    ],
)
def test_schema_refuses_damage(damage):
    """The schema is strict enough to notice a key that is missing or a value of another type."""
    plain = report(clean()).to_dict()
    damage(plain)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain, schema.load())


def test_schema_names_every_key_that_is_written():
    """No key reaches a file without being declared: the schema with unknown keys forbidden still passes."""
    strict = schema.load()
    for definition in (strict, *strict["$defs"].values()):
        definition["additionalProperties"] = False
    jsonschema.validate(json.loads(json.dumps(report(clean(), violated()).to_dict())), strict)


def test_report_survives_the_trip_through_json():
    """Reading what was written gives an equal report."""
    before = report(clean(), violated(), made_by=run(interrupted=True))
    assert Report.from_dict(json.loads(json.dumps(before.to_dict()))) == before


def test_unknown_keys_are_ignored():
    """A file that a later minor version wrote can be read."""
    before = report(clean())
    plain = before.to_dict()
    for place in (plain, plain["runs"][0], plain["runs"][0]["environment"], plain["scenarios"][0]):
        place["later"] = 1
    assert Report.from_dict(plain) == before


def test_totals_add_up():
    """Totals count points, cases, findings and verdicts over all scenarios."""
    totals = report(clean(), violated()).totals
    assert (totals.scenarios, totals.points, totals.points_struck) == (2, 3, 3)
    assert (totals.cases, totals.cases_possible) == (5, 12)
    assert (totals.findings, totals.known_findings, totals.inconclusive) == (1, 0, 1)
    assert totals.verdicts == {
        "tolerated": 1,
        "failed safe": 2,
        "violated": 1,
        "hung": 0,
        "diverged": 1,
        "not injected": 0,
        "interpreter": 0,
    }
    assert set(totals.verdicts) == set(VERDICTS)
    assert totals.outcomes == {"passed": 1, "failed": 1, "skipped": 0}


def test_crash_states_add_up():
    """Each count over all scenarios that lost power; those that did not have none, and alone neither."""
    assert report(clean()).totals.crash_states is None
    totals = report(violated("a.py::t"), violated("b.py::t"), clean()).totals
    assert totals.crash_states == StateCounts(2400, 800, 300, 500)


def test_a_point_without_receipt_is_not_struck():
    """A case that never injected its fault does not count for the coverage of points."""
    result = clean()
    lost = tuple(replace(case, verdict="not injected") for case in result.cases)
    assert report(replace(result, cases=lost)).totals.points_struck == 0


def test_known_findings_are_counted_apart():
    """What a scenario states as known is not a finding of the run; what it states and is gone counts too."""
    accepted = replace(violated().findings[0], known="reported upstream")
    result = replace(violated(), findings=(accepted,), known={"3fa9c1": "", "77aa01": ""}, stale=("77aa01",))
    totals = report(result).totals
    assert (totals.findings, totals.known_findings, totals.stale_findings) == (0, 1, 1)


def test_call_sites_are_written_once():
    """A file names each frame once, by whichever scenario or case it is named, and reads back equal."""
    made = report(violated("a.py::t"), violated("b.py::t"), clean())
    plain = made.to_dict()
    assert len(plain["frames"]) == 1
    assert plain["scenarios"][0]["points"]["stacks"] == [[0]]
    assert Report.from_dict(json.loads(json.dumps(plain))) == made


def test_passed_cases_are_counted_and_no_longer_listed():
    """What a file keeps of cases that passed is their number, by points, faults and verdict."""
    result = clean()
    more = replace(result, cases=result.cases * 50)
    kept = more.aggregated()
    assert kept.cases == ()
    assert kept.verdicts == more.verdicts
    assert kept.tried == 150
    assert [one.count for one in kept.counted] == [50, 50, 50]
    assert report(kept).totals == report(more).totals
    assert kept.aggregated() == kept


def test_of_broken_cases_the_shown_one_is_kept():
    """What its finding has as well is left out of it; the others are counted, and stand with the finding."""
    shown = violated().cases[0]
    other = replace(shown, schedule="write(a)#9=kill")
    result = replace(violated(), cases=(shown, replace(other, index=7)))
    (kept,) = result.aggregated().cases
    assert (kept.schedule, kept.runs, kept.differences) == (shown.schedule, shown.runs, ())
    assert kept.failure.message == shown.failure.message
    assert result.aggregated().verdicts == result.verdicts
    known = replace(result, findings=(replace(result.findings[0], known="accepted"),)).aggregated()
    assert [case.timeline for case in known.cases] == [None]


def test_points_are_columns():
    """Each name, outcome and stack is written once; what a name says, and its number, follow from it."""
    made = report(recorded("write(a)#1", "write(a)#2", "t1:write(a)#1", "write(a)#3"))
    points = json.loads(json.dumps(made.to_dict()))["scenarios"][0]["points"]
    assert points == {
        "names": ["write(a)#", "t1:write(a)#"],
        "outcomes": ["0"],
        "stacks": [[0]],
        "name": [0, 0, 1, 0],
        "outcome": [0, 0, 0, 0],
        "stack": [0, 0, 0, 0],
        "more": {"0": {"faults": ["EIO"], "explored": 1}},
    }


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("no point",),
        ("write(a)#2", "write(a)#1", "write(a)#1"),
        ("write(a)#1", "write(a)#3", "write(a)#2"),
        ("write(a)#01", "#1", "1"),
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


@pytest.mark.parametrize("index", [-1, 7, True, "0", None])
def test_an_index_that_is_not_there_is_refused(index):
    """A file that was damaged does not show another point than was recorded."""
    plain = report(clean()).to_dict()
    plain["scenarios"][0]["points"]["name"][0] = index
    with pytest.raises(ValueError, match="a point refers to"):
        Report.from_dict(plain)


def test_columns_of_different_lengths_are_refused():
    """No point is lost without a word where a column was cut short."""
    plain = report(clean()).to_dict()
    plain["scenarios"][0]["points"]["stack"].pop()
    with pytest.raises(ValueError, match="shorter"):
        Report.from_dict(plain)


def test_version_2_is_still_read():
    """There a recording is a list of records, without what names say, or a stack like the one before."""
    made = report(recorded("write(a)#1", "write(a)#2", "rename(a -> b)#1"))
    plain = made.to_dict()
    first, *others = [{"name": one.name, "outcome": "0"} for one in made.entries[0].result.points]
    plain["scenarios"][0]["points"] = [{**first, "stack": [0], "faults": ["EIO"], "explored": 1}, *others]
    assert Report.from_dict(json.loads(json.dumps({**plain, "schema_version": 2}))) == made


def recorded(*names):
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
    return replace(clean(), points=tuple(points), cases=())


def test_version_is_written_first():
    """A reader can tell the version from the first key of the file."""
    assert next(iter(report(clean()).to_dict().items())) == ("schema_version", SCHEMA_VERSION)
