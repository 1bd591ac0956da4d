"""The forms for other tools follow what their formats require; the examples below state it in our words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from chaoskit.core.operation import Frame
from chaoskit.core.result import ScenarioResult
from chaoskit.core.source import Excerpt
from chaoskit.report import Entry, Report
from chaoskit.report.junit import junit
from chaoskit.report.sarif import CAUSES, FINGERPRINT, sarif

from .samples import clean, report, run, violated

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}

# What SARIF 2.1.0 requires of the objects that are used: its sections 3.13, 3.14, 3.18, 3.19, 3.27 to 3.30.
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": {"$ref": "#/$defs/run"}},
    },
    "$defs": {
        "run": {
            "required": ["tool"],
            "additionalProperties": False,
            "properties": {
                "tool": {
                    "required": ["driver"],
                    "properties": {
                        "driver": {"required": ["name"], "properties": {"rules": {"$ref": "#/$defs/rules"}}}
                    },
                },
                "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                "invocations": {"items": {"required": ["executionSuccessful"]}},
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
            },
        },
        "rules": {
            "type": "array",
            "uniqueItems": True,
            "items": {"required": ["id"], "properties": {"fullDescription": TEXT}},
        },
        "result": {
            "required": ["message"],
            "additionalProperties": False,
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": -1},
                "level": {"enum": ["none", "note", "warning", "error"]},
                "message": TEXT,
                "locations": {"type": "array", "items": {"$ref": "#/$defs/location"}},
                "partialFingerprints": {"additionalProperties": {"type": "string"}},
                "properties": {"type": "object"},
                "suppressions": {
                    "items": {
                        "required": ["kind"],
                        "properties": {"kind": {"enum": ["inSource", "external"]}},
                    }
                },
            },
        },
        "location": {
            "required": ["physicalLocation"],
            "properties": {
                "physicalLocation": {
                    "required": ["artifactLocation"],
                    "properties": {
                        "artifactLocation": {"required": ["uri"]},
                        "region": {"properties": {"startLine": {"type": "integer", "minimum": 1}}},
                    },
                }
            },
        },
    },
}


def sample() -> Report:
    """A scenario that passed, one with a new and a known finding, one skipped, one wrong."""
    bad = violated()
    finding = replace(
        bad.findings[0],
        id="3fa9c1",
        cause="stopped",
        excerpt=Excerpt(Frame("app dir/save.py", 12, "save"), 12, ("file.write(text)",)),
    )
    failure = replace(finding.failure, message="")
    bare = replace(finding, id="", cause="", known="accepted", excerpt=None, site=None, failure=failure)
    bad = replace(bad, findings=(finding, bare))
    skipped = ScenarioResult("t.py::skipped", "skipped")
    error = ScenarioResult("t.py::error", "error", error="it fails\x00 without faults\nsecond line")
    entries = (Entry(clean(), "passed"), Entry(bad, "failed"), Entry(skipped, "skipped", "no kernel"))
    return Report((run(),), (*entries, Entry(error, "failed")))


@pytest.mark.parametrize("made", [sample(), report(), report(clean())], ids=["sample", "empty", "clean"])
def test_sarif_follows_its_format(made: Report) -> None:
    """Every object has what the standard requires, and none that is used has a key that it does not know."""
    jsonschema.validate(json.loads(sarif(made)), SARIF)


def test_sarif_names_each_finding_at_its_line() -> None:
    """Rule, place, fingerprint and replay; a known finding is suppressed with its reason."""
    (found,) = json.loads(sarif(sample()))["runs"]
    new, known = found["results"]
    ids = [rule["id"] for rule in found["tool"]["driver"]["rules"]]
    assert ids[new["ruleIndex"]] == new["ruleId"] == "chaoskit/stopped"
    place = new["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "app%20dir/save.py"
    assert place["region"] == {"startLine": 12}
    assert new["level"] == "error"
    assert new["partialFingerprints"] == {FINGERPRINT: "3fa9c1/scenarios/test_save.py::test_bad"}
    assert "--chaoskit-replay" in new["properties"]["replay"]
    assert known["level"] == "note"
    assert known["suppressions"] == [{"kind": "inSource", "justification": "accepted"}]
    # Without a stack the scenario is what there is to point to.
    assert known["locations"][0]["physicalLocation"]["region"] == {"startLine": 20}
    assert len(ids) == len(CAUSES) + 1


def test_junit_follows_its_format() -> None:
    """The attributes that its readers require are there, counts agree, and each case has one outcome."""
    top = ElementTree.fromstring(junit(sample()).encode())
    assert top.tag == "testsuites"
    (suite,) = top
    assert set(suite.keys()) >= {
        "name",
        "tests",
        "failures",
        "errors",
        "skipped",
        "time",
        "timestamp",
        "hostname",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        *("4", "1", "1", "1"),
    )
    cases = suite.findall("testcase")
    assert len(cases) == len(suite) == 4
    for case in cases:
        assert set(case.keys()) >= {"name", "classname", "time"}
        assert len(case) <= 1
        assert all(child.tag in ("failure", "error", "skipped") and child.get("message") for child in case)
    failure = suite.find(".//failure")
    assert failure is not None
    assert failure.get("message") == "3fa9c1 violated: write(a)#1=kill"
    assert "--chaoskit-replay" in (failure.text or "")


def test_characters_that_xml_lacks_are_spelt() -> None:
    """A null byte in a message makes no document that cannot be read."""
    error = ElementTree.fromstring(junit(sample()).encode()).find(".//error")
    assert error is not None
    assert error.get("message") == "it fails\\x00 without faults"
