"""The project as a whole: what the documents promise exists, and nothing is there that should not be."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOP = {
    *("pyproject.toml", "chaoskit", "scenarios", "tests", "reports", "conftest.py", "README.md"),
    *(
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "SECURITY.md",
        "Makefile",
        ".ci",
        "docs",
        "benchmarks",
        ".gitignore",
    ),
}


def tracked() -> list[Path]:
    """The files of the repository; those on disk where there is no repository, as in an archive."""
    asked = ["git", "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    folders = (ROOT / name for name in TOP)
    return [path for folder in folders for path in (folder.rglob("*") if folder.is_dir() else [folder])]


def load(path: Path, name: str) -> ModuleType:
    """Import a script that is in no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def test_top_level_is_what_every_python_project_has():
    """Nothing lies at the top of the tree beyond the files and folders that everybody knows."""
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= TOP


def test_commands_in_documents_exist():
    """Every ``make`` target and every ``chaoskit`` command that a document or the help names is there."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    from chaoskit.cli.table import COMMANDS

    for path in documents():
        code = re.findall(r"`+[^`]+`+", path.read_text("utf-8"), re.DOTALL)
        for text in code:
            assert set(re.findall(r"(?:`|\$ )make ([a-z]+)\b", text)) <= targets, path
            assert set(re.findall(r"(?:`|\$ )chaoskit ([a-z]+)\b", text)) <= set(COMMANDS), path


def test_help_lists_every_target():
    """``make help`` names every target there is."""
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert targets is not None
    for target in set(targets[1].split()) - {"help"}:
        assert f'@echo "make {target}' in text, target


def test_interpreter_dependent_part_is_there():
    """What ``make test`` runs on every Python exists: a folder that was moved would run on two only."""
    asked = ["make", "--no-print-directory", "-s", "-f", "Makefile", "-f", "-", "part"]
    show = "part: ; @echo $(PART)\n"
    # What a make around this was told, such as another PART, does not count.
    plain = {
        name: value for name, value in os.environ.items() if not re.match("M(AKE)?FLAGS|MAKE|PART", name)
    }
    done = subprocess.run(asked, cwd=ROOT, env=plain, input=show, capture_output=True, text=True, check=True)
    told = done.stdout
    assert len(told.split()) > 5
    # pytest itself refuses a test that it does not find in its file.
    # What is left out has to exist as well: a file that was renamed would run again.
    files = [place.removeprefix("--ignore=").partition("::")[0] for place in told.split()]
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_options_in_documents_exist():
    """Every option and ini key that a document names is one of the plugin, and all are documented."""
    options, keys = load(ROOT / "tests/snapshots/public_surface.py", "public_surface").plugin_options()
    text = "\n".join(path.read_text("utf-8") for path in documents())
    assert set(re.findall(r"--chaoskit-[a-z]+(?:-[a-z]+)*", text)) == set(options)
    named = set(re.findall(r"\bchaoskit_[a-z]+(?:_[a-z]+)*\b", text))
    assert named >= set(keys)
    assert named - set(keys) <= {"chaoskit_result"}


def test_no_place_of_one_machine_in_the_tree():
    """No host of a package registry, and no directory of the machine it was written on, is in any file."""
    hosts = ["py" + "pi.org", "python" + "hosted.org", "deb." + "debian.org", "registry." + "npmjs.org"]
    homes = ["/ro" + "ot/", "/wo" + "rk/"]
    pattern = re.compile("|".join([*map(re.escape, hosts), *(rf"(?<![\w}}]){home}" for home in homes)]))
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        found = pattern.search(text)
        assert found is None, f"{path.relative_to(ROOT)} has {found}"


def test_constraints_pin_versions_and_nothing_else():
    """The constraints file has one exact version a line: no address, no option, no range."""
    lines = (ROOT / ".ci/constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][\w.+!]*", line) for line in pins)
    names = [line.partition("==")[0] for line in pins]
    assert names == sorted(set(names))


def test_everything_declared_is_pinned():
    """Each dependency that pyproject.toml names, for use or development, has its version pinned."""
    import tomllib

    plain = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project, groups = plain["project"], plain["dependency-groups"]
    asked = [*project["dependencies"], *plain["build-system"]["requires"]]
    asked += [one for extra in project["optional-dependencies"].values() for one in extra]
    asked += [one for group in groups.values() for one in group if isinstance(one, str)]
    names = {re.split(r"[\s<>=!~\[;]", one)[0].lower().replace("_", "-").replace(".", "-") for one in asked}
    pinned = {line.partition("==")[0] for line in (ROOT / ".ci/constraints.txt").read_text().splitlines()}
    assert names <= pinned, f"not pinned: {sorted(names - pinned)}; run: make lock"


def test_public_surface_is_as_written_down():
    """The public surface is a file that one can diff; after an intended change write it anew and read it."""
    made = load(ROOT / "tests/snapshots/public_surface.py", "public_surface")
    assert made.surface() == made.FILE.read_text("utf-8"), "run: python tests/snapshots/public_surface.py"


def test_every_family_of_faults_is_documented():
    """The page on faults has a row for each family, under the name that users write."""
    from chaoskit import faults

    page = (ROOT / "docs/reference/faults.md").read_text("utf-8")
    families = set(faults.__all__) - {"Family", "FaultSet"}
    assert {name for name in families if f"| `faults.{name}(" not in page} == set()


def test_tables_of_faults_are_those_of_the_package():
    """The page on faults has the tables that the package works with."""
    made = load(ROOT / "docs/make_faults.py", "make_faults")
    text = made.PAGE.read_text("utf-8")
    assert made.filled(text) == text, "run: python docs/make_faults.py"


def test_tables_of_the_classifier_are_those_of_the_package():
    """The page on the classifier has the rules that the package works with."""
    made = load(ROOT / "docs/make_classifier.py", "make_classifier")
    text = made.PAGE.read_text("utf-8")
    assert made.filled(text) == text, "run: python docs/make_classifier.py"


def test_result_file_page_names_every_key():
    """The page on the result file has every key of the first two levels of the schema."""
    from chaoskit.report import schema

    text = (ROOT / "docs/reference/result-file.md").read_text("utf-8")
    plain = schema.load()
    parts = [plain, *(plain["$defs"][name] for name in ("Totals", "Run", "Environment", "ScenarioResult"))]
    for key in {key for part in parts for key in part["properties"]}:
        assert f"`{key}`" in text, key


def test_blind_spots_are_documented():
    """Every kind of caveat that the package reports has its row on the page on limits, and no row is idle."""
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "chaoskit").rglob("*.py"))
    kinds = set(re.findall(r'[cC]aveat(?:\(\s*|=)"([a-z_-]+)"', sources))
    page = (ROOT / "docs/reference/limits.md").read_text("utf-8")
    table = page.partition("| kind |")[2].partition("\n\n")[0]
    first_cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert {name for cell in first_cells for name in re.findall(r"`([a-z_-]+)`", cell)} == kinds


def test_modules_of_tests_have_names_of_their_own():
    """No two files of tests that are in no package share a name: pytest would import one for the other."""
    files = [
        path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] == "tests"
    ]
    alone = [path.name for path in files if not (path.parent / "__init__.py").exists()]
    twice = {name for name in alone if alone.count(name) > 1}
    assert twice <= {"conftest.py"}


def test_filters_of_tarfile_are_used_where_there_are_some():
    """CPython before 3.11.4 has none: each file that uses one, or its test, says what happens there."""
    asking = re.compile(r'filter="(data|tar|fully_trusted)"')
    for path in tracked():
        if path.suffix == ".py" and asking.search(path.read_text("utf-8")):
            beside = path.with_name(f"test_{path.name}")
            texts = [one.read_text("utf-8") for one in (path, beside) if one.exists()]
            assert any("data_filter" in text for text in texts), path


def test_ci_script_is_executable_and_quiet_about_input():
    """CI calls one script: it can be executed, stops at the first failure, and reads nothing."""
    script = ROOT / ".ci/run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    assert "exec </dev/null" in text
    assert text.rstrip().endswith("\nmake scenarios BUDGET=few\nmake shards")


def test_version_is_said_once():
    """The version of the distribution is that of the package."""
    from importlib import metadata

    import chaoskit

    assert metadata.version("chaoskit") == chaoskit.__version__


@pytest.mark.parametrize("path", [".ci/bootstrap.sh", ".ci/run"])
def test_shell_scripts_parse(path):
    """The shell scripts have no syntax error, also where the shell is not bash."""
    shell = "bash" if path == ".ci/run" else "sh"
    subprocess.run([shell, "-n", str(ROOT / path)], check=True)
