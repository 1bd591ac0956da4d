"""A file that only grows: after a crash, each record is there completely or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.closing import ClosedOnExit
from chaoskit.runtime.durable.files.holding import Held
from chaoskit.runtime.durable.files.log_reading import corrupt, max_record_of, until
from chaoskit.runtime.durable.files.records import (
    HEAD_SIZE,
    BadRecord,
    LogRecord,
    framed,
    head,
    reader,
    records,
    torn_tail,
)
from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.durable.files.syncing import sync_data, sync_directory
from chaoskit.runtime.durable.files.writing import write_file
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability, check_durability
from chaoskit.runtime.failures.stored import OutcomeUnknown, StoreForked, StoreGone
from chaoskit.runtime.numbers import is_whole

__all__ = ["AppendLog"]


class AppendLog(ClosedOnExit):
    """A log of records of bytes, created if it does not exist; one object at a time may append.

    Once ``append`` has returned, the record survives the crash that ``durability`` names. At ``power-loss``
    opening syncs too: every record that this object reads is durable, even if the process that wrote it was
    killed before it could sync. Threads may share the object. ``max_record``, in bytes, takes effect when the
    log is created; an existing log keeps its own. The lock is the file ``NAME.lock``, which is never removed.

    ``torn`` is the number of bytes that opening cut from the end: an append that a crash interrupted.

    At ``power-loss`` each append checks that the path still names this log, so that no record is acknowledged
    in a file that was removed or rotated away. At the weaker levels the check would be half of an append's
    cost, and is left out.

    Raises:
        StoreBusy: another object or process has the log open. ``read_log`` can still read it.
        RecordCorrupt: the log is damaged before its last record. Nothing was cut.
        OSError: the log cannot be opened, created or synced.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = DEFAULT_DURABILITY,
        max_record: int = 1 << 20,
    ) -> None:
        if not (is_whole(max_record) and 0 < max_record < 1 << 31):
            raise wrong("max_record", max_record, "a number of bytes from 1 to 2 GiB - 1")
        self._sync = check_durability(durability) == "power-loss"
        self._durability = durability
        self._path = Path(os.path.abspath(kinds.path("path", path)))
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._descriptor = -1
        self._suspect = False
        self.torn = 0
        self._last: LogRecord | None = None
        self._held: Held | None = Held(self._path)
        try:
            with named_refusals("open the log", self._path):
                self._make(max_record)
                self._open()
        except BaseException:
            self.close()
            raise

    def append(self, data: bytes | bytearray | memoryview) -> int:
        """Add a record, and return its number, counted from 0.

        Raises:
            UsageError: the record is longer than ``max_record``, or the log is closed. Nothing was written.
            OutcomeUnknown: the log may or may not hold the record when it is next opened. This object
                continues without it.
            StoreGone: the log was removed or replaced since it was opened. Nothing was appended.
            StoreForked: the log was opened before a fork.
            DiskFull, OSError: nothing was appended.
        """
        record = bytes(data)
        if len(record) > self._max_record:
            expected = f"at most {self._max_record} bytes"
            hint = "Split it, or make a log with a larger max_record."
            raise wrong("the record's length", len(record), expected, hint)
        # Before taking the lock: in a forked child it may be held forever, by a thread that exists no longer.
        self._check_usable()
        with self._lock, named_refusals("append to", self._path):
            if self._suspect:
                self._start_over()
            if self._sync and not self._there():
                raise self._gone()
            frame = framed(record, self._end)
            self._write(frame)
            if self._sync:
                self._sync_written()
                self._look_again()
            self._last = LogRecord(self._end, self._end + len(frame), b"")
            self._end += len(frame)
            self._count += 1
            return self._count - 1

    def __iter__(self) -> Iterator[bytes]:
        """The records that the log holds now, from the first.

        Raises:
            RecordCorrupt: one of them is damaged.
        """
        self._check_usable()
        found = until(self._path, self._end, self._max_record)
        return (record.data for record in found)

    @property
    def count(self) -> int:
        """The number of records."""
        return self._count

    def close(self) -> None:
        """Release the log, so that another object can open it. Closing twice is not an error."""
        with contextlib.suppress(OSError):
            if self._descriptor >= 0:
                os.close(self._descriptor)
        self._descriptor = -1
        if self._held is not None:
            self._held.release()
            self._held = None

    def _make(self, max_record: int) -> None:
        """Create the log with its head in one step, so that no process sees a log without a head."""
        if not self._path.exists():
            # Another process may have created it since that check.
            with contextlib.suppress(FileExistsError):
                write_file(self._path, head(max_record), durability=self._durability, exclusive=True)

    def _open(self) -> None:
        """Find the end, cut a torn record, and make the rest durable."""
        self._descriptor = self._opened()
        read = reader(self._descriptor)
        self._identity = os.fstat(self._descriptor)
        size = self._identity.st_size
        self._max_record = max_record_of(read, self._path)
        self._end, self._count = HEAD_SIZE, 0
        self._last = None
        try:
            for record in records(read, HEAD_SIZE, size, self._max_record):
                self._last, self._end, self._count = record, record.end, self._count + 1
        except BadRecord as damage:
            if not torn_tail(read, damage.offset, size, self._max_record):
                raise corrupt(self._path, damage.offset) from None
            self.torn = size - damage.offset
        self._settle()
        if self._sync:
            # The process that created the log may have been killed before it could do this.
            sync_directory(self._path.parent)

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))

    def _settle(self) -> None:
        """Cut everything after the last record, and make that record durable."""
        if os.fstat(self._descriptor).st_size != self._end:
            os.ftruncate(self._descriptor, self._end)
        if self._sync:
            if self._last is not None:
                # Rewritten, since an earlier sync of it may have failed. The kernel has then marked the pages
                # as clean, and another sync alone would write nothing.
                self._rewrite(self._last)
            sync_data(self._descriptor)

    def _rewrite(self, record: LogRecord) -> None:
        read = reader(self._descriptor)
        _write_at(self._descriptor, read(record.offset, record.end - record.offset), record.offset)

    def _write(self, frame: bytes) -> None:
        """Write at the end; on failure leave the log as it was, or raise OutcomeUnknown."""
        try:
            _write_at(self._descriptor, frame, self._end)
        except BaseException as error:
            self._suspect = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
                self._suspect = False
            if self._suspect and isinstance(error, OSError):
                raise self._unknown(error) from error
            raise

    def _sync_written(self) -> None:
        try:
            sync_data(self._descriptor)
        except BaseException as error:
            self._suspect = True
            with contextlib.suppress(OSError):
                self._start_over()
            if self._suspect and isinstance(error, OSError):
                raise self._unknown(error) from error
            raise

    def _start_over(self) -> None:
        """After a failure: open a new descriptor, and cut the record that failed."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1
        self._descriptor = self._opened()
        if not os.path.samestat(os.fstat(self._descriptor), self._identity):
            # The path now names another file, perhaps another log, which this object must not cut.
            raise self._gone()
        self._settle()
        self._suspect = False

    def _there(self) -> bool:
        """True if the path still names the file that is open."""
        try:
            return os.path.samestat(os.stat(self._path), self._identity)
        except FileNotFoundError:
            return False

    def _look_again(self) -> None:
        """Raise OutcomeUnknown if the file lost its name while the record was written and synced."""
        # A path that cannot be looked up for another reason is not evidence against a record on the disk.
        with contextlib.suppress(OSError):
            if not self._there():
                raise OutcomeUnknown(
                    f"{str(self._path)!r} was removed or replaced while a record was appended; expected it to"
                    " stay while the log is open. The record is in the file that was there",
                    hint="Find out what took it away (a rotation?), then open the log again and look.",
                )

    def _gone(self) -> StoreGone:
        return StoreGone(
            f"{str(self._path)!r} is no longer the log that was opened; expected it to stay while the log is"
            " open. Nothing was appended",
            hint="Find out what took it away (a rotation?), then open the log again.",
        )

    def _unknown(self, error: OSError) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"appending to {str(self._path)!r} failed, and so did taking it back: {error.strerror}",
            hint="The record may be found when the log is opened next. Look before you append it again.",
        )

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise StoreForked(
                f"the log {str(self._path)!r} was opened by process {self._pid}, not by {os.getpid()};"
                " expected the process that opened it. Open it in the child, when the parent has closed it."
            )
        if self._held is None:
            raise wrong("the log", str(self._path), "one that is open", "It was closed; open it again.")


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        if hasattr(os, "pwrite"):
            written = os.pwrite(descriptor, rest, offset)
        else:
            os.lseek(descriptor, offset, os.SEEK_SET)
            written = os.write(descriptor, rest)
        rest, offset = rest[written:], offset + written
