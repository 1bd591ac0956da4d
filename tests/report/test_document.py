from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest

from chaoskit.core.case import VERDICTS
from chaoskit.core.result import StateCounts
from chaoskit.report import SCHEMA_VERSION, Entry, Report, schema

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
        lambda plain: plain["scenarios"][0]["points"][0].update(index="0"),
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
    }
    assert set(totals.verdicts) == set(VERDICTS)
    assert totals.outcomes == {"passed": 1, "failed": 1, "skipped": 0, "xfailed": 0, "xpassed": 0}


def test_crash_states_add_up():
    """Each count over all scenarios that lost power; those that did not have none, and alone neither."""
    assert report(clean()).totals.crash_states is None
    totals = report(violated("a.py::t"), violated("b.py::t"), clean()).totals
    assert totals.crash_states == StateCounts(2400, 800, 300, 500)


def test_a_file_from_before_the_counts_is_read():
    """Keys that were added within a version are not required, neither by the schema nor by the reader."""
    plain = json.loads(json.dumps(report(violated()).to_dict()))
    del plain["totals"]["crash_states"], plain["scenarios"][0]["crash_states"]
    jsonschema.validate(plain, schema.load())
    assert Report.from_dict(plain).totals.crash_states is None


def test_a_point_without_receipt_is_not_struck():
    """A case that never injected its fault does not count for the coverage of points."""
    result = clean()
    lost = tuple(replace(case, verdict="not injected") for case in result.cases)
    assert report(replace(result, cases=lost)).totals.points_struck == 0


def test_known_findings_are_counted_apart():
    """The findings of a scenario that is expected to fail are known findings, not findings."""
    totals = Report((run(),), (Entry(violated(), "xfailed", "known"),)).totals
    assert (totals.findings, totals.known_findings) == (0, 1)


def test_version_is_written_first():
    """A reader can tell the version from the first key of the file."""
    assert next(iter(report(clean()).to_dict().items())) == ("schema_version", SCHEMA_VERSION)
