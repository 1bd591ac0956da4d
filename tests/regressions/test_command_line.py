"""What a stranger does wrong on the command line is answered in words, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [str(Path(sys.executable).with_name("chaoskit"))]


def answer(*words: str) -> str:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode not in (0, 1), done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("explore", "--", "no-such-program"), ("'no-such-program'", "--workspace DIR")),
        (("explore", "--", "sh", "missing.sh"), ("without any fault", "--workspace DIR")),
        (("explore", "--faults", "kill=3", "--", "true"), ("'kill=3'", "without an argument")),
        (("explore", "--time", "real", "--timeout", "0.5", "--", "sleep", "1000"), ("hung", "timeout")),
        (("replay", "open(a)#1=EFOO", "--", "touch", "a"), ("'EFOO'", "not known")),
    ],
)
def test_wrong_use_is_answered(words: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """The message names what was given and what to do, without a traceback, and in time."""
    told = answer(*words)
    assert all(part in told for part in expected), told


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_leaves_no_directory(sent: signal.Signals, tmp_path: Path) -> None:
    """An exploration that is stopped from outside removes its directories and ends its workload."""
    fifo = tmp_path / "begun"
    os.mkfifo(fifo)
    words = [*COMMAND, "explore", "--", "sh", "-c", f"pwd > {fifo}; exec sleep 1000"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        begun = os.open(fifo, os.O_RDWR)
        assert select.select([begun], [], [], 30)[0]
        place = Path(os.read(begun, 4096).decode().strip())
        os.close(begun)
        assert place.is_dir()
        process.send_signal(sent)
        assert process.wait(30) == 128 + sent
    assert not place.exists()


def test_ctrl_c_tells_what_was_found_so_far(tmp_path: Path) -> None:
    """The findings are printed, the report is written and marked as interrupted, nothing is left behind."""
    fifo, count = tmp_path / "begun", tmp_path / "count"
    os.mkfifo(fifo)
    # The two recordings pass, two cases break, the next one hangs until it is interrupted.
    check = (
        f"echo x >> {count}; n=$(wc -l < {count}); test $n -le 2 && exit 0; test $n -le 4 && exit 7; "
        f"pwd > {fifo}; exec sleep 1000"
    )
    words = [*COMMAND, "explore", "--check", check, "--report", str(tmp_path / "r")]
    with subprocess.Popen([*words, "--", "touch", "f"], stdout=subprocess.PIPE, text=True) as process:
        begun = os.open(fifo, os.O_RDWR)
        assert select.select([begun], [], [], 30)[0]
        place = Path(os.read(begun, 4096).decode().strip())
        os.close(begun)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert not place.exists()
    assert "the check ended with status 7" in told
    # On a busy machine a case may have been tried twice, and be the only one by then.
    run = re.search("interrupted: ([12]) of", told)
    assert run
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert report["runs"][0]["interrupted"]
    assert report["totals"]["verdicts"]["violated"] == int(run[1])
    assert "interrupted" in (tmp_path / "r" / "summary.md").read_text()
