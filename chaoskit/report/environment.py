"""The environment of a test run: machine, kernel, Python and packages, and nothing that names a person."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from chaoskit.core.machine import filesystem_of, usable_processors
from chaoskit.core.version import __version__

_NAMED = re.compile(r"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment on which verdicts may depend.

    ``system`` and ``kernel`` as ``uname`` gives them; ``machine`` is the architecture; ``processors``
    those that this process may use; ``memory`` bytes of the machine, 0 if unknown; ``filesystem`` the
    type that holds the scenarios' directories, empty if unknown; ``packages`` maps every installed
    distribution to its version. Host and user names are left out on purpose.
    """

    system: str = ""
    kernel: str = ""
    machine: str = ""
    processors: int = 0
    memory: int = 0
    filesystem: str = ""
    root: bool = False
    python: str = ""
    implementation: str = ""
    chaoskit: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)


def detect(place: Path | None = None) -> Environment:
    """The environment of this process. ``place`` is where the scenarios' directories are."""
    return Environment(
        system=platform.system(),
        kernel=platform.release(),
        machine=platform.machine(),
        processors=usable_processors(),
        memory=_memory(),
        filesystem=filesystem_of(place) if place is not None else "",
        root=hasattr(os, "geteuid") and os.geteuid() == 0,
        python=platform.python_version(),
        implementation=sys.implementation.name,
        chaoskit=__version__,
        packages=installed_packages(),
    )


def _memory() -> int:
    try:
        # Not psutil: chaoskit's dependencies must stay few.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def installed_packages() -> dict[str, str]:
    """Every installed distribution with its version, sorted by name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # Not distribution.metadata: that parses the descriptions of all distributions, which takes most of a
        # second if two hundred are installed. The fields needed here come before the first empty line.
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        head = dict(_NAMED.findall(text.partition("\n\n")[0]))
        # A damaged installation has metadata without a name; skip it.
        if name := head.get("Name"):
            # The first one on the path is the one that imports find.
            found.setdefault(name.lower().replace("_", "-"), head.get("Version", ""))
    return dict(sorted(found.items()))
