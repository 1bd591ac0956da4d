"""Configuration: layers of plain values become one frozen record, or one error that names every problem.

The schema is the record itself: any frozen dataclass, nested at will. :func:`option` adds what a type
cannot say (bounds, units, secrecy, help). See :func:`load` for what is checked, and ``layers`` for
where values come from.
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
