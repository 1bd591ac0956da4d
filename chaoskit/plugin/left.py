"""The report that an interrupted xdist worker leaves: its controller has stopped listening by then.

Both know the place: pytest's directory for the run, in which each worker has a subdirectory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_NAME = "chaoskit-interrupted.json"


def leave(config: pytest.Config, report: pytest.TestReport) -> None:
    """Leave a report for the controller; do nothing if this process is not an xdist worker."""
    if not hasattr(config, "workerinput"):
        return
    plain = config.hook.pytest_report_to_serializable(config=config, report=report)
    place = _factory(config).getbasetemp() / _NAME
    # Renamed when it is complete: the controller waits some seconds for its workers, and then kills them.
    unfinished = place.with_suffix(".part")
    unfinished.write_text(json.dumps(plain), "utf-8")
    os.replace(unfinished, place)


def found(config: pytest.Config) -> Iterator[pytest.TestReport]:
    """The reports that this controller's workers have left."""
    base = getattr(_factory(config), "_basetemp", None)
    if base is None:
        return
    for place in sorted(Path(base).glob(f"popen-*/{_NAME}")):
        plain = json.loads(place.read_text("utf-8"))
        yield config.hook.pytest_report_from_serializable(config=config, data=plain)


def _factory(config: pytest.Config) -> Any:
    # Private to pytest: the public form is a fixture, and an interrupt comes outside fixtures.
    return config._tmp_path_factory  # type: ignore[attr-defined]
