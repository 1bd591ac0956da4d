"""Reading an append-only log, even while another process writes it, and past damaged records on request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from chaoskit.runtime import kinds
from chaoskit.runtime.durable.files.records import (
    HEAD_SIZE,
    BadRecord,
    LogRecord,
    Read,
    intact_after,
    parse_head,
    reader,
    records,
    torn_tail,
)
from chaoskit.runtime.failures.stored import RecordCorrupt

__all__ = ["corrupt", "max_record_of", "open_to_read", "read_log", "until"]


def read_log(path: str | os.PathLike[str], *, skip_damaged: bool = False) -> Iterator[bytes]:
    """The records of an ``AppendLog``, in order, without taking its lock or changing the file.

    Reading ends at a torn tail, which may also be a record that is just being written. With
    ``skip_damaged`` a damaged record is left out, and reading continues at the next intact one.

    Raises:
        RecordCorrupt: a record before the tail is damaged, or the file is not a log.
        FileNotFoundError: there is no such file.
    """
    place = Path(kinds.path("path", path))
    kinds.switch("skip_damaged", skip_damaged)
    descriptor = open_to_read(place)
    try:
        read = reader(descriptor)
        size = os.fstat(descriptor).st_size
        max_record = max_record_of(read, place)
        offset: int | None = HEAD_SIZE
        while offset is not None and offset < size:
            try:
                for record in records(read, offset, size, max_record):
                    yield record.data
                return
            except BadRecord as damage:
                if torn_tail(read, damage.offset, size, max_record):
                    return
                if not skip_damaged:
                    raise corrupt(place, damage.offset) from None
                offset = intact_after(read, damage.offset, size, max_record)
    finally:
        os.close(descriptor)


def open_to_read(path: Path) -> int:
    """Open a separate descriptor for reading. Closing it releases no lock: the lock is on another file."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))


def max_record_of(read: Read, path: Path) -> int:
    """The length of the longest record that a log may hold, in bytes, as written in its head.

    Raises:
        RecordCorrupt: the file does not begin with the head of a log.
    """
    found = parse_head(read(0, HEAD_SIZE))
    if found is None:
        raise RecordCorrupt(
            f"{str(path)!r} does not begin with the head of an append log",
            hint="Check the path. If it was a log, restore the file from a backup; it was left as it is.",
        )
    return found


def corrupt(path: Path, offset: int) -> RecordCorrupt:
    """The error for damage that cannot be a torn tail: see ``torn_tail``."""
    return RecordCorrupt(
        f"{str(path)!r} is damaged at byte {offset}, before its end; expected an intact record there",
        hint="Nothing was cut. Copy what is intact: read_log(path, skip_damaged=True), into a new log.",
        context={"offset": offset},
    )


def until(path: Path, stop: int, max_record: int) -> Iterator[LogRecord]:
    """The records up to ``stop``, at which an intact record ended when the log was opened or appended to.

    Raises:
        RecordCorrupt: one of them has been damaged since; the message says where.
    """
    descriptor = open_to_read(path)
    try:
        yield from records(reader(descriptor), HEAD_SIZE, stop, max_record)
    except BadRecord as damage:
        raise corrupt(path, damage.offset) from None
    finally:
        os.close(descriptor)
