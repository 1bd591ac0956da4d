"""``chaoskit config``: problems with exit code 1, effective values with their origins, no secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaoskit.cli.group import run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pyproject.toml and no variables of ours: each test says what there is."""
    monkeypatch.chdir(tmp_path)


GOOD = "retry: {default: {on: [transient], attempts: 4}}\n"
BAD = "jobs: {timeout: -1, atempts: 2}\n"


def test_a_good_file_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """A file without problems exits with 0 and says so."""
    Path("a.yaml").write_text(GOOD)
    assert run(["config", "check", "a.yaml"]) == 0
    assert capsys.readouterr().out == "a.yaml: no problems\n"


def test_all_problems_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each problem is one line that begins with file and line, as compilers print them; exit code 1."""
    Path("a.yaml").write_text(BAD)
    assert run(["config", "check", "a.yaml"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2
    assert out[0].startswith("a.yaml:1: jobs.atempts: is not an option; did you mean 'attempts'?")
    assert out[1] == "a.yaml:1: jobs.timeout: is -1; expected a number of seconds, more than 0"


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints one document, with the same exit code."""
    Path("a.yaml").write_text(BAD)
    assert run(["config", "check", "a.yaml", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert document["problems"][0]["path"] == "jobs.atempts"
    Path("a.yaml").write_text(GOOD)
    assert run(["config", "check", "a.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "problems": []}


def test_show_prints_values_and_origins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every option is there with its value and its source: default, pyproject, file, environment."""
    Path("pyproject.toml").write_text("[tool.chaoskit.runtime.jobs]\nrequeues = 2\n")
    Path("a.yaml").write_text(GOOD)
    monkeypatch.setenv("CHAOSKIT_JOBS__TIMEOUT", "9")
    assert run(["config", "show", "a.yaml"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["retry.default.attempts"] == ["4", "a.yaml:1"]
    assert rows["jobs.timeout"] == ["9.0", "$CHAOSKIT_JOBS__TIMEOUT"]
    assert rows["jobs.requeues"] == ["2", "pyproject.toml:2"]
    assert rows["jobs.concurrency"] == ["3", "default"]


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives each option's value and origin, without a file as well."""
    assert run(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs.timeout"] == {"value": "300.0", "origin": "default"}


def test_show_refuses_a_wrong_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration with problems is not shown; exit code 1."""
    Path("a.yaml").write_text(BAD)
    assert run(["config", "show", "a.yaml"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2 problems in the configuration" in captured.err


SCHEMA = """\
from dataclasses import dataclass
@dataclass(frozen=True)
class Watcher:
    share: str = "/mnt/[bold]share"
    api_key: str = ""
"""


def test_a_programs_own_schema(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Any dataclass of the project can be the schema; its secrets are hidden, its brackets are printed."""
    Path("watcher_schema.py").write_text(SCHEMA)
    Path("a.toml").write_text("[watcher]\nshare = '/mnt/[bold]x\\u001b'\napi_key = 'hunter2'\n")
    monkeypatch.setenv("WATCHER_API_KEY", "hunter3")
    arguments = ["--schema", "watcher_schema:Watcher", "--table", "watcher"]
    assert run(["config", "check", "a.toml", *arguments]) == 0
    assert run(["config", "show", "a.toml", *arguments, "--prefix", "WATCHER_"]) == 0
    out = capsys.readouterr().out
    assert "hunter" not in out
    assert "[bold]" in out
    assert "$WATCHER_API_KEY" in out


def test_colours_only_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What goes into a pipe has no escape sequences and no cut lines."""
    assert run(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "…" not in out


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("nope_nope:X", "No module named"),
        ("json:Nope", "no attribute"),
        ("json", "names a dataclass"),
        ("json:loads", "names a dataclass"),
    ],
)
def test_a_wrong_schema_is_named(schema: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A schema that cannot be imported, or is not a dataclass, is wrong use."""
    Path("a.toml").write_text("")
    assert run(["config", "check", "a.toml", "--schema", schema]) == 2
    assert said in capsys.readouterr().err


def test_a_missing_file_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, and one of another suffix, is a problem with its name."""
    assert run(["config", "check", "none.yaml"]) == 1
    assert "none.yaml: (top): cannot be read: No such file" in capsys.readouterr().out
    assert run(["config", "check", "none.ini"]) == 1
    assert "none.ini: (top): cannot be read: its suffix is '.ini'" in capsys.readouterr().out
