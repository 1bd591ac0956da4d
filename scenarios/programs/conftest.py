"""A known finding must fail by the schedule that it names, not only somehow."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from known_findings import schedule_of


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    marker = item.get_closest_marker("xfail")
    if marker is not None and call.excinfo is not None and hasattr(report, "wasxfail"):
        schedule = schedule_of(marker.kwargs["reason"])
        if schedule not in str(call.excinfo.value):
            del report.wasxfail
            report.outcome = "failed"
            report.longrepr = f"the finding {schedule} has gone; what is found now:\n{call.excinfo.value}"
    return report
