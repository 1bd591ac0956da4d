"""The pages of the documents in the order of their contents, each with its title and the shelf it stands on.

Written by: python tests/snapshots/pages.py

A page that is renamed breaks the links of others to it, so a change of the list is seen in review.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

FILE = Path(__file__).with_suffix(".txt")
DOCS = Path(__file__).resolve().parents[2] / "docs"


def toctrees(page: Path) -> Iterator[tuple[str, list[Path]]]:
    """The tables of contents on a page: caption, and the pages listed, with globs expanded."""
    for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        caption = re.search(r"^:caption: (.*)$", block, re.MULTILINE)
        entries = [line for line in block.splitlines() if line and not line.startswith(":")]
        found = []
        for entry in entries:
            paths = sorted(page.parent.glob(f"{entry}.md")) if "*" in entry else [page.parent / f"{entry}.md"]
            found += [path for path in paths if path != page]
        yield caption[1] if caption else "", found


def contents(page: Path = DOCS / "index.md", shelf: str = "") -> Iterator[tuple[str, Path]]:
    """Every page that can be reached through the contents, with the caption above it, in reading order."""
    for caption, pages in toctrees(page):
        for one in pages:
            yield caption or shelf, one
            yield from contents(one, caption or shelf)


def title(page: Path) -> str:
    """The first heading, which an included file may have."""
    text = page.read_text("utf-8")
    heading = re.search(r"^# (.*)$", text, re.MULTILINE)
    if heading:
        return heading[1]
    included = re.search(r"```\{include\} (\S+)", text)
    return title((page.parent / included[1]).resolve()) if included else ""


def listing() -> str:
    """The whole text: one line a page."""
    lines = [f"{shelf}: {page.relative_to(DOCS).as_posix()}: {title(page)}" for shelf, page in contents()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(listing(), "utf-8")
    print(f"wrote {FILE}")
