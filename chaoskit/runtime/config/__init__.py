"""Configuration: layers of plain values become one frozen record, or one error with all problems.

The schema is the record itself: any frozen dataclass, nested as deep as needed. :func:`option` adds what a
type cannot express (bounds, units, secrecy, help). See :func:`load` for the checks, and ``layers`` for the
sources of values.
"""

from __future__ import annotations

from chaoskit.runtime.config.layers import (
    Layer,
    from_environment,
    from_file,
    from_mapping,
    from_pyproject,
)
from chaoskit.runtime.config.live import Drift, Live, SettingChange
from chaoskit.runtime.config.load import Loaded, load
from chaoskit.runtime.config.options import option
from chaoskit.runtime.config.problems import ConfigurationProblems, Problem

__all__ = [
    "SettingChange",
    "ConfigurationProblems",
    "Drift",
    "Layer",
    "Live",
    "Loaded",
    "Problem",
    "from_environment",
    "from_file",
    "from_mapping",
    "from_pyproject",
    "load",
    "option",
]
