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
}
