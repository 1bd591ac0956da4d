"""One JSON file for everything that a test run has learnt, and the views made from it.

The plugin and the command line use it like this::

    collector = Collector(rootdir, hide={basetemp: "<tmp>"})
    collector.add(result.to_dict(), outcome="passed")          # once for each scenario, in any order
    report = collector.report(command=sys.argv, interrupted=False)

    for line in summary_lines(report):                          # text and markup for a terminal
        terminal.write_line(line.text, **line.markup)
    write(report, directory)                                    # report.json and summary.md

``read`` and ``merge`` join the files of several shards. The schema is ``schema-4.json`` beside this file.
"""

from __future__ import annotations

from chaoskit.report import schema
from chaoskit.report.collect import Collector
from chaoskit.report.document import SCHEMA_VERSION, Entry, Report, Run, Totals
from chaoskit.report.environment import Environment
from chaoskit.report.files import JSON_NAME, MARKDOWN_NAME, ReportError, read, write
from chaoskit.report.markdown import markdown
from chaoskit.report.merge import merge
from chaoskit.report.terminal import Line, summary_lines

__all__ = [
    "JSON_NAME",
    "MARKDOWN_NAME",
    "SCHEMA_VERSION",
    "Collector",
    "Entry",
    "Environment",
    "Line",
    "Report",
    "ReportError",
    "Run",
    "Totals",
    "markdown",
    "merge",
    "read",
    "schema",
    "summary_lines",
    "write",
]
