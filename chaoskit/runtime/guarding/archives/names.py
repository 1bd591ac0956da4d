"""Which names a member may have: one that means the same place on every file system, below the target."""

from __future__ import annotations

import unicodedata

from chaoskit.runtime.failures.taxonomy import ArchiveTooBig, UnsafeArchive

Parts = tuple[str, ...]
"""A path below the target, part by part; empty for the target itself."""

_LONGEST = 255
"""Bytes of one part of a name: NAME_MAX of ext4, XFS and btrfs (limits.h)."""
_SHOWN = 200
"""Characters of a name in a message: one of a pax header may have a million."""
_FORBIDDEN = frozenset('<>:"|?*\\')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "123456789¹²³"}
)
"""Names that Windows takes for devices, with any extension ("Naming Files, Paths, and Namespaces")."""


def checked(name: str, depth: int) -> Parts:
    """The parts of a member's name.

    Refused is what would lead out of the target, and what means something else elsewhere: a colon is a
    stream or a drive on Windows, a trailing dot vanishes there, a control character forges a log line. An
    archive that needs such names was not made to be unpacked by strangers.

    Raises:
        UnsafeArchive: for such a name; it is in the message, escaped.
        ArchiveTooBig: for more directories than ``depth``.
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
    """What speaks against a part of a name; empty if nothing does."""
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
    """A name or target for a message: escaped, and cut where an archive has made it long."""
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def folded(parts: Parts) -> Parts:
    """The same for two paths that are one file on a file system which folds case or composes accents.

    Folding can decompose again what was composed ("ᾳ"), so it is composed once more.
    """
    return tuple(
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold()) for part in parts
    )
