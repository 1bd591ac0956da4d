"""Turns the name given to a call into a path below the scenario's directory.

Names are looked up as the observed thread would: from its working directory or descriptor, and with its
``/proc/self``. In the result the directory part has its symbolic links resolved, and is spelled as the kernel
spells it.
"""

from __future__ import annotations

import os

from chaoskit.core.operation import ROOT

# O_PATH opens nothing: it does not block on a FIFO, wake a device, or need permission on the file.
_PROBE = os.O_PATH | os.O_CLOEXEC
DELETED = " (deleted)"
"""The mark that the kernel appends to the link of a descriptor whose file has lost its name."""
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_MOST_LINKS = 40
"""How many symbolic links the kernel follows (path_resolution(7))."""


def as_seen(tid: int, base: int | None, raw: str) -> str:
    """A path for this process to what the thread ``tid`` calls ``raw``.

    ``base`` is a descriptor of that thread, or None for its working directory.
    """
    # These names depend on the thread that uses them, which would be ours.
    if raw.startswith("/"):
        for own in ("/proc/self", "/proc/thread-self"):
            if raw == own or raw.startswith(own + "/"):
                return f"/proc/{tid}{raw[len(own) :]}"
        if raw in _STANDARD:
            return f"/proc/{tid}/fd/{_STANDARD[raw]}"
        if raw.startswith("/dev/fd/"):
            return f"/proc/{tid}/fd/{raw[8:]}"
        return raw
    start = f"/proc/{tid}/cwd" if base is None else f"/proc/{tid}/fd/{base}"
    return f"{start}/{raw}" if raw else start


def resolve(path: str, follow: bool) -> str:
    """The path with links resolved, that of the last part only if ``follow``.

    A file that does not exist has the name under which a call would create it: a dangling link is followed to
    its target.
    """
    # A link to itself must not be followed forever.
    for _ in range(_MOST_LINKS):
        found = _link_of(path, _PROBE) if follow else None
        if found is not None:
            return found
        beside = _beside(path) if follow else None
        if beside is None:
            break
        path = beside
    stripped = path.rstrip("/") or "/"
    head, _, tail = stripped.rpartition("/")
    if tail in ("", ".", ".."):
        return _link_of(stripped, _PROBE | os.O_NOFOLLOW) or os.path.normpath(path)
    parent = _link_of(head or "/", _PROBE)
    if parent is None:
        return os.path.normpath(path)
    return f"{parent.rstrip('/')}/{tail}"


def _beside(path: str) -> str | None:
    """Where a symbolic link leads, as a path from here; None for anything else."""
    try:
        return os.path.join(os.path.dirname(path), os.readlink(path))
    except OSError:
        return None


def _link_of(path: str, flags: int) -> str | None:
    try:
        fd = os.open(path, flags)
    except OSError:
        return None
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # Its name is longer than the kernel can return.
        return None
    finally:
        os.close(fd)


def below(root: str, path: str) -> str | None:
    """``path`` relative to ``root``; None if it lies elsewhere."""
    if path.startswith(root):
        if len(path) == len(root):
            return ROOT
        if path[len(root)] == "/":
            return path[len(root) + 1 :]
    return None


def without_mark(link: str, descriptor: str) -> str:
    """A descriptor's link without the mark that the kernel appends when the name is gone.

    A name may itself end like the mark; then it still leads to the file of ``descriptor``.
    """
    if not link.endswith(DELETED):
        return link
    try:
        # A file may really be called "x (deleted)".
        if os.path.samestat(os.lstat(link), os.stat(descriptor)):
            return link
    except OSError:
        pass
    return link[: -len(DELETED)]
