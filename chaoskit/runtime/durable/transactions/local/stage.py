"""The members of a transaction while they are collected, in a directory that no reader opens."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.durable.files.marking import mark
from chaoskit.runtime.durable.files.reading import open_regular
from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.durable.files.syncing import sync_tree
from chaoskit.runtime.durable.transactions.contents import PIECE, TransactionFiles
from chaoskit.runtime.durable.transactions.local.workspace import Workspace, open_directory
from chaoskit.runtime.durable.transactions.places import Content
from chaoskit.runtime.durable.transactions.records import TransactionMember, member_name

__all__ = ["LocalStage", "opened", "source_of"]


class LocalStage:
    """A stage in a workspace. ``base`` is the generation that was published when it began."""

    def __init__(self, workspace: Workspace, id: str, *, base: str | None, reserved: str) -> None:
        self.id, self.base = id, base
        self.members: dict[str, TransactionMember] = {}
        self._workspace, self._reserved = workspace, reserved
        workspace.make()
        with named_refusals("stage a transaction in", workspace.folder):
            self.generation = self._new()
        self.folder = workspace.stage(self.generation)
        self._descriptor = open_directory(self.folder)
        if self._descriptor is not None:
            mark(self._descriptor)

    def _new(self) -> str:
        while True:
            generation = self._workspace.new_generation(self.id)
            # Another thread may have begun the same transaction at the same time.
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._workspace.stage(generation))
                return generation

    def add(self, name: str, content: Content) -> TransactionMember:
        """Write one member into the stage.

        Raises:
            UsageError: the name is staged already, or no member can have it.
            DiskFull, OSError: the member could not be written; the transaction can continue without it.
        """
        if member_name(name, self._reserved) in self.members:
            raise UsageError(f"the transaction {self.id!r} has {name!r} already; expected each name once.")
        path = self.folder / name
        with named_refusals("stage", path):
            os.makedirs(path.parent, exist_ok=True)
            try:
                member = self._write(name, path, content)
            except BaseException:
                # Otherwise the half-written file would be published together with the rest of the stage.
                with contextlib.suppress(OSError):
                    path.unlink()
                raise
        self.members[name] = member
        return member

    def _write(self, name: str, path: Path, content: Content) -> TransactionMember:
        state, size = hashlib.sha256(), 0
        with source_of(content) as source, open(path, "xb", buffering=0) as file:
            while piece := source.read(PIECE):
                state.update(piece)
                size += len(piece)
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
        return TransactionMember(name, size, f"sha256:{state.hexdigest()}")

    def view(self) -> TransactionFiles:
        """The staged members, for validators."""
        where = f"the staged transaction {self.id!r}"
        return TransactionFiles(dict(self.members), functools.partial(opened, self.folder), where)

    def prepare(self) -> None:
        """Make every member durable."""
        if self._workspace.options.sync:
            with named_refusals("sync", self.folder):
                sync_tree(self.folder)
                self._workspace.sync()

    def close(self) -> None:
        """Remove the mark that tells other processes that the stage is in use."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # It carried the mark, and no data: an error would hide that the transaction is decided.
            with contextlib.suppress(OSError):
                os.close(descriptor)


def opened(folder: Path, member: TransactionMember) -> IO[bytes]:
    """The content of a member in ``folder``, open for reading."""
    return open(folder / member.name, "rb")


@contextlib.contextmanager
def source_of(content: Content) -> Iterator[IO[bytes]]:
    """The content as a binary file.

    Raises:
        UsageError: it is not one of the kinds of content.
    """
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes | bytearray | memoryview):
        yield io.BytesIO(content)
    elif isinstance(content, os.PathLike):
        with open_regular(content) as file:
            yield file
    elif hasattr(content, "read"):
        yield content
    else:
        raise wrong("data", content, "bytes, text, a Path or an open binary file")
