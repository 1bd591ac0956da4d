"""The report as one page: HTML that needs no other file and no script, for a screen or for paper."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.core.extras import missing
from chaoskit.report.document import Report
from chaoskit.report.gate import Judged
from chaoskit.report.marks import Mark

__all__ = ["page"]


def page(
    report: Report,
    *,
    judged: Sequence[Judged] | None = None,
    before: Mark | None = None,
    history: Sequence[Mark] = (),
) -> str:
    """The whole page.

    ``judged`` are the rules of the gate, by default applied as of the end of the last run, so that equal
    reports give equal pages. ``before`` is the report to compare with; ``history`` provides the trends.

    Raises:
        ModuleNotFoundError: if Jinja2 or Pygments is not installed; it names the extra that installs them.
    """
    # Imported here, since reports are also written where these are not installed: then without a page.
    try:
        import pygments  # noqa: F401

        from chaoskit.report.html.rendering import rendered
    except ModuleNotFoundError as error:
        library = error.name if error.name in ("jinja2", "markupsafe", "pygments") else "jinja2"
        raise missing(error, library, "report", "The page of a report") from error
    return rendered(report, judged, before, history)
