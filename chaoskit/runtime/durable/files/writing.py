"""Whole files: a reader sees the old content or the new one, never a mixture, and never an empty file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import IO, Any, Literal, TypeAlias, overload

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.durable.files.staging import StagedFile, Validator
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability

__all__ = ["open_atomic", "write_buffers", "write_file"]

Bytes: TypeAlias = bytes | bytearray | memoryview


def write_file(
    path: str | os.PathLike[str],
    data: Bytes | str,
    *,
    durability: Durability = DEFAULT_DURABILITY,
    validate: Validator | None = None,
    exclusive: bool = False,
    mode: int | None = None,
) -> None:
    """Give a file this content, or leave it as it is.

    When this returns, the content survives the crash that ``durability`` names. Text is written as UTF-8,
    without changing its line endings. ``validate`` gets the path of the complete new file before it is
    published. With ``exclusive`` the name must be free. The new file takes over the permissions of the one it
    replaces, unless ``mode`` is given, but not its owner, access lists or other hard links.

    Raises:
        OutcomeUnknown: the new content is in place, but a power loss may bring the old one back.
        FileExistsError: the name is taken, and ``exclusive`` was given.
        TransactionValidationError: ``validate`` returned False.
        DiskFull, OSError: the file is as it was.
    """
    # Before anything is touched: encoding raises if the text holds a lone surrogate.
    content = data.encode() if isinstance(data, str) else data
    try:
        memoryview(content)
    except TypeError:
        raise wrong("data", data, "bytes, or a text") from None
    write_buffers(path, [content], durability=durability, validate=validate, exclusive=exclusive, mode=mode)


def write_buffers(
    path: str | os.PathLike[str],
    buffers: Iterable[Bytes],
    *,
    durability: Durability = DEFAULT_DURABILITY,
    validate: Validator | None = None,
    exclusive: bool = False,
    mode: int | None = None,
) -> None:
    """As ``write_file``, for content in several pieces, which are written one after another."""
    synchronous("validate", validate)
    with named_refusals("write", path):
        staged = StagedFile(path, durability=durability, exclusive=exclusive, mode=mode)
        try:
            for buffer in buffers:
                _write(staged.descriptor, buffer)
            staged.publish(validate)
        except BaseException:
            staged.discard()
            raise


def _write(descriptor: int, data: Bytes) -> None:
    """Write all of ``data``: a single call may write only part of it."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@overload
def open_atomic(
    path: str | os.PathLike[str],
    mode: Literal["wb", "w+b", "wb+"] = ...,
    *,
    encoding: None = ...,
    durability: Durability = ...,
    validate: Validator | None = ...,
    exclusive: bool = ...,
    permissions: int | None = ...,
) -> contextlib.AbstractContextManager[IO[bytes]]: ...
@overload
def open_atomic(
    path: str | os.PathLike[str],
    mode: Literal["w", "wt", "w+"],
    *,
    encoding: str | None = ...,
    durability: Durability = ...,
    validate: Validator | None = ...,
    exclusive: bool = ...,
    permissions: int | None = ...,
) -> contextlib.AbstractContextManager[IO[str]]: ...
@contextlib.contextmanager
def open_atomic(
    path: str | os.PathLike[str],
    mode: str = "wb",
    *,
    encoding: str | None = None,
    durability: Durability = DEFAULT_DURABILITY,
    validate: Validator | None = None,
    exclusive: bool = False,
    permissions: int | None = None,
) -> Iterator[IO[Any]]:
    """Open a file for writing; at the end of the block it replaces the content of ``path``, all at once.

    If the block raises, nothing is changed. Text is UTF-8 unless ``encoding`` says otherwise.
    ``permissions`` is what ``write_file`` calls ``mode``; the other parameters and the errors are the same.
    """
    if kinds.text("mode", mode).replace("+", "").replace("b", "").replace("t", "") != "w":
        raise wrong("mode", mode, "'wb', 'w', 'w+b' or 'w+'", "To make a new file only, give exclusive=True.")
    kinds.text("encoding", encoding, optional=True)
    synchronous("validate", validate)
    # Not around the block: its errors may be about any other file, and would be reported under this name.
    with named_refusals("write", path):
        staged = StagedFile(path, durability=durability, exclusive=exclusive, mode=permissions)
    file = None
    try:
        text = None if "b" in mode else encoding or "utf-8"
        # closefd=False: even if the block closes the file, the descriptor is still needed to sync it.
        file = open(staged.descriptor, mode, encoding=text, closefd=False)  # noqa: SIM115
        yield file
        with named_refusals("write", path):
            file.close()
            staged.publish(validate)
    except BaseException:
        with contextlib.suppress(OSError):
            if file is not None:
                file.close()
        staged.discard()
        raise
