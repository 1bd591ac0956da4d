"""Files that are damaged in place just before a program opens them, and the proof that it met the damage."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.core.operation import Bytes, Operation, Payload

# Imported early: with pyfakefs active the module's file could not be found.
from chaoskit.faults.corrupt import formats
from chaoskit.faults.corrupt.words import in_words
from chaoskit.inject.damageable import MOST_IN_ALL, locked_here, reads, refusal
from chaoskit.inject.inprocess.call import CannotStrike, PythonCall
from chaoskit.inject.inprocess.descriptors import Descriptors
from chaoskit.inject.inprocess.machine import HostMachine

Prove = Callable[[str, "int | None"], None]


@dataclass(slots=True)
class UnreadDamage:
    """A damaged file; ``prove`` is called once, at the first call that reads it."""

    text: str
    size: int
    inode: tuple[int, int]
    machine: HostMachine
    prove: Prove
    proven: bool = False

    def meet(self, call: PythonCall, operation: Operation) -> tuple[bool, Any]:
        """Notice if ``call`` reads the file, under whatever name, or closes it having seen its size."""
        if not self.proven and call.family in ("read", "close") and operation.file.inode == self.inode:
            # zipfile, for example, seeks to the end and reads nothing of a file that is too short; an empty
            # file cannot be read at all.
            fd = operation.file.fd
            if call.family == "read" or not self.size or (fd is not None and self.machine.position(fd) > 0):
                self.proven = True
                self.prove(self.text, None)
        return False, None


class HeldContents:
    """The contents of files that a workload opens for reading, and the damage done to them."""

    def __init__(self, machine: HostMachine, descriptors: Descriptors) -> None:
        self._machine = machine
        self._descriptors = descriptors
        self._known: dict[tuple[int, int], bytes] = {}
        self._left = MOST_IN_ALL

    def before(self, path: str, flags: int) -> Payload | None:
        """The content of the file about to be opened; None if it is known already, or useless."""
        with suppress(CannotStrike, OSError):
            found, data = self._looked_into(path, flags)
            identity = (found.st_dev, found.st_ino)
            # By content, not by times, which do not change within one clock tick.
            digest = hashlib.blake2b(data, digest_size=16).digest()
            if self._known.get(identity) != digest and len(data) <= self._left:
                self._known[identity] = digest
                self._left -= len(data)
                return Bytes(data)
        return None

    def damage(self, path: str, flags: int, label: str, prove: Prove) -> UnreadDamage:
        """Damage the file about to be opened.

        Raises:
            CannotStrike: if it cannot be damaged in this way.
        """
        try:
            found, before = self._looked_into(path, flags)
            after = formats.damaged(before, label)
            self._overwrite(path, after, found)
        except (OSError, UsageError) as why:
            raise CannotStrike(str(why)) from None
        text = f"{in_words(label)} ({len(before)} bytes before, {len(after)} now)"
        return UnreadDamage(text, len(after), (found.st_dev, found.st_ino), self._machine, prove)

    def _looked_into(self, path: str, flags: int) -> tuple[os.stat_result, bytes]:
        if not reads(flags):
            raise CannotStrike("this open does not read the file")
        here = self._machine.os
        found: os.stat_result = here.stat(path)
        if why := refusal(found):
            raise CannotStrike(why)
        # Closing our descriptor would release a lock that the process holds through another one (fcntl(2)).
        if any(file.path == path for _, file in self._descriptors):
            raise CannotStrike("it is open already, and may be locked by that")
        if not self._machine.in_memory and locked_here(found):
            raise CannotStrike("the test process holds a lock on it")
        fd = here.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            parts = []
            while part := here.read(fd, found.st_size):
                parts.append(part)
        finally:
            here.close(fd)
        return found, b"".join(parts)

    def _overwrite(self, path: str, data: bytes, found: os.stat_result) -> None:
        """Change the content of a file, but not its inode, times or mode."""
        here = self._machine.os
        writable = found.st_mode & 0o200
        if not writable:
            here.chmod(path, found.st_mode | 0o200)
        try:
            fd = here.open(path, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_BINARY", 0))
            try:
                written = 0
                while written < len(data):
                    written += here.write(fd, data[written:])
            finally:
                here.close(fd)
        finally:
            if not writable:
                here.chmod(path, found.st_mode)
        # Bit rot does not change a file's date; the time of its last status change cannot be set.
        here.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
