"""A file that is written beside its target, until it is published or discarded."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called
from chaoskit.runtime.durable.files.marking import mark
from chaoskit.runtime.durable.files.names import unfinished_name
from chaoskit.runtime.durable.files.renaming import Unsupported, identity, rename, rename_to_free_name
from chaoskit.runtime.durable.files.syncing import sync_directory, sync_file
from chaoskit.runtime.durable.levels import Durability, check_durability
from chaoskit.runtime.failures.stored import OutcomeUnknown
from chaoskit.runtime.failures.taxonomy import StorageError, TransactionValidationError
from chaoskit.runtime.numbers import is_whole

__all__ = ["StagedFile", "Validator", "accept", "sync_published"]

Validator: TypeAlias = Callable[[Path], object]
"""Checks the complete content before it is published; refuses it by raising, or by returning False."""


class StagedFile:
    """A new file, hidden beside ``path``, to be written through ``descriptor``.

    If ``path`` is a link, the link stays, and the file that it points to is replaced. The new file's mode is
    ``mode`` if given, else that of the file it replaces, else 0o666 less the umask.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability,
        exclusive: bool = False,
        mode: int | None = None,
    ) -> None:
        self._durability = check_durability(durability)
        # Strictly a bool: a value that merely counts as true, such as "no", would choose the wrong branch.
        self._exclusive = kinds.switch("exclusive", exclusive)
        if mode is not None and not is_whole(mode):
            raise wrong("mode", mode, "permissions such as 0o640, or None")
        self._target = _target(kinds.path("path", path), exclusive)
        self._mode = mode if mode is not None else _mode_of(self._target)
        self.path = unfinished_name(self._target)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        # A private file must be private from its first byte on, not only once it is complete.
        descriptor = os.open(self.path, flags, 0o666 if self._mode is None else 0o600)
        try:
            self.descriptor, self._open = descriptor, True
            mark(descriptor)
        except BaseException:
            # An interrupt, for example, or no memory. The caller has no object yet that it could discard.
            os.close(descriptor)
            os.unlink(self.path)
            raise

    def publish(self, validate: Validator | None = None) -> None:
        """Give the file its name. An error before the rename leaves the target as it was.

        Raises:
            OutcomeUnknown: the file has its name, but a power loss may bring the old one back.
            TransactionValidationError: ``validate`` returned False.
        """
        accept(validate, self.path)
        if self._mode is not None:
            os.chmod(self.path, self._mode)
        if self._durability == "power-loss":
            sync_file(self.descriptor)
        # Closed before the rename: a network share may report a failed write only at close.
        self._open = False
        os.close(self.descriptor)
        if self._exclusive:
            _to_free_name(self.path, self._target)
        else:
            rename(self.path, self._target)
        if self._durability == "power-loss":
            sync_published(self._target)

    def discard(self) -> None:
        """Remove the file if possible. If not, ``clean_leftovers`` recognizes it by its name later."""
        with contextlib.suppress(OSError):
            if self._open:
                self._open = False
                os.close(self.descriptor)
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def accept(validate: Validator | None, path: Path) -> None:
    """Ask ``validate``, if there is one.

    Raises:
        TransactionValidationError: it returned False. An error that it raises is passed on unchanged.
    """
    # ``called`` refuses coroutines: an async validator would otherwise accept everything.
    if validate is not None and called("validate", validate, path) is False:
        raise TransactionValidationError(f"the validator {validate!r} refused the content of {str(path)!r}")


def sync_published(target: Path) -> None:
    """Make the change of a name in the directory of ``target`` durable.

    Raises:
        OutcomeUnknown: the change was made, but may not survive a power loss.
    """
    try:
        sync_directory(target.parent)
    except StorageError as error:
        # Its own hint: the same change again would end in the same way.
        raise OutcomeUnknown(f"{str(target)!r} was changed, but {error.message}", hint=error.hint) from error
    except OSError as error:
        raise OutcomeUnknown(
            f"{str(target)!r} was changed, but its directory could not be synced: {error.strerror or error}",
            hint="A power loss may bring the old state back. Make the same change again.",
        ) from error


def _target(path: str | os.PathLike[str], exclusive: bool) -> Path:
    """The file to write, absolute: the working directory may change before it is published."""
    given = Path(os.path.abspath(path))
    if not given.name:
        raise wrong("path", os.fspath(path), "the path of a file")
    if exclusive:
        if os.path.lexists(given):
            raise FileExistsError(errno.EEXIST, "it exists, and exclusive=True was asked for", str(given))
        return given
    target = Path(os.path.realpath(given))
    # One stat answers both questions. Between two, the name may be gone for a moment on a network share.
    kind = _kind_of(target)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(
            errno.EISDIR, "it is a directory; expected a file or a free name", str(target)
        )
    if kind not in (None, stat.S_IFREG):
        # As root, renaming a file over /dev/null would succeed, and break the machine.
        raise wrong("path", os.fspath(path), "a regular file or a free name", "Open it and write to it.")
    return target


def _kind_of(target: Path) -> int | None:
    """The type bits of the target's mode; None if the name is free."""
    try:
        return stat.S_IFMT(os.stat(target).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _mode_of(target: Path) -> int | None:
    try:
        return stat.S_IMODE(os.stat(target).st_mode)
    except FileNotFoundError:
        return None


def _to_free_name(source: Path, target: Path) -> None:
    try:
        rename_to_free_name(source, target)
    except Unsupported:
        # link(2) also refuses a name that is taken. Where there are no hard links either, it fails.
        before = identity(source)
        try:
            os.link(source, target)
        except OSError:
            if before is None or identity(target) != before:
                raise
        with contextlib.suppress(OSError):
            os.unlink(source)
