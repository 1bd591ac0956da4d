"""Supervised programs: started again when they fail, asked to end, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chaoskit.runtime import Restart, SupervisedProgram, SupervisionOptions, Supervisor, UsageError, Worker

PROMPT = SupervisionOptions(restarts=2, delay=0.0, join_timeout=30.0)

# Opens the pipe for writing, which the test waits for; then stays until a signal comes.
STAYS = "import os, signal, sys; {}; f = open(sys.argv[1], 'w'); f.write(str(os.getpid())); f.close(); {}"
LISTENS = STAYS.format("pass", "signal.pause()")
DEAF = STAYS.format("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "[signal.pause() for _ in iter(int, 1)]")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its programs are told to end by SIGTERM")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe: to read it is to wait for the program, which writes its number."""
    path = tmp_path / "pid"
    os.mkfifo(path)
    return path


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_program_that_fails_is_started_again() -> None:
    """Each start that fails is an error of the thread, with the command and its exit code."""
    given_up: list[Worker] = []
    over = threading.Event()

    def give_up(worker: Worker) -> None:
        given_up.append(worker)
        over.set()

    with Supervisor(PROMPT, on_give_up=give_up) as supervisor:
        worker = supervisor.spawn("failing", SupervisedProgram([sys.executable, "-c", "raise SystemExit(3)"]))
        assert over.wait(30)
    assert worker.restarts == 2
    assert isinstance(worker.error, subprocess.CalledProcessError)
    assert worker.error.returncode == 3


def test_a_program_that_ends_well_is_over() -> None:
    """Exit code 0 is a return: there is no second start, and no error."""
    with Supervisor(PROMPT) as supervisor:
        worker = supervisor.spawn("brief", SupervisedProgram([sys.executable, "-c", ""]))
        thread = worker.thread
        assert thread is not None
        thread.join(30)
    assert (worker.restarts, worker.error) == (0, None)


def test_a_program_is_asked_to_end_with_the_supervisor(pipe: Path) -> None:
    """It gets SIGTERM when the block is left, is gone afterwards, and has not failed."""
    with Supervisor(PROMPT) as supervisor:
        worker = supervisor.spawn("server", SupervisedProgram([sys.executable, "-c", LISTENS, str(pipe)]))
        pid = int(pipe.read_text())
        assert not gone(pid)
    assert gone(pid)
    assert worker.error is None


def test_a_program_that_does_not_listen_is_killed_after_its_grace(pipe: Path) -> None:
    """SIGTERM, then SIGKILL: the supervisor's block ends with no process left."""
    with Supervisor(PROMPT) as supervisor:
        supervisor.spawn("deaf", SupervisedProgram([sys.executable, "-c", DEAF, str(pipe)], grace=0.0))
        pid = int(pipe.read_text())
    assert gone(pid)


def test_a_program_that_a_signal_ends_has_failed(pipe: Path) -> None:
    """A kill from outside, as of the out-of-memory killer, is an error and leads to a restart."""
    options = SupervisionOptions(restarts=2, delay=0.0, join_timeout=30.0)
    with Supervisor(options) as supervisor:
        worker = supervisor.spawn("server", SupervisedProgram([sys.executable, "-c", LISTENS, str(pipe)]))
        first = int(pipe.read_text())
        os.kill(first, signal.SIGKILL)
        second = int(pipe.read_text())
        assert second != first
        assert worker.restarts == 1


def test_a_program_that_is_not_there_is_an_error_of_its_worker() -> None:
    """What cannot be started is told like any other death."""
    over = threading.Event()
    options = SupervisionOptions(restart=Restart.ON_ERROR, restarts=0)
    with Supervisor(options, on_give_up=lambda worker: over.set()) as supervisor:
        worker = supervisor.spawn("none", SupervisedProgram(["/nonexistent/program"]))
        assert over.wait(30)
    assert isinstance(worker.error, FileNotFoundError)


def test_directory_and_environment_are_the_programs(tmp_path: Path) -> None:
    """The program runs where, and with what, it was told to."""
    code = "import os, pathlib; pathlib.Path('said').write_text(os.environ['WORD'])"
    program = SupervisedProgram(
        [sys.executable, "-c", code], directory=tmp_path, environment={**os.environ, "WORD": "x"}
    )
    with Supervisor(PROMPT) as supervisor:
        worker = supervisor.spawn("writer", program)
        thread = worker.thread
        assert thread is not None
        thread.join(30)
    assert worker.error is None
    assert (tmp_path / "said").read_text() == "x"


@pytest.mark.parametrize("command", [[], "sleep 1"])
def test_what_is_no_command_is_refused(command: list[str]) -> None:
    """An empty list, and a string that would be read as a list of letters."""
    with pytest.raises(UsageError, match="the program and its arguments"):
        SupervisedProgram(command)


def test_a_grace_below_zero_is_refused() -> None:
    """There is no time before the request to end."""
    with pytest.raises(UsageError, match="grace"):
        SupervisedProgram(["true"], grace=-1.0)


def test_it_prints_briefly() -> None:
    """Its arguments may hold secrets, and are counted only."""
    assert (
        repr(SupervisedProgram(["encode", "--key", "s3cret"]))
        == "<SupervisedProgram encode with 2 arguments>"
    )
