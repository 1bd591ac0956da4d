"""The names that a member may have: each leads to the same place below the target on every file system."""

from __future__ import annotations

import unicodedata

from chaoskit.runtime.failures.taxonomy import ArchiveTooBig, UnsafeArchive

Parts = tuple[str, ...]
"""The parts of a path below the target; empty for the target itself."""

_LONGEST = 255
"""The most bytes of one part of a name: NAME_MAX of ext4, XFS and btrfs (limits.h)."""
_SHOWN = 200
"""The most characters of a name in a message: a name in a pax header may have a million."""
_FORBIDDEN = frozenset('<>:"|?*\\')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "123456789¹²³"}
)
"""Names that are devices on Windows, with any extension ("Naming Files, Paths, and Namespaces")."""


def checked(name: str, depth: int) -> Parts:
    """Split a member's name into its parts.

    A name that would lead out of the target is refused. So is one that means something else on another
    system: on Windows a colon names a stream or a drive, and a trailing dot vanishes. So is one with a
    control character, which could forge a line of the log. An archive that needs such names was not made for
    other people's machines.

    Raises:
        UnsafeArchive: the name is refused; the message quotes it, escaped.
        ArchiveTooBig: the name has more directories than ``depth``.
    """
    if not name:
        raise UnsafeArchive("a member has no name")
    if name.startswith("/"):
        raise UnsafeArchive(f"the name {shown(name)} is absolute")
    parts = name.removesuffix("/").split("/")
    if parts[0] == ".":  # "./a" is what `tar c .` writes; "." alone is the target itself.
        del parts[0]
    for part in parts:
        why = _wrong_with(part)
        if why:
            raise UnsafeArchive(f"the name {shown(name)} {why}")
    if len(parts) > depth + 1:
        raise ArchiveTooBig(f"the name {shown(name)} has {len(parts) - 1} directories; the limit is {depth}")
    return tuple(parts)


def _wrong_with(part: str) -> str:
    """Say what is wrong with a part of a name; return an empty text if nothing is."""
    if part in ("", ".", ".."):
        return f"has the part {part!r}"
    if not part.isprintable():
        return "has a character that cannot be printed, or bytes that do not decode"
    if not _FORBIDDEN.isdisjoint(part):
        return f"has one of the characters {' '.join(sorted(_FORBIDDEN & set(part)))}"
    if part[-1] in ". ":
        return "has a part that ends with a dot or a space"
    if part.split(".")[0].rstrip(" ").lower() in _DEVICES:
        return "is that of a device on Windows"
    if len(part.encode()) > _LONGEST:
        return f"has a part of more than {_LONGEST} bytes"
    return ""


def shown(name: str) -> str:
    """A name or target for a message: escaped, and shortened if the archive made it long."""
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def folded(parts: Parts) -> Parts:
    """A key that is the same for all paths that mean one file where case or Unicode composition is ignored.

    Case folding can decompose a composed character again ("ᾳ"), so the result is composed a second time.
    """
    return tuple(
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold()) for part in parts
    )
