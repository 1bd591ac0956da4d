"""Decodes bytes to text, piece by piece, and reports the place of bytes that are not text."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterator
from typing import IO

from chaoskit.core.errors import wrong
from chaoskit.runtime.failures.taxonomy import MalformedData

_STEP = 1 << 16
_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Position:
    """A moving position in a text: line and column from 1, counted in characters."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.line = 1
        self.column = 1
        self._after_cr = False

    def advance(self, text: str) -> None:
        """Move past ``text``; a line ends with LF, CR or CR LF."""
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
        if not text:
            return
        self._after_cr = text.endswith("\r")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.line += len(lines) - 1
        self.column = len(lines[-1]) + (1 if len(lines) > 1 else self.column)

    def error(self, message: str, hint: str | None = None) -> MalformedData:
        """Make an error whose message and attributes name this place."""
        where = f"{self.file}, line {self.line}, column {self.column}: {message}"
        return MalformedData(where, hint=hint, file=self.file, line=self.line, column=self.column)


def pieces(file: IO[bytes], name: str, encoding: str) -> Iterator[str]:
    """The text of ``file`` in pieces, without its byte order mark.

    Raises:
        MalformedData: there are bytes that do not decode as ``encoding``, or a NUL, or at the very start the
            byte order mark of another encoding.
        UsageError: the encoding does not exist.
    """
    decoder = _decoder(file, name, encoding)
    place = Position(name)
    while block := file.read(_STEP):
        yield _decoded(decoder, block, place, encoding)
    yield _decoded(decoder, b"", place, encoding, final=True)


def _decoder(file: IO[bytes], name: str, encoding: str) -> codecs.IncrementalDecoder:
    try:
        # TextIOWrapper refuses codecs from bytes to bytes, such as hex; lookup() alone would accept them.
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        given = codecs.lookup(encoding).name
    except (LookupError, TypeError, ValueError):
        raise wrong("encoding", encoding, "the name of a text encoding, such as 'utf-8'") from None
    head = file.read(4)
    file.seek(0)
    marked = next((one for mark, one in _MARKS if head.startswith(mark)), None)
    if marked == "utf-8-sig" and given == "utf-8":
        given = marked  # The mark of the requested encoding is not part of the text.
    elif marked in (given, given.removesuffix("-le" if head.startswith(codecs.BOM_UTF16_LE) else "-be")):
        given = marked  # The same if the request names the byte order, as utf-16-le does.
    elif marked:
        raise Position(name).error(
            f"it begins with the byte order mark of {marked}, not as {encoding}",
            f"Read it with encoding={marked!r}, or save it as {encoding}.",
        )
    try:
        return codecs.getincrementaldecoder(given)("strict")
    except LookupError:
        raise wrong("encoding", encoding, "an encoding that can be read in pieces") from None


def _decoded(
    decoder: codecs.IncrementalDecoder, block: bytes, place: Position, encoding: str, *, final: bool = False
) -> str:
    try:
        text = decoder.decode(block, final)
    except UnicodeDecodeError as error:
        # ``error.object`` begins with the bytes that the decoder held back, and ``place`` is there too.
        place.advance(error.object[: error.start].decode(error.encoding, "replace"))
        shown = " ".join(f"{byte:02x}" for byte in error.object[error.start : error.end][:4])
        raise place.error(
            f"the bytes {shown} are not {error.encoding}", "Save the file in the encoding that is expected."
        ) from error
    except UnicodeError as error:
        # These errors have no position: UTF-16 without its mark, or an encoding that can only encode.
        raise place.error(
            f"it is not {encoding}: {error}", "Name the encoding exactly, such as 'utf-16-le' for 'utf-16'."
        ) from error
    if "\0" in text:
        place.advance(text[: text.index("\0")])
        raise place.error("a NUL character", "A text has none: the file is damaged or binary.")
    place.advance(text)
    return text


def named(path: str | os.PathLike[str]) -> str:
    """A path as errors show it."""
    return os.fsdecode(os.fspath(path))
