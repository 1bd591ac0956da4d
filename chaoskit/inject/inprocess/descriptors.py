"""The open files of a workload, and their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from chaoskit.inject.inprocess.machine import HostMachine


@dataclass(frozen=True, slots=True)
class OpenFile:
    """One open file: its name in operations, its path, and its open flags."""

    target: str
    path: str
    flags: int
    by_object: bool = False
    """True if a file object will close it, so that it is not a forgotten descriptor."""


class Descriptors:
    """The descriptors opened below a root since a run began.

    Operations on earlier ones are not seen.
    """

    def __init__(self, root: str, machine: HostMachine) -> None:
        self._root = root
        self._machine = machine
        self._open: dict[int, OpenFile] = {}
        self._directories: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[int, OpenFile]]:
        return iter(list(self._open.items()))

    def get(self, fd: object) -> OpenFile | None:
        """The open file of ``fd``, if it was opened below the root."""
        return self._open.get(fd) if isinstance(fd, int) else None

    def opened(self, fd: int, file: OpenFile) -> None:
        self._open[fd] = file

    def owned(self, fd: int) -> None:
        """A file object has taken over ``fd``."""
        if fd in self._open:
            self._open[fd] = replace(self._open[fd], by_object=True)

    def closed(self, fd: int) -> None:
        self._open.pop(fd, None)

    def renamed(self, old: str, new: str) -> None:
        """Follow a rename, also for open files, and for everything below a directory."""
        self.forget_names()
        for fd, file in self:
            if file.target == old or file.target.startswith(f"{old}/"):
                self._open[fd] = replace(file, target=new + file.target[len(old) :])

    def forget_names(self) -> None:
        """Forget resolved paths: a directory or link was made or removed, so a path may lead elsewhere."""
        self._directories.clear()

    def resolved(self, path: Any, dir_fd: int | None = None, follow: bool = False) -> str | None:
        """The absolute path that a name leads to; None for no name, or one below an unknown descriptor.

        A link as the last part is followed if ``follow``; one in a directory always.
        """
        try:
            text = os.fsdecode(os.fspath(path))
        except TypeError:
            return None
        if dir_fd is not None:
            base = self._open.get(dir_fd)
            if base is None:
                return None
            text = os.path.join(base.path, text)
        paths = self._machine.os.path
        text = str(paths.abspath(text))
        if follow and paths.islink(text):
            return str(paths.realpath(text))
        directory, _, name = text.rpartition(os.sep)
        real = self._directories.get(directory)
        if real is None:
            real = self._directories[directory] = str(paths.realpath(directory or os.sep))
        return os.path.join(real, name) if name else real

    def below(self, path: str | None) -> str | None:
        """The name of ``path`` in operations; None if it is outside the root."""
        if path is None:
            return None
        if path == self._root:
            return "."
        if not path.startswith(self._root + os.sep):
            return None
        name = path[len(self._root) + 1 :]
        return name if os.sep == "/" else name.replace(os.sep, "/")
