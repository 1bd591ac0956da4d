"""Packs a project's files into an archive, for hosts with ``code=here``.

Equal files make equal bytes, so a host keeps an archive under its digest and receives it once.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chaoskit.core.errors import UsageError

LARGEST = 256 << 20
"""The most bytes that all files may have together: more is hardly code."""


class SentCode(NamedTuple):
    """A tar file, and its SHA-256 in hexadecimal."""

    digest: str
    data: bytes


def packed(root: Path) -> SentCode:
    """The files below ``root``: in a Git work tree all that is not ignored, elsewhere all that is not hidden.

    Raises:
        UsageError: they are larger than :data:`LARGEST`, or cannot be read.
    """
    buffer, size = io.BytesIO(), 0
    try:
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name in sorted(_tracked(root) or _visible(root)):
                size += _add(archive, root / name, name)
                if size > LARGEST:
                    raise UsageError(
                        f"the files below {root} have more than {LARGEST >> 20} MiB; expected a project's "
                        "code. List data in .gitignore, or copy the project to the host and name chdir=."
                    )
    except OSError as error:
        raise UsageError(
            f"the code below {root} cannot be read: {error}; expected files to send. Copy the project "
            "to the host, and name its directory there with chdir=."
        ) from error
    if not size:
        raise UsageError(f"there is no file to send below {root}; expected the code of a project.")
    data = buffer.getvalue()
    return SentCode(hashlib.sha256(data).hexdigest(), data)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> int:
    """Add one file, and return its size in bytes."""
    info = archive.gettarinfo(path, name)
    # Owner and time are not content, and the umask decides every bit of the mode but the right to execute.
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.mode & 0o100 else 0o644
    if not info.isreg():
        archive.addfile(info)
        return 0
    with path.open("rb") as file:
        archive.addfile(info, file)
    return info.size


def _tracked(root: Path) -> list[str]:
    """The files that Git tracks or would add; none without a work tree or without Git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    names = {os.fsdecode(name) for name in listed.split(b"\0") if name}
    # A tracked file may have been removed, and a submodule is a directory.
    paths = {name: root / name for name in names if os.path.lexists(root / name)}
    return [name for name, path in paths.items() if path.is_symlink() or not path.is_dir()]


def _visible(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name != "__pycache__"
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        ]
        for path in (Path(folder, name) for name in (*folders, *files)):
            # Sockets and devices are not code; a link to a directory is listed here too.
            if path.is_symlink() or path.is_file():
                yield str(path.relative_to(root))
