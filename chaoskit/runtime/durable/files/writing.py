"""Whole files: a reader sees the old content or the new one, never neither, never a mix."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import IO, Any, Literal, TypeAlias, overload

from chaoskit.core.errors import wrong
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
    line ends as they are. ``validate`` gets the path of the complete new file before it is published.
    ``exclusive`` publishes only to a free name. The permissions of a file that is replaced stay, unless
    ``mode`` is given; its owner, its access lists and its other hard links do not.

    Raises:
        OutcomeUnknown: the new content is in place, but a power loss may bring the old one back.
        FileExistsError: ``exclusive``, and there is one.
        TransactionValidationError: ``validate`` returned False.
        DiskFull, OSError: the file is as it was.
    """
    # Before anything is touched: a lone surrogate is an error of the caller.
    content = data.encode() if isinstance(data, str) else data
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
    """As ``write_file``, for content in several pieces that need not be joined."""
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
    """All of it: a call may write less than it is given, and says so."""
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
    """Open a file to be written; at the end of the block it replaces what ``path`` held, all at once.

    A block that is left by an error changes nothing. Text is UTF-8 unless ``encoding`` says otherwise.
    ``permissions`` is what ``write_file`` calls ``mode``; all else, and what is raised, is as there.
    """
    if mode.replace("+", "").replace("b", "").replace("t", "") != "w":
        raise wrong("mode", mode, "'wb', 'w', 'w+b' or 'w+'", "To make a new file only, give exclusive=True.")
    synchronous("validate", validate)
    # Only what is done here gets a name: an error of the block may be about any other file.
    with named_refusals("write", path):
        staged = StagedFile(path, durability=durability, exclusive=exclusive, mode=permissions)
    file = None
    try:
        text = None if "b" in mode else encoding or "utf-8"
        # closefd: the descriptor is synced after the buffers were written, even if the block closed it.
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
