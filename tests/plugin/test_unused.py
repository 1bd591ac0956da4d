"""A project that has chaoskit installed and does not use it pays nothing noticeable."""

from __future__ import annotations

import subprocess
from pathlib import Path

import inner

LOADED = """
    import sys
    import pytest

    def test_what_is_loaded(request):
        names = [name for name in sys.modules if name.startswith("chaoskit")]
        names_in_core = ("errors", "extras", "machine", "version")
        core = ["chaoskit.core", *(f"chaoskit.core.{name}" for name in names_in_core)]
        assert sorted(names) == ["chaoskit", *core, "chaoskit.plugin", "chaoskit.plugin.names"]
        assert not request.config.pluginmanager.has_plugin("chaoskit-scenarios")
"""


def test_only_the_entry_point_is_loaded(tmp_path: Path) -> None:
    """Without a scenario a few small modules are imported, and no hook runs for a test's setup or call."""
    inner.write(tmp_path, LOADED)
    # A process that has just been started: one that is forked has everything.
    seen = inner.run(tmp_path, stdin=subprocess.DEVNULL)
    assert seen.outcomes == {"test_what_is_loaded": "passed"}, seen.texts
    assert "chaoskit" not in seen.output


SCENARIO = """
    import sys
    from chaoskit import faults, scenario

    @scenario(faults.kill())
    def test_it(chaos):
        chaos.run((chaos.path / "a").write_text, "x")
        assert not [name for name in sys.modules if name.startswith("chaoskit.hosts")]
"""


def test_a_scenario_without_hosts_loads_nothing_of_them(tmp_path: Path) -> None:
    """Neither where the test is called first nor in a worker."""
    inner.write(tmp_path, SCENARIO)
    seen = inner.run(tmp_path, stdin=subprocess.DEVNULL)
    assert seen.outcomes == {"test_it": "passed"}, seen.texts


def test_the_options_are_in_the_help(tmp_path: Path) -> None:
    """All options and ini keys are told by pytest --help, in a group of their own."""
    inner.write(tmp_path, LOADED)
    text = inner.run(tmp_path, "--help").output
    for name in ("report", "replay", "list", "budget", "depth", "oracle", "backend", "seed", "workers"):
        assert f"--chaoskit-{name}" in text
    for name in ("report", "budget", "depth", "oracle", "backend", "seed", "workers", "tmp"):
        assert f"chaoskit_{name}" in text
