"""The entry point of the pytest plugin, loaded in every project that has chaoskit installed.

So it does as little as possible: options, the marker, the fixture, and two hooks that load the rest
(:mod:`chaoskit.plugin.scenarios`, :mod:`chaoskit.plugin.reporting`) when the first scenario turns up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaoskit.core.extras import missing as _missing_extra
from chaoskit.plugin.names import MARKER, RESULT

try:
    import pytest
except ModuleNotFoundError as _error:
    raise _missing_extra(_error, "pytest", "pytest", "chaoskit.plugin") from None

if TYPE_CHECKING:
    from chaoskit.plugin.reporting import Reporting
    from chaoskit.session.chaos import Chaos

_OPTIONS = {
    "report": ("DIR", "write report.json and summary.md into DIR"),
    "budget": ("N", "run at most N cases of each scenario"),
    "depth": ("N", "how many faults strike in one case: 1 or 2"),
    "oracle": (
        "warn|strict|off",
        "what to do if a test accepts states that it should not pass: report them, fail, or do not try "
        "(default: warn)",
    ),
    "backend": ("NAME", "fail, instead of skipping, where this backend does not work: kernel"),
    "seed": ("N", "decides which cases a budget takes (default: 0)"),
    "workers": ("N", "run cases on N processes (default: one for each processor)"),
    "handlers": (
        "on|off",
        "note which except, finally and with run under faults (default: on; off with Python 3.11, where it "
        "makes cases slower)",
    ),
}

_SWITCHES = {
    "exitfirst": "end each scenario with the first case that breaks it",
    "list": "list the fault points, run no case",
    "sync-audit": "say of each fsync whether some power loss would break the test without it",
    "show-secrets": "show what looks secret in messages and reports, too, and the contents of all files",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaoskit", "fault injection at every call (chaoskit)")
    for name, (metavar, text) in _OPTIONS.items():
        group.addoption(f"--chaoskit-{name}", metavar=metavar, help=text)
        # Each is an ini key as well: what a project wants in every run belongs in its configuration.
        parser.addini(f"chaoskit_{name}", f"{text}; see --chaoskit-{name}")
    group.addoption("--chaoskit-replay", metavar="SCHEDULE", help="run this one schedule instead of all")
    group.addoption(
        "--chaoskit-shard",
        metavar="I/N",
        help="run the I-th of N parts of every scenario; 'chaoskit report merge' joins the N reports",
    )
    shards = "make every scenario N items, which pytest-xdist spreads over its workers; auto: one for each"
    group.addoption("--chaoskit-shards", metavar="N|auto", help=shards)
    parser.addini("chaoskit_shards", shards)
    hosts = "run cases on these hosts: gateways of execnet, with commas, such as ssh=build1//chdir=project"
    group.addoption("--chaoskit-hosts", metavar="LIST", help=hosts)
    parser.addini("chaoskit_hosts", hosts)
    first = "run first what broke a scenario the last time: on or off (default: on, off where CI is set)"
    group.addoption("--chaoskit-failed-first", metavar="on|off", help=first)
    parser.addini("chaoskit_failed_first", first)
    for name, text in _SWITCHES.items():
        group.addoption(f"--chaoskit-{name}", action="store_true", help=text)
    parser.addini(
        "chaoskit_required",
        "fail when scenarios were collected and none was examined, as where all are skipped "
        "(default: true if the environment variable CI is set)",
    )
    parser.addini(
        "chaoskit_tmp", "place for the directories of cases (default: in memory, else pytest's basetemp)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*faults, depth=1, budget=None, backend='auto', …): "
        "run the test once for every fault at every call; see chaoskit.scenario.",
    )
    # xdist workers send their results to the controller, which alone writes a report.
    place = None if hasattr(config, "workerinput") else _checked_place(config)
    config.pluginmanager.register(_Door(config, place), "chaoskit-door")
    if config.getoption("chaoskit_shards") or config.getini("chaoskit_shards"):
        from chaoskit.plugin import divided

        if (shards := _checked(divided.number, config)) > 1:
            config.pluginmanager.register(divided.Divided(shards), "chaoskit-divided")


def _checked(ask: Callable[[pytest.Config], int], config: pytest.Config) -> int:
    from chaoskit.core.errors import UsageError

    try:
        return ask(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _checked_place(config: pytest.Config) -> Path | None:
    """The directory for the report, if one was named. Nothing is created yet.

    Raises:
        pytest.UsageError: before any test runs, if the report could not be written there.
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
        self._told: set[str] = set()

    def pytest_report_header(self) -> str | None:
        # Only in xdist's controller, which collects nothing. Other runs print the line after the collection,
        # and only if they have scenarios.
        if not self._config.pluginmanager.has_plugin("dsession"):
            return None
        options = self._config.option
        given = any(getattr(options, f"chaoskit_{name}", None) for name in (*_OPTIONS, "replay", "shard"))
        return self._header() if given else None

    # Last, so that items deselected by other plugins are gone by then.
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        scenarios = sum(item.get_closest_marker(MARKER) is not None for item in items)
        if not scenarios:
            return
        from chaoskit.plugin.items import AsyncTests
        from chaoskit.plugin.scenarios import Scenarios

        manager = self._config.pluginmanager
        if not manager.has_plugin("chaoskit-scenarios"):
            manager.register(Scenarios(self._config, alone=scenarios == 1), "chaoskit-scenarios")
            manager.register(AsyncTests(), "chaoskit-async-tests")

    def pytest_report_collectionfinish(self, items: list[pytest.Item]) -> str | None:
        used = self._config.pluginmanager.has_plugin("chaoskit-scenarios")
        return self._header() if used else None

    def _header(self) -> str:
        from chaoskit.plugin.options import header

        return header(self._config)

    # First, so that every plugin that shows a failure finds the complete text.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        plain: dict[str, Any] | None = report.__dict__.get(RESULT)
        if plain is None or hasattr(self._config, "workerinput"):
            return
        if self._reporting is None:
            from chaoskit.plugin.reporting import Reporting

            # xdist's controller collects no item, so a result is the first that it sees of a scenario.
            self._reporting = Reporting(self._config, self._began, self._place)
            self._config.pluginmanager.register(self._reporting, "chaoskit-reporting")
            if self._config.pluginmanager.has_plugin("dsession"):
                from chaoskit.plugin import interruption

                # No scenario is run here: an interrupt only loses what the workers are doing.
                interruption.arm()
        self._told.add(report.nodeid)
        self._reporting.take(plain, report)

    # Last, so that the xdist workers are gone by then.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.INTERRUPTED and self._config.pluginmanager.has_plugin("dsession"):
            from chaoskit.plugin import left

            for report in left.found(self._config):
                if report.nodeid not in self._told:
                    self._config.hook.pytest_runtest_logreport(report=report)
        if self._reporting is not None:
            self._reporting.finish(session, exitstatus)


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """Runs workloads under faults; see chaoskit.Chaos. Fresh for every case, as is chaos.path."""
    from chaoskit.plugin.fixture import prepared

    with prepared(request.node) as made:
        yield made
