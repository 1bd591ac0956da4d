"""The directories of a machine by their purpose, so that two machines can give files the same names."""

from __future__ import annotations

import sysconfig
from pathlib import Path

_OF_PYTHON = ("stdlib", "platstdlib", "purelib", "platlib")


def here(root: Path) -> dict[str, str]:
    """The directories of this machine, with the project in ``root``."""
    return {"root": f"{root}/", **{name: f"{sysconfig.get_path(name)}/" for name in _OF_PYTHON}}
