"""Makes text harmless for a terminal, a page and a reader: every character shows itself, or is spelt out."""

from __future__ import annotations

import re

from chaoskit.core.schedule import printable

# C0 except tabs and line ends, DEL and C1 (ECMA-48) move cursors, set titles and fill clipboards. Then come
# characters that are invisible or change the order of the text after them, so that one name may look like
# another (Unicode technical report 36; annex 9 for the bidirectional controls). Last, code points that will
# never be characters, which no page of HTML may hold (The Unicode Standard, 23.7).
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\ufdd0-\ufdef\ufffe\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    + "".join(f"{chr(0x10000 * plane + 0xFFFE)}{chr(0x10000 * plane + 0xFFFF)}" for plane in range(1, 17))
    + "]"
)


def visible(text: str) -> str:
    """``text`` with characters that cannot be seen spelt out (``\\x1b``); tabs and line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    # A byte that is not UTF-8 cannot be written at all, and is spelt as schedules spell it.
    return _HIDDEN.sub(_spelt, printable(text))


def on_one_line(text: str) -> str:
    """The same on one line, for names: a line end in a name must not forge a line of its surroundings."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _spelt(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
