"""The documents as a whole: pages on their shelves, names in the reference, a site without a warning."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest

import chaoskit

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGE = Path(chaoskit.__file__).parent
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


def written() -> set[Path]:
    """Every page that was written by hand or by a script of ours."""
    return {path for path in DOCS.rglob("*.md") if "_build" not in path.parts}


def test_every_page_is_in_the_contents_once() -> None:
    """No page is lost, and none is listed that does not exist."""
    found = [page for _, page in pages.contents()]
    assert len(found) == len(set(found))
    assert set(found) == written() - {DOCS / "index.md"}


def test_every_page_stands_on_its_shelf() -> None:
    """The caption above a page is that of its folder."""
    for shelf, page in pages.contents():
        assert shelf == SHELVES[page.relative_to(DOCS).parts[0] if page.parent != DOCS else "."], page


def test_the_pages_are_those_of_the_list() -> None:
    """A page that comes, goes or gets another title is seen as a diff."""
    assert pages.listing() == pages.FILE.read_text("utf-8"), "run: python tests/snapshots/pages.py"


def public_modules() -> dict[str, Path]:
    """The modules that have a page in the API reference."""
    found = {}
    for page in (DOCS / "reference/api").glob("*.md"):
        for name in re.findall(r"```\{public\} (\S+)", page.read_text("utf-8")):
            found[name] = page
    return found


def test_every_module_that_users_import_has_a_page() -> None:
    """What the documents tell users to import comes from a module with a page, or from below the runtime."""
    documented = public_modules()
    for module in documented:
        assert import_module(module).__all__, module
    for page in written() | {ROOT / "README.md"}:
        for name in re.findall(r"^\s*from (chaoskit[\w.]*) import", page.read_text("utf-8"), re.MULTILINE):
            parts = name.split(".")
            assert ".".join(parts[:2]) in documented, f"{page.name}: {name}"


# The design and the guide for contributors name places of the code: each of them is there.


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
    folders = {path.parent.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("__init__.py")} - {
        "chaoskit"
    }
    modules = {f"chaoskit/{path.name}" for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert sorted(folder for folder in folders if f"| `{folder}/` |" not in text) == []
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


# The site as it is built.


class Anchors(HTMLParser):
    """The ids on a page, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if identity := values.get("id"):
            self.ids.add(identity)
        if tag == "a" and (target := values.get("href")):
            self.links.add(target)


def dead_links(site: Path) -> Iterator[str]:
    """Each link between pages whose file or anchor is not there."""
    found = {}
    for path in site.rglob("*.html"):
        found[path] = Anchors()
        found[path].feed(path.read_text("utf-8"))
    for path, anchors in found.items():
        for link in anchors.links:
            if re.match(r"[a-z]+:", link) or link == "#":
                continue
            file, _, anchor = unquote(link).partition("#")
            other = (path.parent / file).resolve() if file else path
            if other not in found or (anchor and anchor not in found[other].ids):
                yield f"{path.relative_to(site)}: {link}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents as HTML, built with every warning as an error."""
    pytest.importorskip(
        "sphinx", reason="the group docs is not installed; make lint and make docs install it"
    )
    folder = tmp_path_factory.mktemp("site").resolve()
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_no_link_of_the_site_is_dead(site: Path) -> None:
    """Every link between pages, to the contents and to a name in the API leads to something."""
    assert sorted(dead_links(site)) == []


def test_the_index_has_every_promised_name(site: Path) -> None:
    """Each name of each public module is in the API reference, where the index and the search find it."""
    for module, page in public_modules().items():
        ids = Anchors()
        ids.feed((site / page.relative_to(DOCS)).with_suffix(".html").read_text("utf-8"))
        loaded = import_module(module)
        modules = {name for name in loaded.__all__ if isinstance(getattr(loaded, name), type(sys))}
        names = {f"{module}.{name}" for name in loaded.__all__ if name not in modules}
        assert names - ids.ids == set(), module
        index = (site / "genindex.html").read_text("utf-8")
        assert [name for name in names if f'#{name}"' not in index] == []


def test_a_dead_link_is_caught(tmp_path: Path) -> None:
    """A missing page and a missing anchor are found; what is there is not."""
    (tmp_path / "a.html").write_text(
        '<p id="x"><a href="b.html#y">1</a><a href="c.html">2</a><a href="#x">3</a>'
    )
    (tmp_path / "b.html").write_text('<p id="z"><a href="a.html#x">4</a><a href="https://example.org/">5</a>')
    assert sorted(dead_links(tmp_path)) == ["a.html: b.html#y", "a.html: c.html"]
