"""Run a piece of Python in a process that is really limited, and read the JSON that it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]


def limited(code: str, *before: str, **given: str) -> Any:
    """What ``code`` printed; ``before`` is a command that starts it."""
    done = subprocess.run(
        [*before, sys.executable, "-c", code, *given.values()],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_small_disk(code: str, size: str = "4m") -> Any:
    """The same with a fresh tmpfs of that size under ``/mnt``, which no other process sees."""
    script = f'mount -t tmpfs -o size={size},mode=0700 small /mnt && exec "$0" "$@"'
    try:
        can = subprocess.run(
            [*NAMESPACE, "sh", "-c", script, "true"], capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if can.returncode:
        pytest.skip(f"this machine lets us mount nothing: {can.stderr.strip()}")
    return limited(code, *NAMESPACE, "sh", "-c", script)
