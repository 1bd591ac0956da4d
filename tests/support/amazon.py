"""moto's server for tests: S3 as another process, since that of a test must have no threads."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dying import with_us

HOST = "s3.eu-west-1.amazonaws.com"
BUCKET = "results"
SMALL = 4096
"""Bytes of the smallest part of a large upload, instead of the 5 MiB of S3: so that one is cheap."""
STARTS = 60.0
"""Seconds that a server has until it answers."""


@contextmanager
def served() -> Iterator[int]:
    """The port of a server with an empty bucket, until the block is left. Skips where there is none."""
    pytest.importorskip("boto3")
    pytest.importorskip("moto.server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "S3_UPLOAD_PART_MIN_SIZE": str(SMALL)}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(with_us(words), stdout=quiet, stderr=quiet, env=environment) as server:
        try:
            until = time.monotonic() + STARTS
            while not answers(port):
                if server.poll() is not None or time.monotonic() > until:
                    pytest.skip("moto's server does not start here")
                time.sleep(0.02)
            place = {"LocationConstraint": "eu-west-1"}
            # Its first answer may take long, and asked twice it says that the bucket is there.
            patient = client(f"http://127.0.0.1:{port}", patience=STARTS, attempts=1)
            patient.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
            yield port
        finally:
            server.terminate()


def answers(port: int) -> bool:
    """True if something listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def client(url: str, *, patience: float = 2.0, attempts: int = 2) -> Any:
    """A client that gives up after ``patience`` seconds, and tries twice."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=patience,
        read_timeout=patience,
        retries={"total_max_attempts": attempts},
        s3={"addressing_style": "path"},
    )
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=config,
    )
