"""The pytest plugin's entry point: loaded in every project that has chaoskit installed, so it does nothing.

Options, the marker, the fixture, and two hooks that load the rest (:mod:`chaoskit.plugin.scenarios`,
:mod:`chaoskit.plugin.reporting`) when the first scenario turns up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from chaoskit.plugin.reporting import Reporting
    from chaoskit.session.chaos import Chaos

MARKER = "chaoskit"
RESULT = "chaoskit_result"
"""The attribute of a test report that carries the scenario's result, as plain data."""

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
        parser.addini(f"chaoskit_{name}", f"{text}; see --chaoskit-{name}")
    group.addoption("--chaoskit-replay", metavar="SCHEDULE", help="run this one schedule instead of all")
    group.addoption("--chaoskit-list", action="store_true", help="list the fault points, run no case")
    parser.addini("chaoskit_tmp", "directory for the cases' own directories (default: pytest's basetemp)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*faults, depth=1, budget=None, backend='auto', …): "
        "run the test once for every fault at every call; see chaoskit.scenario.",
    )
    config.pluginmanager.register(_Door(config), "chaoskit-door")
    if not hasattr(config, "workerinput"):
        _check_report_place(config)


def report_place(config: pytest.Config) -> Path | None:
    """The directory that the report goes to, if one was named."""
    directory = config.getoption("chaoskit_report") or config.getini("chaoskit_report")
    return Path(config.invocation_params.dir, directory) if directory else None


def _check_report_place(config: pytest.Config) -> None:
    """See before the tests run that their report can be written. Nothing is made yet.

    Raises:
        pytest.UsageError: naming the part of the path that stands in the way.
    """
    place = report_place(config)
    if place is None:
        return
    nearest = next(path for path in (place, *place.parents) if os.path.lexists(path))
    expected = "a directory that is there or can be made"
    if not nearest.is_dir():
        hint = f"{nearest} is no directory; name another place."
    elif not os.access(nearest, os.W_OK | os.X_OK):
        hint = f"{nearest} may not be written; name another place, or change its permissions."
    else:
        return
    from chaoskit.core.errors import wrong

    raise pytest.UsageError(str(wrong("--chaoskit-report", str(place), expected, hint)))


class _Door:
    """Lets the rest in when it is needed."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = time.monotonic()
        self._reporting: Reporting | None = None

    def pytest_report_header(self) -> str | None:
        # Only where nothing is collected in this process: the line belongs to runs that have scenarios.
        if not self._config.pluginmanager.has_plugin("dsession"):
            return None
        options = self._config.option
        given = any(getattr(options, f"chaoskit_{name}", None) for name in (*_OPTIONS, "replay"))
        return self._header() if given else None

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

            self._reporting = Reporting(self._config, self._began)
            self._config.pluginmanager.register(self._reporting, "chaoskit-reporting")
        self._reporting.take(plain, report)


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """Runs workloads under faults; see chaoskit.Chaos. Fresh for every case, as is chaos.path."""
    from chaoskit.plugin.fixture import prepared

    with prepared(request.node) as made:
        yield made
