"""One finding as files that can be sent: a program that shows it, and the text of an issue.

The program contains everything that it needs of the project: the module of the test, what that imports from
below the root, and the configuration of pytest. It does not contain installed packages; the issue names their
versions.
"""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.core.errors import UsageError
from chaoskit.core.finding import Finding
from chaoskit.report.document import Entry, Report, Run
from chaoskit.report.explain import finding_text
from chaoskit.report.markup import block

_SETTINGS = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
_LONGEST = 20_000
"""Characters of the finding's text in the issue: trackers refuse very long texts."""
_MOST = 1 << 20
"""The largest file to include, in bytes: a larger one is data rather than a part of the test."""

_PYTHON = '''"""Shows the finding {id} of {test}: `python repro.py`, with chaoskit and pytest installed."""

import pathlib
import sys
import tempfile

import pytest

FILES = {files}
TEST = {test!r}
SCHEDULE = {schedule!r}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for name, content in FILES.items():
            file = pathlib.Path(place, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        for folder in {paths!r}:
            sys.path.insert(0, str(pathlib.Path(place, folder)))
        # No path: parameters may hold slashes.
        arguments = [f"{{place}}/{{TEST}}", "--rootdir", place, "-p", "no:cacheprovider"]
        sys.exit(pytest.main([*arguments, "--chaoskit-replay", SCHEDULE]))
'''

_SHELL = """#!/bin/sh
# Shows the finding {id} of {name}: run it where the program and what it needs are.
exec chaoskit replay {schedule} {command}
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """``script`` is named ``repro.py`` or ``repro.sh``, ``issue`` is Markdown."""

    name: str
    script: str
    issue: str


def found(report: Report, name: str) -> tuple[Entry, Finding]:
    """The finding with the id ``name``, which may be shortened as long as it is unambiguous.

    Raises:
        UsageError: if there is none, or several.
    """
    every = [(entry, finding) for entry in report.entries for finding in entry.result.findings if finding.id]
    fitting = {one.id: (entry, one) for entry, one in every if one.id.startswith(name)}
    if name and len(fitting) == 1:
        return next(iter(fitting.values()))
    ids = ", ".join(dict.fromkeys(one.id for _, one in every)) or "none"
    what = "several findings" if fitting else "no finding"
    raise UsageError(f"{what} of this report: {name!r}; expected the id of one. It has: {ids}.")


def bundle(report: Report, entry: Entry, finding: Finding, place: Path) -> Bundle:
    """Assemble the files that show ``finding``; ``place`` is the project's directory, or one below it.

    Raises:
        UsageError: if the test does not exist.
    """
    options = entry.result.options
    issue = _issue(report.runs[entry.run], entry, finding)
    if options.command:
        script = _SHELL.format(
            id=finding.id,
            name=entry.result.nodeid.replace("\n", " "),
            schedule=shlex.quote(finding.schedule),
            command=options.command,
        )
        return Bundle("repro.sh", script, issue)
    file, colons, rest = entry.result.nodeid.partition("::")
    # The name is the one below pytest's root directory, and pytest may have been started below that.
    root = next((one for one in (place, *place.parents) if (one / file).is_file()), None)
    if root is None:
        raise UsageError(
            f"{place / file} is not there; expected the test of the finding. Run it in the project."
        )
    files = {str(one.relative_to(root)): _content(one) for one in sorted(_needed(root / file, root))}
    script = _PYTHON.format(
        id=finding.id,
        test=f"{file}{colons}{rest}",
        schedule=finding.schedule,
        files="{\n" + "".join(f"    {name!r}: {text!r},\n" for name, text in files.items()) + "}",
        paths=[str(folder.relative_to(root)) for folder in _folders(root / file, root)],
    )
    return Bundle("repro.py", script, issue)


def _content(file: Path) -> str | bytes:
    """The file's text, or its bytes if that is not UTF-8: a module may declare another encoding (PEP 263)."""
    raw = file.read_bytes()
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _needed(test: Path, root: Path) -> set[Path]:
    """The module, the project's modules that it imports, directly or not, and pytest's configuration."""
    folders = _folders(test, root)
    waiting = [test, *(folder / "conftest.py" for folder in (test.parent, *test.parent.parents))]
    needed: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in needed or not file.is_file() or root not in file.parents or file.stat().st_size > _MOST:
            continue
        needed.add(file)
        waiting += [found for name in _imported(file, root) for found in _modules(name, folders)]
    return needed | {root / name for name in _SETTINGS if (root / name).is_file()}


def _folders(test: Path, root: Path) -> list[Path]:
    """Where the project's modules may be, by pytest's rootdir and the common layouts."""
    folders = [root, root / "src", test.parent]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _imported(file: Path, root: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    # Not Python that this interpreter parses. The file is included; what it imports is unknown.
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A name imported from a package may be a module in it.
            package = ".".join(file.relative_to(root).parts[: -node.level]) if node.level else ""
            base = ".".join(part for part in (package, node.module or "") if part)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _modules(name: str, folders: list[Path]) -> Iterator[Path]:
    """The files of a module and of its parent packages."""
    parts = name.split(".")
    for folder in folders:
        for end in range(1, len(parts) + 1):
            path = folder.joinpath(*parts[:end])
            yield path / "__init__.py"
            yield path.with_suffix(".py")


def _issue(run: Run, entry: Entry, finding: Finding) -> str:
    result, where, project = entry.result, run.environment, run.project
    about = " ".join(part for part in (project.name, project.version) if part) or "the project"
    commit = f", commit {project.commit}{' with changes' if project.dirty else ''}" if project.commit else ""
    system = (
        f"{where.system} {where.kernel}, {where.implementation} {where.python}, chaoskit {where.chaoskit}"
    )
    lines = [
        f"# {finding.verdict}: {finding.schedule}",
        "",
        f"Found in {about}{commit} by the scenario `{result.nodeid}`, finding `{finding.id}`.",
        f"On {system}.",
        "",
        block(finding_text(result, finding), _LONGEST),
        "",
        "The script beside this text shows it.",
    ]
    return "\n".join(map(str, lines)) + "\n"
