"""The report as SARIF 2.1.0 (OASIS): findings as code hosts show them beside the line.

A rule is a cause, a result is a finding. Known findings are included with their reason, suppressed.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from chaoskit.core.finding import Finding
from chaoskit.core.operation import Frame
from chaoskit.report.document import Entry, Report
from chaoskit.report.explain import replay_command

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

CAUSES = {
    "stopped": "It is not safe to stop the program here.",
    "answered": "The program reports an error and has made matters worse.",
    "went on": "The program takes no notice of an error.",
    "unsynced": "A power loss takes back what the program relies on.",
    "damaged": "The program trusts what it finds.",
}
"""What each cause of a finding means: the rules."""

FINGERPRINT = "chaoskit/finding/v1"


def sarif(report: Report) -> str:
    """The whole document as JSON. Deterministic: equal reports give equal text."""
    found = [(entry, finding) for entry in report.entries for finding in entry.result.findings]
    rules = [
        {"id": _rule(name), "shortDescription": {"text": text}, "fullDescription": {"text": text}}
        for name, text in (*CAUSES.items(), ("", "A case broke an invariant."))
    ]
    ids = [rule["id"] for rule in rules]
    version = report.runs[-1].environment.chaoskit if report.runs else ""
    driver: dict[str, Any] = {"name": "chaoskit", "rules": rules}
    if version:
        driver["version"] = version
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": not report.interrupted}],
        "results": [_result(entry, finding, ids) for entry, finding in found],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _rule(cause: str) -> str:
    return f"chaoskit/{cause.replace(' ', '-') or 'violated'}"


def _result(entry: Entry, finding: Finding, ids: list[Any]) -> dict[str, Any]:
    rule = _rule(finding.cause if finding.cause in CAUSES else "")
    message = finding.failure.message or finding.failure.name or finding.verdict
    after = finding.schedule or "no fault"
    text = f"{next(iter(message.splitlines()), '')} ({entry.result.nodeid}, after {after})"
    result: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": ids.index(rule),
        "level": "note" if finding.known else "error",
        "message": {"text": text},
        "locations": [_location(site)] if (site := _site(entry, finding)) is not None else [],
        "properties": {
            "scenario": entry.result.nodeid,
            "schedule": finding.schedule,
            "replay": replay_command(entry.result, finding.schedule),
        },
    }
    if finding.id:
        # By scenario, too: a mistake that two scenarios show is two results.
        result["partialFingerprints"] = {FINGERPRINT: f"{finding.id}/{entry.result.nodeid}"}
    if finding.known:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.known}]
    return result


def _site(entry: Entry, finding: Finding) -> Frame | None:
    if finding.excerpt is not None:
        return finding.excerpt.site
    if finding.site is not None and not finding.site.file.startswith("<"):
        return finding.site
    # Without a Python stack, as for a command, only the scenario can be pointed to.
    return Frame(entry.result.file, max(1, entry.result.line), "") if entry.result.file else None


def _location(site: Frame) -> dict[str, Any]:
    artifact = {"uri": quote(site.file), "uriBaseId": "%SRCROOT%"}
    if site.file.startswith("/"):
        artifact = {"uri": f"file://{quote(site.file)}"}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": max(1, site.line)}}}
