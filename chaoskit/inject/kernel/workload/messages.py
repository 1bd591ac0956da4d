"""What a workload sends: promises, its result, and a command's output."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.inject import plain
from chaoskit.inject.interpreter.recording import Noted, unpacked
from chaoskit.inject.kernel.workload.child import NOTED, PARTS, PROMISE

_MOST_OUTPUT = 1024 * 1024
"""How many bytes of each stream of a command are kept."""
MOST = 256 * 1024 * 1024
"""The most bytes of all promises of a run and its result."""


@dataclass(slots=True)
class Mailbox:
    """Keeps the messages written to the control descriptor."""

    promised: list[Any] = field(default_factory=list)
    kind: bytes = b""
    parts: list[Any] = field(default_factory=list)
    """The unread parts of the last message; see :data:`chaoskit.inject.kernel.workload.child.PARTS`."""
    threads: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)
    """What a recording has seen inside the interpreter."""
    imports: list[str] = field(default_factory=list)
    """Lines with slow imports, and the seconds that they take."""
    room: int = MOST
    """Bytes that may still come; an end does not count, since it may be sent twice."""

    def take(self, data: bytes) -> str:
        """Keep one message; return its pseudo-call, ``promise`` or ``end``, or an empty text.

        Raises:
            Malformed: for a message that our code in a workload does not send.
        """
        kind, parts = data[:1], plain.split(data[1:])
        if len(parts) != PARTS.get(kind):
            raise plain.Malformed(f"{len(parts)} parts of kind {kind!r}")
        if kind == NOTED:
            self.noted = unpacked(plain.read(parts[0]))
            return ""
        if kind == PROMISE:
            self.room -= len(data)
            self.promised.append(_promised(parts[0]))
            return "promise"
        *self.parts, left = parts
        self.kind, kept = kind, _left(left)
        self.threads, self.unclosed, self.forgotten, self.imports = kept
        return "end"


def _left(part: Any) -> list[list[str]]:
    """Remaining threads, what objects and frames had open until they were collected, and slow imports."""
    found = plain.read(part)
    if not isinstance(found, list) or len(found) > 4 or not all(isinstance(one, list) for one in found):
        raise plain.Malformed(f"what is left is {found!r}; expected up to four lists")
    names = [[str(name) for name in names] for names in found]
    return [*names, *([] for _ in range(4 - len(names)))]


def _promised(part: Any) -> Any:
    try:
        return plain.read(part)
    except plain.Malformed as error:
        raise UsageError(
            f"a promised value cannot be made again in the test process ({error}); expected plain data, or "
            "objects of classes that are imported here too."
        ) from error


class Streams:
    """The pipes of a command; a function has none."""

    def __init__(self, promise_stdout: bool = False) -> None:
        self._pipes: dict[int, bytearray] = {}
        self._ends: dict[str, int] = {}
        self._promises = promise_stdout
        self._partial = b""
        self.promise_link = ""

    def open(self) -> tuple[int, int]:
        """Make the pipes; return the writing ends for standard output and standard error."""
        writers = []
        for name in ("stdout", "stderr"):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            # The loop must not block on a stream while a call waits for the loop.
            os.set_blocking(reader, False)
            self._pipes[reader] = bytearray()
            self._ends[name] = reader
            writers.append(writer)
        if self._promises:
            self.promise_link = os.readlink(f"/proc/self/fd/{writers[0]}")
        return writers[0], writers[1]

    def readable(self) -> list[int]:
        return list(self._pipes)

    def drain(self, fd: int) -> bool:
        """Read what is available; False at the end of the stream."""
        kept = self._pipes[fd]
        while True:
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            # Read on beyond the limit, else the command would block on a full pipe.
            kept += data[: max(0, _MOST_OUTPUT - len(kept))]

    def drain_all(self) -> None:
        """Read the rest, and close the pipes."""
        for fd in self._pipes:
            self.drain(fd)
            os.close(fd)

    def lines(self, data: bytes) -> list[str]:
        """The lines completed by ``data``."""
        # A line counts when it is complete, after any number of writes.
        *whole, self._partial = (self._partial + data).split(b"\n")
        return [line.decode(errors="surrogateescape") for line in whole]

    def output(self, name: str) -> bytes:
        """The output on ``stdout`` or ``stderr``, cut at 1 MiB."""
        return bytes(self._pipes[self._ends[name]])
