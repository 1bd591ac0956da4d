"""The files for CI services that the documents show: valid by the services' schemas, and of our commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.cli.table import COMMANDS

FOLDER = Path(__file__).parent.parent / "docs/how-to/workflows"
SCHEMAS = {"github.yml": "vendor.github-workflows", "gitlab.yml": "vendor.gitlab-ci"}


def lint(schema: str, file: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("check_jsonschema", reason="the linter of workflows is not installed")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_each_file_has_a_linter() -> None:
    """One that is added has to be linted, too."""
    assert {path.name for path in FOLDER.iterdir()} == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_workflow_is_valid(name: str) -> None:
    """It follows the schema of its service."""
    done = lint(SCHEMAS[name], FOLDER / name)
    assert done.returncode == 0, done.stdout


def test_a_wrong_workflow_is_noticed(tmp_path: Path) -> None:
    """The linter does find a job without a machine, and a word that no job has."""
    for name, old, new in (("github.yml", "runs-on:", "runs:"), ("gitlab.yml", "script:", "scripts:")):
        wrong = tmp_path / name
        wrong.write_text((FOLDER / name).read_text("utf-8").replace(old, new))
        assert lint(SCHEMAS[name], wrong).returncode == 1


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_commands_of_a_workflow_exist(name: str) -> None:
    """Every command of ours that it calls is one."""
    words = re.findall(r"^\s*- (?:run: )?chaoskit (\w+)", (FOLDER / name).read_text("utf-8"), re.MULTILINE)
    assert words
    assert set(words) <= COMMANDS.keys()
