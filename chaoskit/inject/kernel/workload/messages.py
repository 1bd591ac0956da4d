"""What a workload sends: promises, its result, and the output of a command."""

from __future__ import annotations

import os
import pickle
import struct
from dataclasses import dataclass, field
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.inject.kernel.workload.child import PROMISE

_MOST_OUTPUT = 1024 * 1024
"""Bytes kept of each stream of a command."""


@dataclass(slots=True)
class Mailbox:
    """Holds what was written to the control descriptor."""

    promised: list[Any] = field(default_factory=list)
    kind: bytes = b""
    body: bytes = b""
    threads: list[str] = field(default_factory=list)

    def take(self, data: bytes) -> str:
        """Keep one message; return the pseudo-call that it is: ``promise`` or ``end``."""
        if data[:1] == PROMISE:
            self.promised.append(_promised(data[1:]))
            return "promise"
        # The pickle of the result, then that of the threads: the first must not swallow the second.
        (length,) = struct.unpack_from("=Q", data, 1)
        self.kind, self.body = data[:1], data[9 : 9 + length]
        self.threads = pickle.loads(data[9 + length :])
        return "end"


def _promised(body: bytes) -> Any:
    try:
        return pickle.loads(body)
    except Exception as error:
        raise UsageError(
            f"a promised value cannot be unpickled in the test process ({error}); expected plain data, or "
            "objects of classes that can be imported here too."
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
