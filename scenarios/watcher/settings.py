"""What can be configured: the numbers are in ``watcher.toml``, the rest in ``WATCHER_…`` variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.runtime import ArchiveLimits, ResourceThreshold, RuntimeSettings
from chaoskit.runtime.config import Live, Loaded, from_environment, from_file, load, option

DEFAULTS = Path(__file__).with_name("watcher.toml")


@dataclass(frozen=True, slots=True)
class Service:
    """One of the two servers."""

    url: str
    user: str = "watcher"
    password: str = option(default="", secret=True)
    version: str = option(default="2", help="the version of the interface that this program speaks")
    timeout: float = option(default=30.0, above=0, unit="s")


@dataclass(frozen=True, slots=True)
class Archives:
    """What a result may be at most."""

    members: int = option(default=1000, minimum=1)
    total: int = option(default=200 << 20, minimum=1, unit="bytes")

    def limits(self) -> ArchiveLimits:
        return ArchiveLimits(members=self.members, total=self.total)


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond these nothing new is begun."""

    every: float = option(default=30.0, above=0, unit="s")
    memory: int = option(default=4 << 30, minimum=1, unit="bytes", help="of this process")
    threads: int = option(default=64, minimum=8)
    descriptors: int = option(default=32, minimum=1, help="to be left")
    processes: int = option(default=16, minimum=1, help="and threads of this user, to be left")
    disk: int = option(default=1 << 30, minimum=1, unit="bytes", help="to be left for results")

    def thresholds(self, state: Path) -> list[ResourceThreshold]:
        return [
            ResourceThreshold("rss", self.memory),
            ResourceThreshold("threads", self.threads),
            ResourceThreshold("descriptors", self.descriptors),
            ResourceThreshold("processes", self.processes),
            ResourceThreshold("disk", self.disk, path=str(state)),
        ]


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration."""

    share: Path
    state: Path
    pipeline: Service
    database: Service
    poll: float = option(default=60.0, above=0, unit="s", help="between two looks at the share")
    ask: float = option(default=10.0, above=0, unit="s", help="between two questions for the remote runs")
    again: float = option(default=300.0, minimum=0, unit="s", help="before a sample's second attempt")
    attempts: int = option(default=3, minimum=1, help="of one sample, before it is given up")
    archives: Archives = field(default_factory=Archives)
    limits: Limits = field(default_factory=Limits)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)


def read(environment: Mapping[str, str] | None = None, file: Path = DEFAULTS) -> Loaded[Settings]:
    """Read the file, then the environment over it; one error names everything that is wrong."""
    return load(Settings, from_file(file), from_environment("WATCHER_", environment))


def live(environment: Mapping[str, str] | None = None, file: Path = DEFAULTS) -> Live[Settings]:
    """The same, to be read again while the watcher runs."""
    return Live(lambda: read(environment, file))
