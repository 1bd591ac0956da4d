"""Each document tells the truth: what it shows runs, and what it names exists.

tests/test_site.py looks at the site that is made of them.

How a fence is tested is said by its first line, which GitHub and Sphinx do not show:

=====================  =====================================================================
````` ```python `````         runs; the fences of one file share one namespace, in order, in an
                       empty directory
``python pytest``      a test; those of one file are one module, which pytest must pass
``python no-run``      is only compiled
``yaml config``        (also toml, json) is a valid configuration of the runtime
``yaml``, ``toml``, …  can be read
``console``            lines that begin with ``$`` name a known command or make target
=====================  =====================================================================
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click
import pytest
from budgets import some

import chaoskit
from chaoskit.cli.table import COMMANDS
from chaoskit.runtime.config import from_file, load

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
]
WIDTH = 90
"""Columns of an example: as many as fit the page. Longer lines would wrap."""
GENERATED = {"peers-breaker.md", "peers-retry.md", "peers-store.md"}
"""Their examples are the source of the reproductions, as it is."""
PROGRAMS = {"pip", "python", "pytest", "coverage", "git", "cd"}


SHELVES = {
    "tutorial": "Tutorial",
    "how-to": "How-to",
    "runtime": "The runtime",
    "reference": "Reference",
    "explanation": "Explanation",
    ".": "The project",
}
"""The folder of a page, and the caption that it stands under."""

_spec = importlib.util.spec_from_file_location("pages", ROOT / "tests/snapshots/pages.py")
assert _spec is not None
assert _spec.loader is not None
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)


@dataclass(frozen=True)
class Fence:
    """One block of code: its language, what is said after it, and the number of its first line."""

    language: str
    words: tuple[str, ...]
    line: int
    text: str

    @property
    def runs(self) -> bool:
        """True for Python that runs as it stands."""
        return self.language == "python" and not self.words


def fences(markdown: str) -> Iterator[Fence]:
    """The fenced blocks of a document. An unclosed one is an error."""
    lines = iter(enumerate(markdown.splitlines(), 1))
    for number, line in lines:
        opening = re.match(r"(\s*)(`{3,})\s*([\w{}-]*)\s*(.*?)\s*$", line)
        if not opening:
            continue
        indent, ticks, language, rest = opening.groups()
        body = []
        for _, inner in lines:
            if inner.strip() == ticks:
                break
            body.append(inner.removeprefix(indent))
        else:
            raise AssertionError(f"line {number}: the fence is not closed")
        yield Fence(language, tuple(rest.split()), number + 1, "\n".join(body) + "\n")


def program(page: list[Fence], *words: str) -> str:
    """The fences with these words as one source, each on the lines that it has in its document."""
    source = ""
    for fence in page:
        if fence.language == "python" and fence.words == words:
            source += "\n" * (fence.line - 1 - source.count("\n")) + fence.text
    return source


def run(arguments: list[str], folder: Path) -> None:
    """Run Python there; its output is the message if it fails."""
    # For Hypothesis, which then does not take a busy machine for a slow strategy.
    environment = {**os.environ, "CI": "true"}
    command = [sys.executable, "-W", "error", *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


def run_page(page: Path, folder: Path) -> None:
    """Run everything in a document that runs."""
    found = list(fences(page.read_text()))
    unknown = {f.words for f in found if f.language == "python"} - {(), ("no-run",), ("pytest",)}
    assert not unknown, f"unknown words after python: {unknown}"
    for fence in found:
        if fence.language == "python":
            compile(fence.text, f"{page}:{fence.line}", "exec")
    if any(f.runs for f in found):
        # Compiled under the document's own name, so that a traceback shows its lines.
        launcher = (
            "import sys, pathlib; exec(compile(pathlib.Path('page.py').read_text(), sys.argv[1], 'exec'))"
        )
        (folder / "page.py").write_text(program(found))
        run(["-c", launcher, str(page)], folder)
    if tests := program(found, "pytest"):
        (folder / "test_page.py").write_text(tests)
        (folder / "pytest.ini").write_text("[pytest]\n")
        # The rest of what is installed takes longer to import than a page to run.
        needed = {"hypothesis": "_hypothesis_pytestplugin", "fs,": "pyfakefs.pytest_plugin"}
        plugins = [part for word, name in needed.items() if word in tests for part in ("-p", name)]
        run(["-m", "pytest", "-q", *plugins, "-p", "no:cacheprovider"], folder)


def check_command(line: str) -> None:
    """A command line of a document, without its prompt, is one that exists."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)  # a variable for the command
    name, *rest = words
    if name == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        wanted = [w for w in rest if "=" not in w]
        assert set(wanted) <= set(targets), f"{line}: the Makefile has {targets}"
    elif name == "chaoskit":
        check_chaoskit(line, rest)
    else:
        assert name in PROGRAMS, f"{line}: {name} is not among the commands that documents use"


