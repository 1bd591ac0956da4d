"""What broke a scenario is run first the next time, and one finding can be sent as a script and an issue."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import inner
import pytest

from chaoskit.cli.group import run as chaoskit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

SOURCE = """
    from chaoskit import faults, scenario
    import saving

    @scenario(faults.disk().only("EIO") | faults.kill())
    def test_wrong(chaos):
        saving.save(chaos.path, {"n": 1})
        chaos.run(saving.overwrite, chaos.path, {"n": 2})
        assert saving.load(chaos.path) in ({"n": 1}, {"n": 2})
"""
ON = "--chaoskit-failed-first=on"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, inner.Inner]:
    """A run of all cases, and the directory that has its report."""
    project = tmp_path_factory.mktemp("whole") / "project"
    project.mkdir()
    inner.write(project, SOURCE)
    return project, inner.run(project)


def kept(place: Path) -> list[dict[str, object]]:
    return [json.loads(file.read_text()) for file in sorted(place.glob(".chaoskit/broke/*.json"))]


def test_what_broke_is_run_first_and_within_any_budget(tmp_path: Path) -> None:
    """A budget of one case takes the one that broke the last time; with the bug mended it is forgotten."""
    inner.write(tmp_path, SOURCE)
    whole = inner.run(tmp_path, ON)
    (finding,) = whole.scenario("test_wrong")["findings"]
    (told,) = kept(tmp_path)
    assert told["scenario"] == "test_inner.py::test_wrong"
    assert told["schedules"][0] == finding["schedule"]  # type: ignore[index]
    assert (tmp_path / ".chaoskit" / ".gitignore").read_text().endswith("\n*\n")

    again = inner.run(tmp_path, ON, "--chaoskit-budget=1")
    assert list(again.verdicts("test_wrong").values()) == ["violated"]
    assert list(again.verdicts("test_wrong")) == [finding["schedule"]]

    saving = tmp_path / "saving.py"
    saving.write_text(
        saving.read_text().replace("def overwrite", "def overwritten").replace("def save", "def overwrite")
    )
    saving.write_text(saving.read_text() + "\nsave = overwrite\n")
    mended = inner.run(tmp_path, ON)
    assert mended.outcomes == {"test_wrong": "passed"}
    assert kept(tmp_path) == []


TAMPERED = ["[]", "{", '{"scenario": 1, "schedules": [1]}', "", "[" * 100_000, "<<<<<<< HEAD"]


@pytest.fixture(scope="module")
def tampered(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """A run after one whose store was tampered with: for each scenario in another way."""
    place = tmp_path_factory.mktemp("tampered")
    each = f'    @pytest.mark.parametrize("_", range({len(TAMPERED)}))\n    @scenario'
    source = SOURCE.replace("    @scenario", each).replace("(chaos):", "(chaos, _):")
    inner.write(place, "    import pytest" + source)
    inner.run(place, ON, "--chaoskit-budget=1")
    files = {json.loads(file.read_text())["scenario"]: file for file in place.glob(".chaoskit/broke/*.json")}
    for number, left in enumerate(TAMPERED):
        files[f"test_inner.py::test_wrong[{number}]"].write_text(left)
    return inner.run(place, ON, "--chaoskit-budget=1")


@pytest.mark.parametrize("number", range(len(TAMPERED)))
def test_a_store_that_was_tampered_with_does_no_harm(tampered: inner.Inner, number: int) -> None:
    """What is not as it was written counts as nothing."""
    assert tampered.scenario(f"test_wrong[{number}]")["budget"]["run"] == 1


def test_off_keeps_nothing_and_other_words_are_refused(tmp_path: Path) -> None:
    """The option takes on and off."""
    inner.write(tmp_path, SOURCE)
    inner.run(tmp_path, "--chaoskit-budget=1")
    assert not (tmp_path / ".chaoskit").exists()
    seen = inner.run(tmp_path, "--chaoskit-failed-first=never")
    assert "--chaoskit-failed-first is 'never' (str); expected on or off" in seen.texts["test_wrong"]


def test_one_finding_is_enough_where_that_is_asked(tmp_path: Path, whole: tuple[Path, inner.Inner]) -> None:
    """--chaoskit-exitfirst keeps no case behind the first that breaks; the summary counts those."""
    inner.write(tmp_path, SOURCE)
    ran = inner.run(tmp_path, "--chaoskit-exitfirst", "--chaoskit-workers=2")
    verdicts = list(ran.verdicts("test_wrong").values())
    assert verdicts.count("violated") == 1
    spared = len(whole[1].verdicts("test_wrong")) - len(verdicts)
    assert spared > 0
    assert f"left out: {spared} cases (a case before them has broken, and one was enough)" in ran.output


def test_a_bundle_shows_the_finding_elsewhere(
    whole: tuple[Path, inner.Inner], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """repro.py runs in an empty directory, with the program in it, and fails as the scenario did."""
    project, seen = whole
    (finding,) = seen.scenario("test_wrong")["findings"]
    monkeypatch.chdir(project)
    assert chaoskit(["bundle", finding["id"][:4], "--report", "report", "--into", "../sent"]) == 0
    assert capsys.readouterr().out == "../sent/repro.py\n../sent/issue.md\n"
    sent, elsewhere = project.parent / "sent", project.parent / "elsewhere"
    elsewhere.mkdir()
    issue = (sent / "issue.md").read_text()
    assert finding["schedule"] in issue
    assert "chaoskit" in issue
    ended = subprocess.run(
        [sys.executable, sent / "repro.py"],
        cwd=elsewhere,
        env=inner.environment() | {"PYTEST_PLUGINS": "chaoskit.plugin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "1 of 1 case broke this scenario: 1 finding." in ended.stdout
    assert f"violated: {finding['schedule']}" in ended.stdout
    # What the test's own conftest.py writes, and nothing of the script's.
    assert {file.name for file in elsewhere.iterdir()} <= {"told.json"}


def test_a_bundle_takes_any_parameter_encoding_and_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slashes of a parameter stay, modules in any encoding come along, and pytest may start anywhere."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    named = '    @pytest.mark.parametrize("_", ["http://x/./y/"])\n    @scenario'
    source = SOURCE.replace("    @scenario", named).replace("(chaos):", "(chaos, _):")
    inner.write(tmp_path / "tests", "    import pytest\n    import latin" + source)
    (tmp_path / "tests" / "latin.py").write_bytes(b"# coding: latin-1\nNAME = 'caf\xe9'\n")
    seen = inner.run(tmp_path / "tests")
    (told,) = seen.report["scenarios"]
    monkeypatch.chdir(tmp_path / "tests")
    assert chaoskit(["bundle", told["findings"][0]["id"], "--report", "report", "--into", "../sent"]) == 0
    ended = subprocess.run(
        [sys.executable, tmp_path / "sent" / "repro.py"],
        cwd=tmp_path,
        env=inner.environment() | {"PYTEST_PLUGINS": "chaoskit.plugin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 of 1 case broke this scenario: 1 finding." in ended.stdout, ended.stdout + ended.stderr


def test_a_bundle_of_what_is_not_there_is_refused(
    whole: tuple[Path, inner.Inner], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error lists the ids that the report has."""
    project, seen = whole
    monkeypatch.chdir(project)
    assert chaoskit(["bundle", "ffffff", "-r", "report"]) == 2
    (finding,) = seen.scenario("test_wrong")["findings"]
    assert f"It has: {finding['id']}." in capsys.readouterr().err
