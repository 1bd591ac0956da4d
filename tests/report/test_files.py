from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from chaoskit.report import ReportError, files, read, write
from chaoskit.report.files import replace_file

from .samples import clean, report, violated


def test_what_is_written_can_be_read(tmp_path):
    """A report comes back equal, from its directory and from its file."""
    before = report(clean(), violated())
    paths = write(before, tmp_path / "deep" / "down")
    assert [path.name for path in paths] == ["report.json", "summary.md"]
    assert read(paths[0]) == before
    assert read(paths[0].parent) == before
    assert sorted(os.listdir(paths[0].parent)) == ["report.json", "summary.md"]


def test_names_that_are_not_utf8_survive(tmp_path):
    """A file name with a stray byte, or any other text, does not keep the report from being written."""
    odd = replace(clean(), nodeid="t.py::t[caf\udce9 \u2028 \U0001f4a5 \x00]", error="\ud800")
    before = report(odd, violated())
    json_path, markdown_path = write(before, tmp_path)
    assert read(json_path) == before
    assert "caf%E9" in markdown_path.read_text("utf-8")


def test_file_is_ascii(tmp_path):
    """The JSON is ASCII, so that no tool can read it in the wrong encoding."""
    write(report(replace(clean(), error="naïve")), tmp_path)
    assert (tmp_path / "report.json").read_bytes().isascii()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "schema_version None"),
        ("{}", "schema_version None"),
        ('{"schema_version": 0}', "schema_version 0"),
        ('{"schema_version": "1"}', "schema_version '1'"),
        ('{"schema_version": true}', "schema_version True"),
        ('{"schema_version": 99}', "Upgrade chaoskit"),
        ('{"schema_version": 1}', "expected 2, 3 or 4"),
        ('{"schema_version": 3}', "does not follow the schema"),
        ('{"schema_version": 4}', "does not follow the schema"),
        ('{"schema_version": 2}', "does not follow the schema"),
        ('{"schema_version": 2, "runs": 3, "scenarios": []}', "does not follow the schema"),
        ('{"schema_version": 2, "runs": [], "scenarios": [{}]}', "does not follow the schema"),
        ('{"schema_version": 2, "runs": [], "scenarios": [null]}', "does not follow the schema"),
    ],
)
def test_what_is_not_a_report_is_refused(tmp_path, content, said):
    """An error names the file and what is wrong with it."""
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(ReportError) as caught:
        read(file)
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda scenario: scenario.update(run=1), "run 1 of 1"),
        (lambda scenario: scenario.update(run=-1), "run -1 of 1"),
        (lambda scenario: scenario.update(outcome="fine"), "outcome 'fine'"),
        (lambda scenario: scenario["cases"][0].update(verdict="fine"), "verdict 'fine'"),
        (lambda scenario: scenario["cases"][0].update(points=[2]), "point that is not there"),
    ],
)
def test_damage_is_refused_when_reading(tmp_path, damage, said):
    """What would break a view is refused when the file is read, not when it is used."""
    plain = report(clean()).to_dict()
    damage(plain["scenarios"][0])
    (tmp_path / "report.json").write_text(json.dumps(plain))
    with pytest.raises(ReportError, match=said):
        read(tmp_path)


def test_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    """When the disk is full the old file stays as it was, and no draft is left."""
    file = tmp_path / "report.json"
    file.write_text("old")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(file, "new")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


_WRITER = """
import sys
from pathlib import Path
from chaoskit.report.files import replace_file
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    replace_file(path, "a" * 300_000)
    replace_file(path, "b" * 300_000)
"""


def test_reader_never_sees_half_a_file(tmp_path):
    """While a writer replaces the file, and after it was killed in the middle, it is always whole."""
    file = tmp_path / "report.json"
    replace_file(file, "a" * 300_000)
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        whole = {"a" * 300_000, "b" * 300_000}
        assert all(file.read_text() in whole for _ in range(200))
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert file.read_text() in whole


def test_a_planted_link_is_not_followed(tmp_path):
    """Drafts have names that cannot be foreseen, and what is written is for its owner alone."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f".report.json.{os.getpid()}.tmp").symlink_to(victim)
    replace_file(tmp_path / "report.json", "report")
    assert victim.read_text() == "mine"
    assert (tmp_path / "report.json").read_text() == "report"
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o600