def check_chaoskit(line: str, words: list[str]) -> None:
    """The sub-command exists, and so do the options that are given to it."""
    command: click.Command | None = None
    if words and not words[0].startswith("-"):
        assert words[0] in COMMANDS, f"{line}: there is {sorted(COMMANDS)}"
        module, _, attribute = COMMANDS[words.pop(0)][0].partition(":")
        command = getattr(import_module(module), attribute)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{line}: there is {sorted(command.commands)}"
        command = command.commands[words.pop(0)]
    options = {name for p in getattr(command, "params", []) for name in (*p.opts, *p.secondary_opts)}
    for word in words[: words.index("--")] if "--" in words else words:
        if word.startswith("--"):
            assert word.partition("=")[0] in {*options, "--help", "--version"}, f"{line}: no option {word}"


def check_data(fence: Fence, folder: Path) -> None:
    """A block of data can be read; one marked ``config`` is a valid configuration of the runtime."""
    from chaoskit.runtime.settings import RuntimeSettings

    path = folder / f"block.{fence.language}"
    path.write_text(fence.text)
    layer = from_file(path)
    if fence.words == ("config",):
        load(RuntimeSettings, layer)


def prose(page: Path) -> str:
    """The document without its fences and code spans."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The headings of a document, and of those that it includes, as links write them."""
    text = page.read_text()
    for included in re.findall(r"^```\{include\} (\S+)", text, re.MULTILINE):
        text += (page.parent / included).read_text()
    headings = re.findall(r"^#+\s+(.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def check_links(page: Path) -> None:
    """The relative links of a document lead to files, and to headings in them."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        other = page.parent / file if file else page
        assert other.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(other), f"{target}: there are the headings {sorted(anchors(other))}"


def too_wide(page: Path) -> list[str]:
    """The lines of examples that would not fit the page. What programs print may wrap."""
    return [
        f"{page.name}:{fence.line + number}: {len(line)} columns"
        for fence in fences(page.read_text())
        if fence.language != "text"
        for number, line in enumerate(fence.text.splitlines())
        if len(line) > WIDTH
    ]


def test_examples_fit_the_page() -> None:
    """No line of an example is wider than the page."""
    wide = [line for page in PAGES if page.name not in GENERATED for line in too_wide(page)]
    assert wide == [], f"more than {WIDTH} columns"


@pytest.mark.parametrize("page", some(PAGES), ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_document_shows_runs(page: Path, tmp_path: Path) -> None:
    """Every Python block of the document runs, or is a test that passes."""
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_commands_of_a_document_exist(page: Path) -> None:
    """Every command line names a command, a sub-command, options and make targets that exist."""
    for fence in fences(page.read_text()):
        if fence.language == "console":
            for line in fence.text.replace("\\\n", " ").splitlines():
                if line.startswith("$ "):
                    check_command(line[2:])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_data_of_a_document_is_valid(page: Path, tmp_path: Path) -> None:
    """Every block of YAML, TOML or JSON can be read, and the runtime's configurations are valid."""
    for fence in fences(page.read_text()):
        if fence.language in ("yaml", "toml", "json"):
            check_data(fence, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_links_of_a_document_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there, and a heading in it."""
    check_links(page)


# All documents together: each page on its shelf, each place that is named where it is said to be.


def written() -> set[Path]:
    """Every page that was written by hand or by a script of ours."""
    return {path for path in DOCS.rglob("*.md") if "_build" not in path.parts}


def test_every_page_is_in_the_contents_once() -> None:
    """No page is lost, and none is listed that does not exist."""
    found = [page for _, page in pages.contents()]
    assert len(found) == len(set(found))
    assert set(found) == written() - {DOCS / "index.md"}, "list it in docs/index.md, or in its chapter"


def test_every_page_stands_on_its_shelf() -> None:
    """The caption above a page is that of its folder."""
    for shelf, page in pages.contents():
        assert shelf == SHELVES[page.relative_to(DOCS).parts[0] if page.parent != DOCS else "."], page


PARTS_OF_A_CHAPTER = ("**The guarantee:** ", "\n## What it costs\n", "\n## What is not promised\n")


def lacking(text: str) -> list[str]:
    """What each chapter of the runtime has once, and this text has not."""
    return [part.strip() for part in PARTS_OF_A_CHAPTER if text.count(part) != 1]


def test_each_chapter_of_the_runtime_says_what_it_promises_and_what_not() -> None:
    """The guarantee in a sentence, what it costs, and what is not promised: in each of them, and once."""
    chapters = [page for page in sorted((DOCS / "runtime").glob("*.md")) if page.name != "index.md"]
    found = {page.name: lacking(page.read_text("utf-8")) for page in chapters}
    assert len(found) > 20
    assert not {name: parts for name, parts in found.items() if parts}


def test_a_chapter_that_leaves_something_out_is_found() -> None:
    """And one that says it twice."""
    whole = "# A\n\n**The guarantee:** a.\n\n## What it costs\n\nb\n\n## What is not promised\n\nc\n"
    assert lacking(whole) == []
    assert lacking(whole.replace("## What it costs", "## Costs")) == ["## What it costs"]
    assert lacking(whole + whole) == [part.strip() for part in PARTS_OF_A_CHAPTER]


def test_each_chapter_of_the_runtime_has_its_line() -> None:
    """The first page on the runtime says of every chapter, in one line, what it is for."""
    lines = (DOCS / "runtime/index.md").read_text("utf-8").splitlines()
    linked = {
        target for line in lines if line.startswith("- ") for target in re.findall(r"\((\w+\.md)\)", line)
    }
    assert {page.name for page in (DOCS / "runtime").glob("*.md")} - {"index.md"} == linked, (
        "give it a line in docs/runtime/index.md"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_document_holds_a_merge_that_was_not_finished(page: Path) -> None:
    """No marker of a conflict is left between the lines."""
    assert not re.search(r"^(<{7} |={7}$|>{7} )", page.read_text("utf-8"), re.MULTILINE)


def test_the_pages_are_those_of_the_list() -> None:
    """A page that comes, goes or gets another title is seen as a diff."""
    assert pages.listing() == pages.FILE.read_text("utf-8"), "run: python tests/snapshots/pages.py"


@pytest.mark.parametrize("page", ["docs/design.md", "CONTRIBUTING.md"])
def test_places_that_are_named_exist(page: str) -> None:
    """Each path in the text leads to a file or folder of the repository."""
    text = (ROOT / page).read_text("utf-8")
    named = re.findall(r"`((?:chaoskit|tests|docs|scenarios|benchmarks|reports)/[\w./-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert len(named) > 10


def test_every_package_is_on_the_map() -> None:
    """The design has a line for each folder of the package, and for each module on its ground floor."""
    text = (DOCS / "design.md").read_text("utf-8")
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for path in Path(chaoskit.__file__).parent.rglob("__init__.py")
    } - {"chaoskit"}
    modules = {
        f"chaoskit/{path.name}"
        for path in Path(chaoskit.__file__).parent.glob("*.py")
        if not path.name.startswith("__")
    }
    assert sorted(folder for folder in folders if f"| `{folder}/` |" not in text) == [], (
        "give it a line in docs/design.md"
    )
    assert sorted(module for module in modules if f"`{module}`" not in text) == []


def test_the_import_rule_is_drawn_for_every_part() -> None:
    """The picture in the design has each part of the table that tests/test_layers.py holds."""
    tree = ast.parse((ROOT / "tests/test_layers.py").read_text("utf-8"))
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "BELOW"
    )
    assert isinstance(table, ast.Dict)
    parts = {key.value for key in table.keys if isinstance(key, ast.Constant)} - {"__main__"}
    picture = (DOCS / "design.md").read_text("utf-8").partition("```text\n")[2].partition("```")[0]
    assert parts - set(re.findall(r"[a-z]+", picture)) == set()


# The checks above are checked with documents that are wrong.


def broken(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert False\n```\n",
        "```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n",
        "```python\nimport warnings\nwarnings.warn('old')\n```\n",
        "```python no-run\nthis is no Python\n```\n",
        "```python norun\nx = 1\n```\n",
        "```python pytest\ndef test_x():\n    assert False\n```\n",
        "```python pytest\nx = 1\n```\n",
        "```python\nx = 1\n",
        "1. a list\n\n   ```python\n   assert False\n   ```\n",
    ],
)
def test_a_wrong_document_is_caught(text: str, tmp_path: Path) -> None:
    """A block that fails, warns, does not compile, or has no test in it, fails the document."""
    with pytest.raises((AssertionError, SyntaxError)):
        run_page(broken(tmp_path, text), tmp_path)


def test_a_right_document_passes(tmp_path: Path) -> None:
    """Blocks share a namespace; unrun ones do not run; tests are apart from it; data is not Python."""
    text = (
        "```python\nx = 1\n```\n````python\ny = '```'\nassert x == 1\n````\n"
        "```python no-run\n1 / 0\n```\n"
        "```python pytest\ndef test_x():\n    assert 'x' not in globals()\n```\n"
        "```text\n1 / 0\n```\n"
    )
    run_page(broken(tmp_path, text), tmp_path)


def test_a_traceback_names_the_documents_line(tmp_path: Path) -> None:
    """When a block fails, the message shows the document and the line in it."""
    page = broken(tmp_path, "# Title\n\ntext\n\n```python\nx = 1\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match=r'page\.md", line 7'):
        run_page(page, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "make nonsense",
        "chaoskit nonsense",
        "chaoskit config nonsense",
        "chaoskit config check --nope",
        "rm -rf /",
    ],
)
def test_a_wrong_command_is_caught(line: str) -> None:
    """A command, target, sub-command or option that does not exist fails the document."""
    with pytest.raises(AssertionError):
        check_command(line)


def test_right_commands_pass() -> None:
    """Variables before a command, comments behind it, and arguments do no harm."""
    for line in (
        "make test PYTEST='-k x'  # all",
        "A=1 chaoskit config show a.yaml --json",
        "chaoskit --version",
    ):
        check_command(line)


def test_a_wide_example_is_caught(tmp_path: Path) -> None:
    """One column too many in code is found with its line; output of a program is not code."""
    line = "x" * (WIDTH + 1)
    page = broken(tmp_path, f"# T\n\n```python\nx = 1\n{line}\n```\n\n```text\n{line}\n```\n")
    assert too_wide(page) == [f"page.md:5: {WIDTH + 1} columns"]


@pytest.mark.parametrize("link", ["[x](nope.md)", "[x](#nope)", "[x](page.md#nope)", "[x](../nope/)"])
def test_a_wrong_link_is_caught(link: str, tmp_path: Path) -> None:
    """A link to a file or a heading that is not there fails the document; right ones pass."""
    with pytest.raises(AssertionError):
        check_links(broken(tmp_path, f"# A title, here\n\n{link}\n"))
    good = "# A title, here\n\n[x](#a-title-here) [y](page.md) [z](https://example.org/#x) `[c](nope)`\n"
    check_links(broken(tmp_path, good))


def test_wrong_data_is_caught(tmp_path: Path) -> None:
    """A configuration with an unknown option fails the document."""
    with pytest.raises(ValueError, match="nope"):
        check_data(Fence("yaml", ("config",), 1, "nope: 1\n"), tmp_path)
