"""Names that several modules of the plugin share. Loaded in every project, so it holds nothing else."""

from __future__ import annotations

PLUGIN = __name__.rpartition(".")[0]
"""The module in which pytest finds the plugin's fixtures."""

MARKER = "chaoskit"
NOT_HERE = "chaoskit: not the schedule of this scenario"
"""The reason for skipping a scenario when another one is replayed."""
RESULT = "chaoskit_result"
"""The attribute of a test report that carries the scenario's result, as plain data."""
