"""The entry point of the pytest plugin, loaded in every project that has chaoskit installed.

So it does as little as possible: options, the marker, the fixture, and two hooks that load the rest
(:mod:`chaoskit.plugin.scenarios`, :mod:`chaoskit.plugin.reporting`) when the first scenario turns up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaoskit.plugin.names import MARKER, RESULT

if TYPE_CHECKING:
    from chaoskit.plugin.reporting import Reporting
    from chaoskit.session.chaos import Chaos

_OPTIONS = {
    "report": ("DIR", "write report.json and summary.md into DIR"),
    "budget": ("N", "run at most N cases of each scenario"),
    "depth": ("N", "how many faults strike in one case: 1 or 2"),
    "backend": ("NAME", "fail, instead of skipping, where this backend does not work: kernel"),
    "seed": ("N", "decides which cases a budget takes (default: 0)"),
    "workers": ("N", "run cases on N processes (default: 1)"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaoskit", "fault injection at every call (chaoskit)")
    for name, (metavar, text) in _OPTIONS.items():
        group.addoption(f"--chaoskit-{name}", metavar=metavar, help=text)
        # Each as an ini key as well: what a project wants of every run belongs in its configuration.
        parser.addini(f"chaoskit_{name}", f"{text}; see --chaoskit-{name}")
    group.addoption("--chaoskit-replay", metavar="SCHEDULE", help="run this one schedule instead of all")
    group.addoption("--chaoskit-list", action="store_true", help="list the fault points, run no case")
    parser.addini("chaoskit_tmp", "directory for the directories of cases (default: pytest's basetemp)")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("chaoskit_list"):
        # A listing runs no case: a scenario that is expected to fail would count as one that passed.
        config.option.runxfail = True
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*faults, depth=1, budget=None, backend='auto', …): "
        "run the test once for every fault at every call; see chaoskit.scenario.",
    )
    # Workers of xdist send their results to the controller, which alone writes a report.
    place = None if hasattr(config, "workerinput") else _checked_place(config)
    config.pluginmanager.register(_Door(config, place), "chaoskit-door")


def _checked_place(config: pytest.Config) -> Path | None:
    """The directory that the report goes to, if one was named. Nothing is made yet.

    Raises:
        pytest.UsageError: before any test has run, if the report could not be written there.
    """
    directory = config.getoption("chaoskit_report") or config.getini("chaoskit_report")
    if not directory:
        return None
    from chaoskit.core.errors import UsageError
    from chaoskit.core.machine import check_place

    place = Path(config.invocation_params.dir, directory)
    try:
        check_place("--chaoskit-report", place)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    return place


class _Door:
    """Loads the rest of the plugin when the first scenario, or the first result of one, turns up."""

    def __init__(self, config: pytest.Config, place: Path | None) -> None:
        self._config = config
        self._place = place
        self._began = time.monotonic()
        self._reporting: Reporting | None = None

    def pytest_report_header(self) -> str | None:
        # Only where nothing is collected in this process: the line belongs to runs that have scenarios.
        if not self._config.pluginmanager.has_plugin("dsession"):
            return None
        options = self._config.option
        given = any(getattr(options, f"chaoskit_{name}", None) for name in (*_OPTIONS, "replay"))
        return self._header() if given else None

    # Last, so that items which other plugins deselect are gone by then.
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if not any(item.get_closest_marker(MARKER) for item in items):
            return
        from chaoskit.plugin.scenarios import Scenarios

        manager = self._config.pluginmanager
        if not manager.has_plugin("chaoskit-scenarios"):
            manager.register(Scenarios(self._config), "chaoskit-scenarios")

    def pytest_report_collectionfinish(self, items: list[pytest.Item]) -> str | None:
        used = self._config.pluginmanager.has_plugin("chaoskit-scenarios")
        return self._header() if used else None

    def _header(self) -> str:
        from chaoskit.plugin.options import header

        return header(self._config)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        plain: dict[str, Any] | None = report.__dict__.get(RESULT)
        if plain is None or hasattr(self._config, "workerinput"):
            return
        if self._reporting is None:
            from chaoskit.plugin.reporting import Reporting

            # In the controller of xdist no item is collected, so a result is the first that it
            # sees of a scenario.
            self._reporting = Reporting(self._config, self._began, self._place)
            self._config.pluginmanager.register(self._reporting, "chaoskit-reporting")
        self._reporting.take(plain, report)


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """Runs workloads under faults; see chaoskit.Chaos. Fresh for every case, as is chaos.path."""
    from chaoskit.plugin.fixture import prepared

    with prepared(request.node) as made:
        yield made
