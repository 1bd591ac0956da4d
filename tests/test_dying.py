"""A server does not outlive the process that started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dying
import psutil
import pytest

STARTS = """
import subprocess, sys
import dying
waits = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"]
server = subprocess.Popen(dying.with_us(waits), start_new_session=True, stdout=subprocess.PIPE)
server.stdout.readline()
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv of util-linux is not there")
def test_a_server_ends_when_its_process_is_killed() -> None:
    """No fixture runs then, and the server is in another session."""
    environment = {**os.environ, "PYTHONPATH": str(Path(dying.__file__).parent)}
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with starter:
        assert starter.stdout is not None
        server = psutil.Process(int(starter.stdout.readline()))
        starter.send_signal(signal.SIGKILL)
        gone, _ = psutil.wait_procs([server], timeout=30)
    assert gone == [server]
