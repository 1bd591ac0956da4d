"""What a step around the program has started is gone when the step is over, whichever session it is in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaoskit.inject.kernel import KernelBackend

pytestmark = pytest.mark.skipif(
    KernelBackend().unavailable() is not None, reason="the kernel backend does not work here"
)
COMMAND = [str(Path(sys.executable).with_name("chaoskit")), "explore", "--faults", "kill", "--timeout", "20"]
PROGRAM = ["--", "sh", "-c", "echo hi > f"]


@pytest.mark.parametrize("step", ["--setup", "--recover", "--check"])
def test_a_step_leaves_no_process(step: str, tmp_path: Path) -> None:
    """Not even one with a session of its own; and one that holds the output open makes nobody wait."""
    note = tmp_path / "pids"
    daemon = f"setsid sh -c 'echo $$ >> {note}; exec sleep 300' &"
    wait = f"while ! test -s {note}; do sleep 0.01; done"
    began = time.monotonic()
    done = subprocess.run([*COMMAND, step, f"{daemon} {wait}", *PROGRAM], capture_output=True, check=False)
    left = [int(pid) for pid in note.read_text().split() if os.path.exists(f"/proc/{pid}")]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
    assert done.returncode == 0, done.stdout
    assert time.monotonic() - began < 20


def test_a_step_that_takes_too_long_leaves_no_process(tmp_path: Path) -> None:
    """The same when the step is killed, however much it prints meanwhile."""
    note = tmp_path / "pids"
    check = f"test -s f && exit 0; setsid sh -c 'echo $$ >> {note}; exec sleep 300' & yes"
    words = [*COMMAND[:-1], "1", "--check", check, *PROGRAM]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert [pid for pid in note.read_text().split() if os.path.exists(f"/proc/{pid}")] == []
    assert done.returncode == 1
    assert "timed out" in done.stdout


def test_what_a_check_printed_last_is_told() -> None:
    """Much output costs no memory and no time; its end is what is shown."""
    check = "test -s f && exit 0; seq 100000; echo the end; exit 3"
    done = subprocess.run([*COMMAND, "--check", check, *PROGRAM], capture_output=True, text=True, check=False)
    assert "the check ended with status 3: the end" in done.stdout
