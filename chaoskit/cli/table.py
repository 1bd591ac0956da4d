"""Every command: where it is, and what it is for. A module is loaded when its command is run.

To add one, add a line. ``module:attribute`` is a click command; its first line of help must be the one here.
"""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "bundle": (
        "chaoskit.cli.bundle:bundle",
        "Write a script that shows one finding, and the text of an issue about it.",
    ),
    "config": ("chaoskit.cli.config:config", "Check configuration files, and show what is in force."),
    "doctor": (
        "chaoskit.cli.doctor:doctor",
        "Show which backends and faults work on this machine, and why not.",
    ),
    "explore": (
        "chaoskit.cli.explore:explore",
        "Strike a program at every call with every fault, and check what it leaves.",
    ),
    "gate": (
        "chaoskit.cli.gate:gate",
        "Hold a report against the rules of the project: one line for each, exit code 1 if one fails.",
    ),
    "recovery": (
        "chaoskit.cli.recovery:recovery",
        "Look at what a pipeline has recorded, and put it right.",
    ),
    "report": (
        "chaoskit.cli.report:report",
        "Make a page, a summary or a file for another tool from a report, and join reports.",
    ),
    "replay": (
        "chaoskit.cli.explore:replay",
        "Run the one case that SCHEDULE names, with the same options as for explore.",
    ),
}
