"""Lines of Python as HTML, with classes for keywords, strings and comments."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

COLOURED = ("k", "kn", "kc", "ow", "kr", "s1", "s2", "sd", "sa", "c1")
"""The classes that the page's style has, by the short names of Pygments: keywords, strings, comments."""

_PLAIN = re.compile(rf'<span class="t-(?!(?:{"|".join(COLOURED)})")\w+">([^<]*)</span>')


def highlighted(lines: Sequence[str]) -> list[Markup]:
    """Each line as HTML, escaped and without the common indentation.

    Classes are those of Pygments with the prefix ``t-``: its one-letter names mean other things on the page.
    """
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    text = "\n".join(line[indent:] for line in lines)
    # By default the lexer strips empty lines at both ends, which would shift the numbers.
    lexer = PythonLexer(stripnl=False, ensurenl=False)
    shown: str = highlight(text, lexer, HtmlFormatter(nowrap=True, classprefix="t-"))
    # An element for every name, dot and blank would be half of a finding's size, without a visible effect.
    found = _PLAIN.sub(r"\1", shown).rstrip("\n").split("\n")
    # A string over several lines is one element, but each line of the page must have complete elements.
    return [*map(Markup, _closed(found)), *[Markup()] * (len(lines) - len(found))]


def _closed(lines: Sequence[str]) -> list[str]:
    closed, open_tag = [], ""
    for line in lines:
        whole = open_tag + line
        begins, ends = whole.rfind("<span"), whole.rfind("</span>")
        open_tag = whole[begins : whole.index(">", begins) + 1] if begins > ends else ""
        closed.append(whole + ("</span>" if open_tag else ""))
    return closed
