"""Findings are known by name: what is not listed fails, and so does what is listed and gone."""

from __future__ import annotations

import sys
from pathlib import Path

import inner
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

PROGRAM = """
import os

def put(path, text):
    path.write_text(text)

def put_whole(path, text):
    path.with_suffix(".tmp").write_text(text)
    os.replace(path.with_suffix(".tmp"), path)

def work(folder, a, b):
    a(folder / "a.txt", "new a")
    b(folder / "b.txt", "new b")
"""

SOURCE = """
    import pytest
    from chaoskit import faults, scenario
    import program

    @scenario(faults.kill(){known})
    def test_two_files(chaos):
        (chaos.path / "a.txt").write_text("old a")
        (chaos.path / "b.txt").write_text("old b")
        chaos.run(program.work, chaos.path, program.{a}, program.{b})
        for name in "ab":
            assert (chaos.path / f"{{name}}.txt").read_text() in (f"old {{name}}", f"new {{name}}")
"""


def run(place: Path, a: str, b: str, known: dict[str, str] | None = None, *options: str) -> inner.Inner:
    """The scenario with two functions that write, and what it states as known."""
    listed = f", known={known!r}" if known is not None else ""
    inner.write(place, SOURCE.format(known=listed, a=a, b=b))
    (place / "program.py").write_text(PROGRAM)
    return inner.run(place, *options)


def ids(seen: inner.Inner) -> list[str]:
    return [finding["id"] for finding in seen.scenario("test_two_files")["findings"]]


# In the program both are written by one function, so that only what differs between them can tell them apart.
SECOND = """
def put_again(path, text):
    path.write_text(text)
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of the one finding of the scenario in which only the first file is written in place."""
    (one,) = ids(run(tmp_path_factory.mktemp("first"), "put", "put_whole"))
    return one


def test_a_scenario_with_known_findings_alone_passes(tmp_path: Path, first: str) -> None:
    """It is shown as known, with the reason, on the terminal and in the report."""
    seen = run(tmp_path, "put", "put_whole", {first: "accepted until the next release"})
    assert seen.outcomes == {"test_two_files": "passed"}
    told = seen.scenario("test_two_files")
    assert (told["state"], told["findings"][0]["known"]) == ("passed", "accepted until the next release")
    assert seen.report["totals"]["findings"] == 0
    assert seen.report["totals"]["known_findings"] == 1
    assert f"{first} known: " in seen.output


def test_c2_a_second_bug_fails_and_is_named_beside_the_known_one(tmp_path: Path, first: str) -> None:
    """The known finding hides nothing but itself; its id is the same as without the second bug."""
    program = PROGRAM + SECOND
    place = tmp_path
    inner.write(place, SOURCE.format(known=f", known={{{first!r}: 'accepted'}}", a="put", b="put_again"))
    (place / "program.py").write_text(program)
    seen = inner.run(place)
    assert seen.outcomes == {"test_two_files": "failed"}
    assert first in ids(seen)
    (new,) = (one for one in ids(seen) if one != first)
    text = seen.texts["test_two_files"]
    assert "1 new finding, 1 known" in text
    assert f"[{new}] violated: write(b.txt)" in text
    assert f"known: {first} accepted" in text
    assert f"[{first}]" not in text


def test_with_the_bug_mended_the_stale_entry_fails(tmp_path: Path, first: str) -> None:
    """What is listed and gone is said by name, and the scenario fails until it is taken out."""
    seen = run(tmp_path, "put_whole", "put_whole", {first: "accepted"})
    assert seen.outcomes == {"test_two_files": "failed"}
    assert (
        f"Stated as known but no longer found; remove what was fixed:\n  {first}: accepted"
        in seen.texts["test_two_files"]
    )
    assert seen.scenario("test_two_files")["stale"] == [first]
    assert seen.report["totals"]["stale_findings"] == 1


def test_what_a_budget_leaves_out_is_not_gone(tmp_path: Path, first: str) -> None:
    """A finding of which no case was run may still be there."""
    seen = run(tmp_path, "put_whole", "put_whole", {first: "accepted"}, "--chaoskit-budget=2")
    assert seen.outcomes == {"test_two_files": "passed"}
    assert seen.scenario("test_two_files")["stale"] == []


