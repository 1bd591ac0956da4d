"""What can be configured: the numbers are in ``imaging.toml``, the rest in ``IMAGING_…`` variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.runtime import RuntimeSettings
from chaoskit.runtime.config import Loaded, from_environment, from_file, load, option

DEFAULTS = Path(__file__).with_name("imaging.toml")


@dataclass(frozen=True, slots=True)
class Sizes:
    """What one observation takes at most: the estimate is the user's."""

    staging: int = option(default=64 << 20, minimum=0, unit="bytes")
    product: int = option(default=16 << 20, minimum=0, unit="bytes")
    memory: int = option(default=256 << 20, minimum=0, unit="bytes")
    descriptors: int = option(default=16, minimum=0)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    ``fast`` is a directory of this pipeline alone, on a tmpfs; if that is full, staging is on the disk. Two
    pipelines with another ``state`` each need another ``fast``, too.
    """

    incoming: Path
    state: Path
    fast: Path = field(default=Path("/dev/shm/imaging"))
    attempts: int = option(default=3, minimum=1, help="of one stage, killed ones too")
    poll: float = option(default=60.0, above=0, unit="s")
    sizes: Sizes = field(default_factory=Sizes)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)


def read(environment: Mapping[str, str] | None = None, file: Path = DEFAULTS) -> Loaded[Settings]:
    """Read the file, then the environment over it; one error names everything that is wrong."""
    return load(Settings, from_file(file), from_environment("IMAGING_", environment))
