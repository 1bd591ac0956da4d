"""The command: cheap to start, clear when it fails, stable in what it returns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import import_module
from typing import Any

import click
import pytest

from chaoskit import __version__
from chaoskit.cli import group
from chaoskit.cli.group import chaoskit, run
from chaoskit.cli.table import COMMANDS
from chaoskit.core.errors import BackendUnavailable, UsageError
from chaoskit.runtime.failures.taxonomy import DiskFull


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The overview has each command with its one line, and the exit codes."""
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name, (_, line) in COMMANDS.items():
        assert name in out
        assert line.split()[0] in out
    assert "130 interrupted" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version says the package's version."""
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_the_package_runs_as_the_command() -> None:
    """python -m chaoskit does what chaoskit does, exit code included: scripts are not always on the path."""
    command = [sys.executable, "-m", "chaoskit"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"chaoskit, version {__version__}\n"
    assert subprocess.run([*command, "confgi"], capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_table_is_true(name: str) -> None:
    """Each line of the table leads to a click command whose help begins with the same sentence."""
    place, line = COMMANDS[name]
    module, _, attribute = place.partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.help is not None
    assert " ".join(command.help.split("\n\n")[0].split()) == line


def test_an_unknown_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt command exits with 2 and proposes the right one."""
    assert run(["confgi"]) == 2
    assert "Did you mean 'config'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x is 1; expected 2."), 2),
        (BackendUnavailable("no kernel"), 3),
        (DiskFull("no room"), 4),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_errors_are_one_line_and_a_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of chaoskit is one line on standard error and a documented exit code, not a traceback."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(chaoskit, "main", fail)
    assert run([]) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    if isinstance(error, DiskFull):
        assert err == "chaoskit: no room Free space on the device or write elsewhere.\n"


_LOUD = """
import click, sys
from chaoskit.cli import group

@group.chaoskit.command("loud")
def loud():
    for _ in range(10_000):
        click.echo(click.style("a line", fg="red"))
    return 1

group.COMMANDS["loud"] = ("__main__:loud", "x")
group.main(["loud"])
"""


def test_a_reader_that_goes_away_is_no_answer() -> None:
    """After `| head -1` the exit code is a closed pipe's, not 1 for no, and nothing is said about it."""
    process = subprocess.Popen([sys.executable, "-c", _LOUD], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"a line\n"
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=30), err) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    """A full disk behind standard output is another error, not an answer and not a traceback."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", _LOUD], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 4
    assert done.stderr.startswith("chaoskit: [Errno 28]")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(variables: dict[str, str], coloured: bool) -> None:
    """On a terminal there are colours, unless NO_COLOR says that there should be none."""
    import pty

    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    code = _LOUD.replace("10_000", "1")
    subprocess.run([sys.executable, "-c", code], stdout=theirs, env={**plain, **variables}, check=False)
    os.close(theirs)
    shown = os.read(ours, 1000)
    os.close(ours)
    assert b"a line" in shown
    assert (b"\x1b[31m" in shown) is coloured


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is not chaoskit's own keeps its traceback: it is a bug to be reported."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(chaoskit, "main", fail)
    with pytest.raises(ZeroDivisionError):
        run([])


def test_start_up_loads_no_command() -> None:
    """--help imports neither rich, nor the harness, nor the runtime's strategies, nor asyncio."""
    code = (
        "import sys\n"
        "from chaoskit.cli import group\n"
        "group.run(['--help'])\n"
        "heavy = {'rich', 'asyncio', 'pytest', 'hypothesis', 'yaml'}\n"
        "heavy |= {'chaoskit.cli.config', 'chaoskit.runtime'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_a_real_ctrl_c_exits_with_130() -> None:
    """A command that is interrupted says so in one line and exits with 130."""
    code = (
        "import click, sys, time\n"
        "from chaoskit.cli import group\n"
        "@group.chaoskit.command('wait')\n"
        "def wait():\n"
        "    print('ready', flush=True)\n"
        # One long sleep would not do: a signal that comes after the last look at signals and before the
        # system call of the sleep is handled when the sleep is over.
        "    while True: time.sleep(0.01)\n"
        "group.COMMANDS['wait'] = ('__main__:wait', 'x')\n"
        "group.main(['wait'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) == (130, "chaoskit: interrupted")


def test_the_exit_codes_are_the_documented_ones() -> None:
    """The numbers that scripts rely on."""
    codes = (group.NO, group.WRONG_USE, group.CANNOT, group.FAILED, group.INTERRUPTED)
    assert codes == (1, 2, 3, 4, 130)
