"""The report as JUnit XML: a test case for each scenario, a failure for whatever the gate would refuse.

The format is that of Ant's junitreport as the JUnit plugin of Jenkins reads it: a ``testsuites`` element with
one ``testsuite`` for each run.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from chaoskit.core.finding import Finding
from chaoskit.report.document import Entry, Report, Run
from chaoskit.report.explain import finding_text

# Characters that XML 1.0 excludes (section 2.2), even as references.
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """The whole document. Deterministic: equal reports give equal text."""
    top = Element("testsuites", name="chaoskit")
    for number, run in enumerate(report.runs):
        _suite(top, run, [entry for entry in report.entries if entry.run == number])
    indent(top)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(top, "unicode") + "\n"


def _suite(top: Element, run: Run, entries: list[Entry]) -> None:
    kinds = [_kind(entry) for entry in entries]
    suite = SubElement(
        top,
        "testsuite",
        name="chaoskit",
        tests=str(len(entries)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time=f"{run.seconds:.3f}",
        # In UTC, without the zone, which the schema of this format does not allow.
        timestamp=run.created.rstrip("Z"),
        # The attribute is required; the host's real name would say whose machine it was.
        hostname=run.environment.system or "unknown",
    )
    for entry, kind in zip(entries, kinds, strict=True):
        file, _, name = entry.result.nodeid.partition("::")
        case = SubElement(
            suite,
            "testcase",
            classname=_text(file.removesuffix(".py").replace("/", ".")),
            name=_text(name or file),
            time=f"{entry.result.timing.total:.3f}",
        )
        if kind == "skipped":
            SubElement(case, "skipped", message=_text(entry.reason))
        elif kind == "error":
            SubElement(case, "error", type="error", message=_first(entry.result.error)).text = _text(
                entry.result.error
            )
        elif kind == "failure":
            _failure(case, entry)


def _kind(entry: Entry) -> str:
    if entry.outcome != "failed":
        return entry.outcome
    return "error" if entry.result.state == "error" else "failure"


def _failure(case: Element, entry: Entry) -> None:
    new = entry.result.new_findings
    # One element for each test case: some readers keep only the last one.
    message = "; ".join(map(_title, new)) or _others(entry)
    texts = [finding_text(entry.result, finding) for finding in new]
    SubElement(case, "failure", type="finding", message=_text(message)).text = _text("\n\n".join(texts))


def _title(finding: Finding) -> str:
    return f"{finding.id} {finding.verdict}: {finding.schedule}".strip()


def _others(entry: Entry) -> str:
    gone = [f"{one} is stated as known and gone" for one in entry.result.stale]
    return "; ".join(gone) or f"{entry.result.state}: see the report"


def _first(text: str) -> str:
    return _text(next(iter(text.splitlines()), ""))


def _text(text: str) -> str:
    return _NO_CHARACTER.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
