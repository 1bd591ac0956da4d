"""Where the tables go: below a prefix of a bucket, or below a directory. Each table is a place to itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.config import Config

from chaoskit.runtime import S3Target, Transaction, make_directories
from scenarios.ingest.settings import Account, Settings

Place = S3Target | Path
"""What ``recover_transactions`` and ``TransactionReader`` are given."""


class Target(Protocol):
    """Tables by name, ``MODEL/FILE``. A transaction replaces one of them, all of its parts or none."""

    def place(self, table: str) -> Place:
        """Where its transactions are."""

    def transaction(self, table: str, id: str) -> Transaction:
        """A new one."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of a bucket. ``client`` repeats nothing by itself: the policy of the program does."""

    client: Any
    name: str
    prefix: str

    def place(self, table: str) -> S3Target:
        return S3Target(self.client, self.name, f"{self.prefix}/{table}")

    def transaction(self, table: str, id: str) -> Transaction:
        return Transaction.s3(self.client, self.name, f"{self.prefix}/{table}", id=id)


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of this machine, or of a share."""

    root: Path

    def place(self, table: str) -> Path:
        return self.root / table

    def transaction(self, table: str, id: str) -> Transaction:
        make_directories((self.root / table).parent)
        return Transaction.local(self.root / table, id=id)


def target(settings: Settings) -> Target:
    """The target that the settings name."""
    if not settings.target.startswith("s3://"):
        return Directory(Path(settings.target))
    name, _, prefix = settings.target.removeprefix("s3://").partition("/")
    return Bucket(client(settings.account), name, prefix.strip("/"))


def client(account: Account) -> Any:
    """A client of S3, or of a store that speaks its language."""
    config = Config(
        connect_timeout=account.connect_timeout,
        read_timeout=account.read_timeout,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
    )
    return boto3.client(
        "s3",
        endpoint_url=account.endpoint,
        region_name=account.region,
        aws_access_key_id=account.key,
        aws_secret_access_key=account.secret,
        config=config,
    )
