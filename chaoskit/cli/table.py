"""Every command: where it is, and what it is for. A module is loaded when its command is run.

To add one, add a line. ``module:attribute`` is a click command; its first line of help must be the one here.
"""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "config": ("chaoskit.cli.config:config", "Check configuration files, and show what is in force."),
    "doctor": (
        "chaoskit.cli.doctor:doctor",
        "Show which backends and faults work on this machine, and why not.",
    ),
    "explore": (
        "chaoskit.cli.explore:explore",
        "Strike a program at every call with every fault, and check what it leaves.",
    ),
    "recovery": (
        "chaoskit.cli.recovery:recovery",
        "Look at what a pipeline has recorded, and put it right.",
    ),
    "replay": (
        "chaoskit.cli.explore:replay",
        "Run the one case that SCHEDULE names, with the same options as for explore.",
    ),
}
