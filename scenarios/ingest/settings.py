"""What can be configured: the numbers are in ``ingest.toml``, the rest in ``INGEST_…`` variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.runtime import RuntimeSettings
from chaoskit.runtime.config import Loaded, from_environment, from_file, load, option

DEFAULTS = Path(__file__).with_name("ingest.toml")


@dataclass(frozen=True, slots=True)
class Account:
    """How to talk to the object store. What is not said here is found where boto3 looks for it."""

    endpoint: str | None = None
    region: str | None = None
    key: str | None = None
    secret: str | None = option(default=None, secret=True)
    connect_timeout: float = option(default=5.0, above=0, unit="s")
    read_timeout: float = option(default=30.0, above=0, unit="s")


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration."""

    inbox: Path
    state: Path
    target: str = option(help="s3://BUCKET/PREFIX, or a directory")
    store: str | None = option(
        default=None, help="a file or a postgresql:// URI; default: ingest.db in state"
    )
    attempts: int = option(default=3, minimum=1, help="of one file, killed ones too")
    poll: float = option(default=60.0, above=0, unit="s", help="between two looks at the inbox")
    account: Account = field(default_factory=Account)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)


def read(environment: Mapping[str, str] | None = None, file: Path = DEFAULTS) -> Loaded[Settings]:
    """Read the file, then the environment over it; one error names everything that is wrong."""
    return load(Settings, from_file(file), from_environment("INGEST_", environment))