def test_a_replay_shows_what_is_known(tmp_path: Path, first: str) -> None:
    """Who replays a known finding wants to see it."""
    seen = run(tmp_path, "put", "put_whole", {first: "accepted"}, "--chaoskit-replay=write(a.txt)#1=kill")
    assert seen.outcomes == {"test_two_files": "failed"}
    assert f"[{first}] violated: " in seen.texts["test_two_files"]


def test_an_id_survives_moved_lines_and_another_place(tmp_path: Path, first: str) -> None:
    """Neither the lines above, nor the directory, nor a budget are in it."""
    place = tmp_path / "elsewhere" / "tests"
    place.mkdir(parents=True)
    text = SOURCE.format(known="", a="put", b="put_whole").replace("import program", "import program\n\n\n")
    inner.write(place, text)
    (place / "program.py").write_text("import sys\n\n\n\n" + PROGRAM)
    seen = inner.run(place, "--chaoskit-budget=8")
    assert ids(seen) == [first]


def test_a_renamed_parameter_keeps_the_ids(tmp_path: Path, first: str) -> None:
    """An id belongs to the scenario, whatever its parameters are called."""
    source = SOURCE.format(known="", a="put", b="put_whole")
    several = "    @pytest.mark.parametrize('_', ['one', 'two'])\n    @scenario"
    source = source.replace("    @scenario", several)
    inner.write(tmp_path, source.replace("(chaos):", "(chaos, _):"))
    (tmp_path / "program.py").write_text(PROGRAM)
    seen = inner.run(tmp_path)
    found = [f["id"] for told in seen.report["scenarios"] for f in told["findings"]]
    assert found == [first, first]


def test_known_findings_may_stand_in_a_file(tmp_path: Path, first: str) -> None:
    """chaoskit-known.toml beside the test has a table for each scenario."""
    listed = f'["test_inner.py::test_two_files"]\n{first} = "accepted"\n'
    (tmp_path / "chaoskit-known.toml").write_text(listed)
    assert run(tmp_path, "put", "put_whole").outcomes == {"test_two_files": "passed"}
    seen = run(tmp_path, "put_whole", "put_whole")
    assert f"  {first}: accepted" in seen.texts["test_two_files"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[test_two_files]\n", "expected the name of a scenario in a module beside it"),
        ('["gone.py::test_two_files"]\n', "Remove it if the scenario is gone"),
        ('["test_inner.py::test_renamed[1]"]\n', "Remove it if the scenario is gone"),
        ('["test_inner.py::TestOne::test_two_files"]\n', "Remove it if the scenario is gone"),
        ('["test_inner.py::test_two_files"]\nxyz = "why"\n', "six hexadecimal digits"),
        ('["test_inner.py::test_two_files"]\n3fa9c1 = ""\n', "Say who knows of it"),
        ("[[", "expected TOML"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """The error names the file, what is wrong in it and what was expected."""
    (tmp_path / "chaoskit-known.toml").write_text(text)
    seen = run(tmp_path, "put", "put")
    assert seen.outcomes == {"test_two_files": "error"}
    assert "chaoskit-known.toml" in seen.texts["test_two_files"]
    assert said in seen.texts["test_two_files"]


@pytest.mark.parametrize("how", ["", "(strict=True)", "(raises=Exception, reason='known')", "(run=False)"])
def test_c2_xfail_on_a_scenario_is_refused(tmp_path: Path, how: str) -> None:
    """It would hide every new finding; the error says what to write, and no setting of xfail swallows it."""
    source = SOURCE.format(known="", a="put", b="put")
    inner.write(tmp_path, source.replace("    @scenario", f"    @pytest.mark.xfail{how}\n    @scenario"))
    (tmp_path / "program.py").write_text(PROGRAM)
    seen = inner.run(tmp_path)
    assert seen.outcomes == {"test_two_files": "error"}
    assert "is marked xfail; expected no such mark" in seen.texts["test_two_files"]
    assert "known={" in seen.texts["test_two_files"]
    assert seen.status == 1
