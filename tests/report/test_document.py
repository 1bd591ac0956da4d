from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest

from chaoskit.core.case import VERDICTS
from chaoskit.core.result import StateCounts
from chaoskit.report import SCHEMA_VERSION, Report, schema

from .samples import clean, report, run, violated


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
        lambda plain: plain["points"].update(call=["0", "1"]),
        lambda plain: plain["scenarios"][0]["points"].update(first=["0", "1"]),
        lambda plain: plain["scenarios"][0]["points"].pop("count"),
        lambda plain: plain["scenarios"][0].update(counted=[]),
        lambda plain: plain.pop("stacks"),
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


def test_version_is_written_first():
    """A reader can tell the version from the first key of the file."""
    assert next(iter(report(clean()).to_dict().items())) == ("schema_version", SCHEMA_VERSION)
