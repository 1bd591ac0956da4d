"""The JUnit XML is valid by a schema of its format, and the schema notices what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.core.result import ScenarioResult
from chaoskit.report import Entry, Report
from chaoskit.report.junit import junit

from .samples import clean, run, violated

xmlschema = pytest.importorskip("xmlschema", reason="what checks the XML is not installed")

SCHEMA = Path(__file__).with_name("junit.xsd")


def every_kind() -> Report:
    """A report with every outcome, and names that XML must not take for markup."""
    entries = (
        Entry(clean('a.py::test_a[<&>"\x00]'), "passed"),
        Entry(violated("b.py::test_b"), "failed"),
        Entry(ScenarioResult("c.py::test_c", "error", error="it fails <without> faults\n]]>"), "failed"),
        Entry(ScenarioResult("d.py::test_d", "skipped"), "skipped", "no kernel"),
        Entry(clean("e.py::test_e"), "passed", run=1),
    )
    return Report((run(), run("2026-01-03T00:00:00Z")), entries)


@pytest.mark.parametrize("report", [every_kind(), Report((run(),)), Report(())])
def test_what_is_written_is_valid(report: Report) -> None:
    """With every outcome, with an empty suite, and with none."""
    xmlschema.XMLSchema(SCHEMA).validate(junit(report))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('tests="4"', 'tests="four"'),
        ("<skipped", "<ignored"),
        (' hostname="Linux"', ""),
        ('timestamp="2026-01-02T03:04:05"', 'timestamp="yesterday"'),
        ('type="finding"', ""),
        ('time="1.500"', 'time="-1.5"'),
    ],
)
def test_what_is_wrong_is_noticed(right: str, wrong: str) -> None:
    """A schema that lets everything pass would show nothing."""
    text = junit(every_kind())
    assert right in text
    assert not xmlschema.XMLSchema(SCHEMA).is_valid(text.replace(right, wrong, 1))
