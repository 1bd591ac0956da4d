"""A damage in words, for people who have never seen its label."""

from __future__ import annotations

import re
from collections.abc import Mapping

_WHOLE: Mapping[str, str] = {
    "absolute": "has a member with an absolute name",
    "alias-bomb": "has six lines of aliases that stand for a million values",
    "alone": "is all that is left",
    "array-of-it": "is the only element of an array",
    "backslash": "has a member whose name leads out of the directory by a backslash",
    "blank": "is blank",
    "bomb": "is small and unpacks to 64 MiB",
    "byte-order-mark": "begins with a byte order mark",
    "class-missing": "needs a class that does not exist",
    "code": "calls a function when it is loaded",
    "deep": "is nested deeper than any parser goes",
    "device": "has a member that is a device",
    "directory-over-file": "has a directory with the name of a file",
    "doubled": "is there twice, one after the other",
    "drive": "has a member with the name of a drive",
    "dropped": "is left out",
    "duplicate": "has two members of one name",
    "duplicate-key": "has one key twice",
    "empty": "is empty",
    "fields.empty": "has only empty fields",
    "field.added": "has one field too many",
    "field.huge": "has a field of 200,000 characters",
    "field.missing": "has one field too few",
    "fifo": "has a member that is a FIFO",
    "flag.extra-field": "claims an extra field that is not there",
    "flag.reserved": "has a flag set that is reserved",
    "flag.utf8": "has the flag changed that says how its name is encoded",
    "formula": "has a formula as its first field",
    "frame.huge": "has a frame longer than any memory",
    "hardlink-out": "has a hard link that leads out of the directory",
    "indented": "is indented by one blank more",
    "large": "is a number of 30 digits",
    "latin1": "has a character in Latin-1",
    "length.huge": "claims a length longer than the file",
    "length.plus-1": "claims a length that is one byte too long",
    "length.zero": "claims a length of zero",
    "level": "has a level of compression that does not exist",
    "line-end.missing": "lacks its last line end",
    "line-ends.cr": "has carriage returns for line ends",
    "line-ends.crlf": "has the line ends of Windows",
    "list": "is a list instead",
    "long": "is a mebibyte longer",
    "long-name": "has a member with a name of 5,000 characters",
    "magic.encrypted": "has the mark of an encrypted one",
    "method": "has a method of compression that does not exist",
    "misdirected": "holds what belongs to another page",
    "missing": "is missing",
    "module-missing": "needs a module that does not exist",
    "name-not-utf8": "has a member whose name is not UTF-8",
    "nan": "is NaN",
    "negative": "is -1",
    "no-colon": "has lost its colon",
    "norway": "has the value 'no'",
    "not-utf8": "has a byte that is not UTF-8",
    "nul": "has a NUL",
    "null": "is null",
    "one-block": "has one block of zeroes instead of two",
    "open-quote": "has a quote that is never closed",
    "overflow": "is 1e999, too large for a float",
    "padding": "is padded with zeroes, as it may be",
    "padding.bad": "is padded with a number of zeroes that is not allowed",
    "protocol-99": "has a protocol that does not exist",
    "quote.line-end": "has a line end in a quoted field",
    "quote.open": "has a quote that is never closed",
    "reordered": "has its columns in another order",
    "second-member": "has a second member behind the first",
    "second-stream": "has a second stream behind the first",
    "semicolons": "has semicolons for what separates its fields",
    "size.garbage": "has a size that is not a number",
    "size.huge": "claims a size larger than the file",
    "size.negative": "claims a negative size",
    "size.plus-1": "claims a size that is one byte too large",
    "string": "is a string instead",
    "surrogate": "is half of a surrogate pair",
    "symlink-out": "has a link that leads out of the directory",
    "tab": "is indented with a tab",
    "tag": "has a tag that calls a function",
    "tail.garbage": "has garbage at its end",
    "too-long": "is a number of 5,000 digits",
    "torn": "has only its first 512 bytes, then zeroes",
    "traversal": "has a member whose name leads out of the directory",
    "twice": "is there twice",
    "two-documents": "has a second document behind the first",
    "unknown": "has another name",
    "utf16": "is in UTF-16",
    "zero": "is 0",
    "zeros": "is all zeroes",
    "zeros.all": "is all zeroes",
    "zeros.header": "has a header of zeroes",
    "zeros.last-sector": "has zeroes in its last 512 bytes",
    "zeros.middle": "has zeroes in its middle",
    "zeros.second-half": "has zeroes in its second half",
    "commas": "has commas for semicolons",
    "empty-object": "is an object without keys",
    "halved": "has lost its second half",
    "joined": "has lost its line end",
    "cut": "is cut off",
    "cut.half": "is cut off after the first half",
    "cut.all-but-1": "lacks its last byte",
    "cut.before": "is cut off, with all that follows",
    "offset.huge": "claims a place beyond the end of the file",
}
"""What happened to the structure that was hit, or to the file."""

_STRUCTURE = re.compile(r"(?P<word>.+?)(?P<number>\d+)?")
_NAMES = {"op": "opcode", "pages": "the middle part"}


def in_words(label: str) -> str:
    """A clause such as ``entry 1 of the zip file has a flipped bit in its crc``.

    For an unknown structure or kind, as of a project's own format, the words are those of the label.
    """
    containers, _, rest = label.rpartition("/")
    name, _, damage = rest.partition(".")
    whole = "the file" if name == "file" else f"the {name} file"
    if containers:
        whole = (
            f"what the {containers} file holds"
            if name == "file"
            else f"the {name} file in the {containers} file"
        )
    structure, _, kind = damage.partition(".")
    if damage in _WHOLE or _by_place(damage):
        return f"{whole} {_clause(damage)}"
    if structure in ("hostile", ""):
        return f"{whole} {_clause(kind)}"
    return f"{_structure(structure)} of {whole} {_clause(kind)}"


def _structure(name: str) -> str:
    found = _STRUCTURE.fullmatch(name)
    word = _NAMES.get(found["word"], found["word"]) if found else name
    number = f" {found['number']}" if found and found["number"] else ""
    return f"{word.replace('-', ' ')}{number}"


def _clause(kind: str) -> str:
    return _WHOLE.get(kind) or _by_place(kind) or kind.replace(".", " ").replace("-", " ")


def _by_place(kind: str) -> str:
    """The clause of a cut or flipped bit, made from the place's name; empty for everything else."""
    how, _, place = kind.partition(".")
    place = place.replace("-", " ").replace(".", " ").replace("_", " ")
    if how == "flip" and place:
        return f"has a flipped bit in its {place}"
    if how == "cut" and place.isdigit():
        return f"is cut off after {place} bytes" if place != "1" else "is cut off after 1 byte"
    if how == "cut" and place:
        return f"is cut off at its {place.removeprefix('before ')}"
    return ""
