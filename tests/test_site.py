"""The site that is made of the documents: no warning, no dead link, and every promised name in the index."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import budgets
import pytest

import chaoskit

pytestmark = budgets.once

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SURFACE = (ROOT / "tests/snapshots/public_surface.txt").read_text("utf-8")


def public_modules() -> dict[str, Path]:
    """The modules that have a page in the API reference."""
    found = {}
    for page in (DOCS / "reference/api").glob("*.md"):
        for name in re.findall(r"```\{public\} (\S+)", page.read_text("utf-8")):
            found[name] = page
    return found


def test_every_module_of_the_surface_has_a_page() -> None:
    """Whatever module the list of promises names is in the API reference."""
    parents = {found.rpartition(".")[0] for found in re.findall(r"^(chaoskit[\w.]*)", SURFACE, re.MULTILINE)}
    modules = {name for name in parents if name and not re.search(r"\.[A-Z]", name)}
    assert modules == set(public_modules())


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
    # Without names in the contents of a page: the theme would compute those of all pages for each page.
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command += ["-D", "toc_object_entries=0"]
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
        listed = re.findall(rf"^{re.escape(module)}\.(\w+)(?=[(:])(?!: module)", SURFACE, re.MULTILINE)
        names = {f"{module}.{name}" for name in listed}
        if module == "chaoskit.runtime":  # What both libraries export has one entry.
            names -= {f"{module}.{name}" for name in chaoskit.__all__}
        assert names, module
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
