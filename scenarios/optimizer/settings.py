"""What can be configured: the numbers are in ``optimizer.toml``, the rest in ``OPTIMIZER_…`` variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.runtime import RuntimeSettings
from chaoskit.runtime.config import Loaded, from_environment, from_file, load, option

DEFAULTS = Path(__file__).with_name("optimizer.toml")


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration."""

    drop: Path
    state: Path
    poll: float = option(default=10.0, above=0, unit="s", help="between two looks at the drop folder")
    save_every: int = option(default=5, minimum=1, help="steps between two snapshots")
    keep: int = option(default=20, minimum=2, help="snapshots of one job")
    attempts: int = option(default=3, minimum=1, help="starts of one job, killed ones too")
    batch: int = option(default=64, minimum=1, help="points at once, if memory allows")
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)


def read(environment: Mapping[str, str] | None = None, file: Path = DEFAULTS) -> Loaded[Settings]:
    """Read the file, then the environment over it; one error names everything that is wrong."""
    return load(Settings, from_file(file), from_environment("OPTIMIZER_", environment))
