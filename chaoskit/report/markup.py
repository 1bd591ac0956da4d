"""Markdown that is escaped by construction: text becomes markup here and nowhere else.

:class:`Markup` is text that is Markdown already. :func:`md` fills a template, and escapes whatever is not
:class:`Markup`, so that a name shows as it is, and adds no heading, link or row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import indent

from chaoskit.report.visible import visible


class Markup(str):
    """Text that is Markdown: made only by the functions of this module."""

    __slots__ = ()


def md(template: str, *parts: object) -> Markup:
    """``template``, which is Markdown, with ``parts`` for each ``{}``, escaped unless they are Markup."""
    return Markup(template.format(*map(_markup, parts)))


def joined(separator: str, parts: Iterable[object]) -> Markup:
    """All of ``parts`` with the Markdown ``separator`` between them; everything but Markup is escaped."""
    return Markup(separator.join(map(_markup, parts)))


def escape(text: str) -> Markup:
    """Plain text on one line, with every character escaped that means something to Markdown or HTML."""
    # A node id may contain brackets and underscores, which Markdown would interpret.
    escaped = re.sub(r"([\\`*_\[\]<>#~&])", r"\\\1", _on_one_line(text))
    # Some hosts turn addresses into links; and some characters begin a list at the start of a line.
    escaped = re.sub(r"(?i)\b(https?|ftp)://", r"\1\\://", escaped)
    return Markup(re.sub(r"^([-+=](?=[\s=-])|\d+(?=[.)]\s))", _not_a_list, escaped))


def _not_a_list(match: re.Match[str]) -> str:
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"


def code(text: str) -> Markup:
    """Text in code style, on one line, between more backticks than it has in succession."""
    line = _on_one_line(text)
    fence = "`" * (_longest_run(line) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return Markup(f"{fence}{padding}{line}{padding}{fence}" if line else "")


def block(text: str, limit: int) -> Markup:
    """Text as a code block. After ``limit`` characters it is cut, and the block says so."""
    text = visible(text)
    if len(text) > limit:
        # Keep the beginning: the first lines say what broke.
        text = f"{text[:limit]}\n… {len(text) - limit:,} more characters; the JSON has all."
    # Longer than any in the text, which would end the block.
    fence = "`" * max(3, _longest_run(text) + 1)
    return Markup(f"{fence}text\n{text.rstrip()}\n{fence}")


def below_item(block: Markup) -> Markup:
    """A block, indented to belong to a list item."""
    return Markup("\n" + indent(block, "  "))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table; cells are escaped unless they are Markup."""
    lines = [_row(map(Markup, head)), _row([Markup("---")] * len(head)), *map(_row, rows)]
    return Markup("\n".join(lines))


def _row(cells: Iterable[object]) -> str:
    # A bar ends a cell even in code style.
    texts = (_markup(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(texts) + " |"


def _markup(part: object) -> Markup:
    return part if isinstance(part, Markup) else escape(str(part))


def _on_one_line(text: str) -> str:
    return visible(" ".join(text.split()))


def _longest_run(text: str) -> int:
    return max(map(len, re.findall(r"`+", text)), default=0)
