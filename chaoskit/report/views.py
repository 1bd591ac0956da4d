"""Every form of a report, by the name of its file."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.report.document import Report
from chaoskit.report.gate import Judged
from chaoskit.report.html import page
from chaoskit.report.junit import junit
from chaoskit.report.marks import Mark
from chaoskit.report.sarif import sarif

PAGE, JUNIT, SARIF = "index.html", "junit.xml", "report.sarif"


def views(
    report: Report,
    *,
    judged: Sequence[Judged] | None = None,
    before: Mark | None = None,
    history: Sequence[Mark] = (),
) -> tuple[dict[str, str], str]:
    """All forms beside JSON and Markdown; and why there is no page, empty if there is one.

    The arguments are those of the page.
    """
    made = {JUNIT: junit(report), SARIF: sarif(report)}
    try:
        made[PAGE] = page(report, judged=judged, before=before, history=history)
    except ModuleNotFoundError as error:
        # A report is worth having without its page, and an hour of cases must not be lost for it.
        return made, str(error)
    return made, ""
