"""What a failing run prints: enough to start mending, in the style that was asked for, and no more."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import inner
import newcomers
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

SCREEN = 50


@pytest.fixture(scope="module")
def nine(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """Nine scenarios that all fail, with the options of a first day: none."""
    directory = tmp_path_factory.mktemp("nine")
    inner.write(directory, newcomers.SOURCE)
    # One of them has 500 cases; the others have fewer than this.
    return inner.run(directory, "--chaoskit-budget=100", "--tb=auto", "-v", "-q", "-q", "-v")


def test_nine_failures_fit_into_250_lines(nine: inner.Inner) -> None:
    """However many cases broke: nine scenarios of a newcomer's kind take at most 250 lines."""
    assert list(nine.outcomes.values()) == ["failed"] * 9
    assert len(nine.output.splitlines()) <= 250


def test_the_first_screen_is_enough_to_start_mending(nine: inner.Inner) -> None:
    """The first finding says what struck, in which line, what was left, what broke, and how to replay it."""
    screen = "\n".join(nine.output.splitlines()[:SCREEN])
    for part in (
        *(
            "] violated: write(settings.json)#1=kill",
            "struck: ",
            'File "test_inner.py", line ',
            'with open(path, "w") as file:',
        ),
        *('expected \'{"theme": "dark"}\', found nothing', "JSONDecodeError", "--chaoskit-replay '"),
        'assert read(chaos.path / "settings.json")["theme"] in ("light", "dark")',
    ):
        assert part in screen
    # The second scenario begins on it, with its advice.
    assert "fix:" in screen
    assert "os.fsync" in screen


def test_no_text_names_a_directory_of_a_case_or_a_frame_of_ours(nine: inner.Inner) -> None:
    """Both mean nothing to a reader, and the former is another one in every run."""
    assert not re.search(r"/chaoskit-\w{8}|w\d\d-\d{6}", nine.output)
    assert not re.search(r"chaoskit/(inject|explore|session|plugin)/\w+\.py", nine.output)
    assert not re.search(r"(?<!\.)\.\.(?!\.)", nine.output)


TWO = """
    from chaoskit import faults, scenario
    from saving import overwrite, load

    def rename(path):
        (path / "a").rename(path / "b")

    @scenario(faults.kill())
    def test_breaks(chaos):
        overwrite(chaos.path, 0)
        chaos.run(overwrite, chaos.path, 1)
        load(chaos.path)

    @scenario(faults.kill())
    def test_holds(chaos):
        (chaos.path / "a").touch()
        chaos.run(rename, chaos.path)

    @scenario(faults.kill().on(path="jbo.json"))
    def test_typo(chaos):
        chaos.run(overwrite, chaos.path, 1)

    @scenario(faults.kill())
    def test_names_its_place(chaos):
        assert not chaos.run(overwrite, chaos.path, 1).signal, f"killed below {chaos.path}/job.json"

    def deep(path):
        (path / "data" / "day").mkdir(parents=True)
        (path / "data" / "day" / "one.json").touch()

    @scenario(faults.kill().on(path="data/*.json"))
    def test_deeper(chaos):
        chaos.run(deep, chaos.path)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a few scenarios, to be run with options."""
    directory = tmp_path_factory.mktemp("two")
    inner.write(directory, TWO)
    return directory


def test_the_directory_of_a_case_is_named_as_the_test_names_it(project: Path) -> None:
    """On the terminal and in the report, in whichever temporary directory it was."""
    found = inner.run(project, "-k", "names_its_place")
    assert "killed below chaos.path/job.json" in found.output
    [finding, *_] = found.report["scenarios"][0]["findings"]
    assert "killed below chaos.path/job.json" in finding["failure"]["message"]


def test_verbose_shows_all_of_it(project: Path) -> None:
    """With -v the whole text of pytest and every schedule is there; without it neither."""
    brief = inner.run(project, "-k", "breaks")
    whole = inner.run(project, "-k", "breaks", "-vv", "--tb=long")
    assert "json/decoder.py" not in brief.output
    assert "json/decoder.py" in whole.output
    assert "-v shows each finding whole" in brief.output
    assert "-v shows each finding whole" not in whole.output


@pytest.mark.parametrize(("style", "most"), [("line", 16), ("no", 11)])
def test_c13_the_style_of_tracebacks_is_honoured(project: Path, style: str, most: int) -> None:
    """--tb=line prints a line with its place for each finding, --tb=no none."""
    found = inner.run(project, "-k", "breaks", f"--tb={style}")
    assert ("test_inner.py:8: 1 of " in found.output) is (style == "line")
    assert "replay it" not in found.output
    assert len(found.output.splitlines()) <= most


@pytest.mark.parametrize(
    ("style", "most", "workers"), [("short", 30, 0), ("line", 16, 0), ("line", 16, 2), ("no", 11, 0)]
)
def test_in_ci_the_summary_repeats_no_finding(
    project: Path, monkeypatch: pytest.MonkeyPatch, style: str, most: int, workers: int
) -> None:
    """Where CI is set pytest repeats whole messages: ours is a line, with and without xdist."""
    monkeypatch.setenv("CI", "true")
    spread = ("-n", str(workers)) if workers else ()
    plugins = ("xdist.plugin",) if workers else ()
    found = inner.run(project, "-k", "breaks", f"--tb={style}", *spread, plugins=plugins)
    *_, summary = found.output.partition("short test summary info")
    assert len(found.output.splitlines()) <= most + 3 * bool(workers)
    told = [line for line in summary.splitlines() if line.startswith("FAILED ")]
    assert [line.partition(" - ")[2] for line in told] == ["1 of 3 cases broke this scenario: 1 finding."]
    assert "violated: write" not in summary


def test_c13_a_list_of_points_has_the_names_of_faults(project: Path) -> None:
    """As .only() and --chaoskit-replay take them, below each point with its line in the project."""
    found = inner.run(project, "-k", "breaks", "--chaoskit-list")
    assert re.search(r"write\(job\.json\)#1  saving\.py:\d+\n    kill\n", found.output)


def test_c13_a_schedule_is_replayed_without_the_name_of_its_test(project: Path) -> None:
    """Scenarios that do not have it are skipped, and not failed; if none has it the run fails and says so."""
    schedule = "rename(a -> b)#1=kill"
    found = inner.run(project, "--chaoskit-replay", schedule, "-k", "breaks or holds")
    assert found.status == 0
    assert found.outcomes == {"test_breaks": "skipped", "test_holds": "passed"}
    assert "never reaches" in found.texts["test_breaks"]
    nowhere = inner.run(project, "--chaoskit-replay", "rename(x -> y)#1=kill", "-k", "breaks or holds")
    assert nowhere.status == 1
    assert "no scenario has this schedule" in nowhere.output
    alone = inner.run(project, "--chaoskit-replay", "rename(x -> y)#1=kill", "-k", "holds")
    assert alone.outcomes == {"test_holds": "failed"}


def test_c12_a_path_that_fits_nothing_comes_with_what_was_meant(project: Path) -> None:
    """A misspelt name with the nearest, and a star that stops at a slash with two."""
    found = inner.run(project, "-k", "typo or deeper")
    assert (
        "path='jbo.json' fits no file of this workload. Did you mean 'job.json'?" in found.texts["test_typo"]
    )
    assert "'*' stops at '/': did you mean 'data/**.json'?" in found.texts["test_deeper"]
