"""What a workload sends: promises, its result, and the output of a command."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.inject import plain
from chaoskit.inject.interpreter.recording import Noted, unpacked
from chaoskit.inject.kernel.workload.child import NOTED, PARTS, PROMISE

_MOST_OUTPUT = 1024 * 1024
"""Bytes kept of each stream of a command."""
MOST = 256 * 1024 * 1024
"""Bytes of all promises of a run, and of its result."""


@dataclass(slots=True)
class Mailbox:
    """Holds what was written to the control descriptor."""

    promised: list[Any] = field(default_factory=list)
    kind: bytes = b""
    parts: list[Any] = field(default_factory=list)
    """What was sent with the end, not read yet; see :data:`chaoskit.inject.kernel.workload.child.PARTS`."""
    threads: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)
    """What a recording has seen inside of the interpreter."""
    imports: list[str] = field(default_factory=list)
    """Lines whose imports take long, with how long."""
    room: int = MOST
    """Bytes that may still come; an end takes none of them, since it may have to be told twice."""

    def take(self, data: bytes) -> str:
        """Keep one message; return the pseudo-call that it is: ``promise`` or ``end``, or nothing.

        Raises:
            Malformed: for what no workload sends by itself.
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
    """Threads that are left, what objects and frames had open until it was collected, and slow imports."""
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
    """The pipes of a command; without pipes for a function."""

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
            # The loop must not wait for one stream while a call waits for it.
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
        """Read what is there; False at the end of the stream."""
        kept = self._pipes[fd]
        while True:
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            # Read on, or the command would wait for room in the pipe.
            kept += data[: max(0, _MOST_OUTPUT - len(kept))]

    def drain_all(self) -> None:
        """Read what is left and close."""
        for fd in self._pipes:
            self.drain(fd)
            os.close(fd)

    def lines(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes."""
        # A line counts when it is complete, however many writes it took.
        *whole, self._partial = (self._partial + data).split(b"\n")
        return [line.decode(errors="surrogateescape") for line in whole]

    def output(self, name: str) -> bytes:
        """What was written to ``stdout`` or ``stderr``, cut at 1 MiB."""
        return bytes(self._pipes[self._ends[name]])
