"""A run that is stopped in the middle tells what it has seen, however it is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import inner
import pytest

import chaoskit.plugin.progress as module
from chaoskit.plugin.progress import Progress

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

ENDLESS = """
    import pathlib, signal, threading
    from chaoskit import faults, scenario
    from saving import overwrite, load

    HOME = pathlib.Path(__file__).parent

    @scenario(faults.kill())
    def test_breaks_and_then_waits(chaos):
        overwrite(chaos.path, 0)
        out = chaos.run(overwrite, chaos.path, 1)
        if out.signal:
            if (HOME / "broken").exists():
                (HOME / "reached").touch()
                threading.Event().wait()
            (HOME / "broken").touch()
            assert False, "it broke"

    @scenario(faults.kill())
    def test_holds_and_then_waits(chaos):
        out = chaos.run(overwrite, chaos.path, 1)
        if out.signal:
            if (HOME / "held").exists():
                (HOME / "reached").touch()
                threading.Event().wait()
            (HOME / "held").touch()

    @scenario(faults.kill())
    def test_sees_its_signals_as_without_us(chaos):
        def look(path):
            (path / "seen").write_text(str(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL))
        chaos.run(look, chaos.path)
        if (chaos.path / "seen").exists():
            assert (chaos.path / "seen").read_text() in ("", "True")
"""


def stopped(directory: Path, name: str, number: int, *options: str) -> inner.Inner:
    """A run of one endless scenario that is sent a signal once its second case has begun."""
    inner.write(directory, ENDLESS)
    process = subprocess.Popen(
        inner.command("-k", name, "--chaoskit-workers=1", *options),
        cwd=directory,
        env=inner.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        while not (directory / "reached").exists() and process.poll() is None:
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return inner.result(directory, process.returncode, output)


@pytest.mark.parametrize(
    ("number", "status", "options"),
    [
        (signal.SIGINT, 2, ()),
        (signal.SIGTERM, 143, ()),
        (signal.SIGHUP, 129, ()),
        # Its controller no longer listens to its workers then.
        (signal.SIGINT, 2, ("-p", "xdist", "-n", "1")),
    ],
    ids=["ctrl-c", "terminate", "hang-up", "ctrl-c with xdist"],
)
def test_c6_findings_so_far_are_kept(
    tmp_path: Path, number: int, status: int, options: tuple[str, ...]
) -> None:
    """The finding of a case that was over is printed and in the report, which is marked as interrupted."""
    found = stopped(tmp_path, "test_breaks_and_then_waits", number, *options)
    assert found.status == status
    assert "possible cases were over. What they have shown:" in found.output
    assert "violated: " in found.output
    assert "it broke" in found.output
    assert "--chaoskit-replay" in found.output
    assert found.report["runs"][0]["interrupted"]
    scenario = found.scenario("test_breaks_and_then_waits")
    assert (scenario["outcome"], scenario["state"]) == ("failed", "failed")
    assert len(scenario["findings"]) == 1
    assert scenario["budget"]["left_out"]["interrupted"] >= 1


def test_what_held_so_far_is_no_pass(tmp_path: Path) -> None:
    """A scenario without a finding by then counts as skipped, with how far it had come."""
    found = stopped(tmp_path, "test_holds_and_then_waits", signal.SIGTERM)
    scenario = found.scenario("test_holds_and_then_waits")
    assert scenario["outcome"] == "skipped"
    assert scenario["reason"].startswith("interrupted: 1 of ")
    assert found.report["runs"][0]["interrupted"]


def test_a_workload_sees_no_handler_of_ours(tmp_path: Path) -> None:
    """SIGTERM has its default in a workload, though the test process has a handler for it."""
    inner.write(tmp_path, ENDLESS)
    found = inner.run(tmp_path, "-k", "test_sees_its_signals")
    assert found.outcomes["test_sees_its_signals_as_without_us"] == "passed", found.output


class _Reporter:
    """What the progress writes on; no terminal."""

    isatty = False

    def __init__(self) -> None:
        self.lines: list[str] = []

    def ensure_newline(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def write_line(self, text: str) -> None:
        self.lines.append(text)


class _Config:
    def __init__(self, reporter: _Reporter) -> None:
        self.pluginmanager = self
        self._plugins: dict[str, Any] = {"terminalreporter": reporter}

    def get_plugin(self, name: str) -> Any:
        return self._plugins.get(name)


def test_b6_without_a_terminal_there_is_a_line_every_thirty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log shows that the job is not stuck: how many cases, in what time, of which scenario."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    reporter = _Reporter()
    progress = Progress(_Config(reporter), "t.py::test_it")  # type: ignore[arg-type]
    for done in range(1, 100):
        now[0] += 1.0
        progress(done, 4000)
    progress.close()
    assert reporter.lines == [
        f"chaoskit: {done} of 4,000 cases in {done} s: t.py::test_it" for done in (30, 60, 90)
    ]


def test_the_command_line_tells_its_progress_and_what_it_found(tmp_path: Path) -> None:
    """Without a terminal a line comes on standard error now and then; SIGTERM keeps the findings."""
    program = "import os; open('a', 'w').close(); os.rename('a', 'b'); os.rename('b', 'c')"
    check = f"test -e c || {{ test -e '{tmp_path}/broken' && touch '{tmp_path}/reached' && sleep 600; "
    check += f"touch '{tmp_path}/broken'; exit 1; }}"
    code = (
        "import sys, chaoskit.cli.exploring as module; module._LINE_EVERY = 0.0\n"
        "from chaoskit.cli import main; main(sys.argv[1:])"
    )
    words = ["explore", "--faults", "kill", "--check", check, "--report", "out", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--", sys.executable, "-c", program],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (tmp_path / "reached").exists() and process.poll() is None:
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, errors
    assert "chaoskit: 1 of " in errors
    assert "violated: " in output
    assert "interrupted: " in output
    assert (tmp_path / "out" / "report.json").exists()
