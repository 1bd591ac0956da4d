"""A block device in user space that keeps a log of its writes, in the order in which they were completed.

It speaks the FUSE protocol (linux/fuse.h) itself and shows the disk in use as the file ``live``, on which a
loop device is put. ``crash`` is the disk as it was after any number of these writes, perhaps without some
that were still in the device's cache, and with the next one torn; what is written to it is thrown away. So
one execution of a program shows every power loss in it, in the middle of a write-back or a commit too.

Needs root and /dev/fuse, and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import mmap
import os
import pickle
import random
import select
import signal
import socket
import struct
import time
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mounts import die_with_parent, mount, unmount

_WRITE_MOST = 1 << 20
"""Bytes of one request. Larger ones would be cut by the kernel, which a disk does not do."""
_ROOT, _LIVE = 1, 2
"""Numbers of the directory and of the file in it."""
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC = 1, 2, 3, 14, 15, 16, 17, 18, 20
_FLUSH, _INIT, _OPENDIR, _RELEASEDIR, _ACCESS, _INTERRUPT, _DESTROY, _FORGET_ALL = (
    25,
    26,
    27,
    29,
    34,
    36,
    38,
    42,
)
_FALLOCATE = 43
_MAJOR, _MINOR, _ASYNC_READ, _BIG_WRITES, _PARALLEL, _MOST_PAGES = 7, 31, 1, 1 << 5, 1 << 18, 1 << 22
_DIRECT = 1
"""FOPEN_DIRECT_IO: no page cache between the loop device and us."""
_FOREVER = 3600
_CHUNK = 1 << 16
"""Bytes that are copied together into a crashed disk, if there is anything in them."""


class Device:
    """The device, mounted at ``place``, with the content of ``image``. ``live`` and ``crash`` are files."""

    def __init__(self, place: Path, image: Path) -> None:
        place.mkdir()
        self.place, self.live = place, place / "live"
        # Not served by us: mounting it takes hundreds of reads, each a change between processes.
        self._crash_fd = os.memfd_create("crash", os.MFD_CLOEXEC)
        self.crash = Path(f"/proc/{os.getpid()}/fd/{self._crash_fd}")
        self._position = mmap.mmap(-1, mmap.PAGESIZE)
        fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other,max_read={_WRITE_MOST}"
        mount("validation", place, "fuse", options)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _serve(_Server(fuse, theirs, image, self._crash_fd, self._position))
        theirs.close()
        os.close(fuse)

    def _ask(self, *question: Any) -> Any:
        self._socket.send(pickle.dumps(question))
        return pickle.loads(self._socket.recv(1 << 22))

    def position(self) -> int:
        """How many writes have been completed since :meth:`rebase`."""
        return int.from_bytes(self._position[:8], "little")

    def flushes(self) -> list[int]:
        """At which of these positions the device was told to empty its cache."""
        return list(self._ask("flushes"))

    def rebase(self) -> None:
        """Let the log begin here: nothing earlier can be lost any more."""
        self._ask("rebase")

    def cut(self, after: int, lost: Collection[int] = (), torn: int = 0) -> None:
        """Let ``crash`` be the disk after so many writes; without those ``lost``, by number.

        With ``torn`` the first bytes of the next write are there, too.
        """
        self._ask("cut", after, tuple(lost), torn)

    def latency(self, seconds: float) -> None:
        """From now on let each write take about that long, and end in any order."""
        self._ask("latency", seconds)

    def close(self) -> None:
        """End it; nothing of it may be mounted any more."""
        with contextlib.suppress(OSError):
            self._socket.send(pickle.dumps(("quit",)))
        unmount(self.place, now=True)
        os.waitpid(self._pid, 0)
        self._socket.close()
        self._position.close()
        os.close(self._crash_fd)


def _serve(server: _Server) -> None:
    """The process of the device; does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    status = 0
    try:
        server.run()
    except BaseException:
        traceback.print_exc()
        status = 1
    os._exit(status)


class _Server:
    """Answers the kernel's requests on ``fuse``, and those of :class:`Device` on ``control``."""

    def __init__(
        self, fuse: int, control: socket.socket, image: Path, crash: int, position: mmap.mmap
    ) -> None:
        self.fuse, self.control, self.crash, self.position = fuse, control, crash, position
        self.size = image.stat().st_size
        self.base, self.live = mmap.mmap(-1, self.size), mmap.mmap(-1, self.size)
        self.used: set[int] = set()
        """The chunks of ``base`` in which there is something."""
        for offset, data in _data_of(image):
            self.live[offset : offset + len(data)] = data
            self._keep(offset, data)
        self.log: list[tuple[int, bytes]] = []
        self.flushes: list[int] = []
        self.latency = 0.0
        self.chance = random.Random(1)
        self.waiting: list[tuple[float, int, int, int, bytes | None]] = []
        """By when it will be done: number, request, offset, data (None: a flush)."""
        self.count = 0

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.fuse, select.POLLIN)
        poll.register(self.control, select.POLLIN)
        while True:
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                self._done(*heapq.heappop(self.waiting)[2:])
            pause = max(0.0, (self.waiting[0][0] - now) * 1000) if self.waiting else None
            for fd, _ in poll.poll(pause):
                if fd == self.fuse:
                    request = self._request()
                    if request is None:
                        return
                    if request:
                        self._handle(request)
                elif not self._controlled():
                    return

    def _request(self) -> bytes | None:
        try:
            return os.read(self.fuse, _WRITE_MOST + 4096)
        except OSError as error:
            # ENODEV: unmounted. The others: the request was taken back.
            return None if error.errno == errno.ENODEV else b""

    # --- the kernel's side ---------------------------------------------------------------------------

    def _reply(self, unique: int, data: bytes = b"", error: int = 0) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.write(self.fuse, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)

    def _attributes(self, node: int) -> bytes:
        mode, size = (0o40755, 0) if node == _ROOT else (0o100644, self.size)
        times = (0,) * 6
        return struct.pack(
            "<6Q10I", node, size, size // 512, *times[:3], *times[:3], mode, 1, 0, 0, 0, 4096, 0
        )

    def _handle(self, request: bytes) -> None:
        _, code, unique, node = struct.unpack_from("<IIQQ", request)
        body = memoryview(request)[40:]
        if code == _READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            self._reply(unique, self.live[offset : min(offset + size, self.size)])
        elif code == _WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            self._later(unique, offset, bytes(body[40 : 40 + size]))
        elif code == _FSYNC:
            self._later(unique, 0, None)
        elif code in (_FORGET, _FORGET_ALL, _INTERRUPT):
            pass
        else:
            self._describe(code, unique, node, bytes(body))

    def _describe(self, code: int, unique: int, node: int, body: bytes) -> None:
        """Everything but data: names, sizes, openings."""
        if code == _INIT:
            flags = _ASYNC_READ | _BIG_WRITES | _MOST_PAGES
            sizes = (256, 200, _WRITE_MOST, 1, _WRITE_MOST // 4096, 0, 0, *(0,) * 7)
            self._reply(unique, struct.pack("<IIIIHHIIHHI7I", _MAJOR, _MINOR, 1 << 17, flags, *sizes))
        elif code == _LOOKUP:
            if body.split(b"\0")[0] == b"live":
                head = struct.pack("<QQQQII", _LIVE, 0, _FOREVER, _FOREVER, 0, 0)
                self._reply(unique, head + self._attributes(_LIVE))
            else:
                self._reply(unique, error=errno.ENOENT)
        elif code == _GETATTR:
            self._reply(unique, struct.pack("<QII", _FOREVER, 0, 0) + self._attributes(node))
        elif code in (_OPEN, _OPENDIR):
            self._reply(unique, struct.pack("<QII", node, _DIRECT if code == _OPEN else 0, 0))
        elif code == _STATFS:
            self._reply(
                unique, struct.pack("<QQQQQIIII6I", 1 << 20, 1, 1, 10, 10, 4096, 255, 4096, 0, *(0,) * 6)
            )
        elif code in (_RELEASE, _FLUSH, _RELEASEDIR, _ACCESS, _DESTROY):
            self._reply(unique)
        else:
            self._reply(unique, error=errno.EOPNOTSUPP if code == _FALLOCATE else errno.ENOSYS)

    def _later(self, unique: int, offset: int, data: bytes | None) -> None:
        if not self.latency:
            self._done(unique, offset, data)
            return
        self.count += 1
        at = time.monotonic() + self.latency * self.chance.uniform(0.2, 1.8)
        heapq.heappush(self.waiting, (at, self.count, unique, offset, data))

    def _done(self, unique: int, offset: int, data: bytes | None) -> None:
        if data is None:
            self.flushes.append(len(self.log))
            self._reply(unique)
        else:
            self.live[offset : offset + len(data)] = data
            self.log.append((offset, data))
            self._tell_position()
            self._reply(unique, struct.pack("<II", len(data), 0))

    # --- our own side --------------------------------------------------------------------------------

    def _controlled(self) -> bool:
        """Answer one question of :class:`Device`. False when it was the last."""
        question = self.control.recv(1 << 16)
        if not question:
            return False
        what, *details = pickle.loads(question)
        if what == "quit":
            return False
        answer: object = None
        if what == "flushes":
            answer = self.flushes
        elif what == "latency":
            (self.latency,) = details
        elif what == "rebase":
            for offset, data in self.log:
                self._keep(offset, data)
            self.log.clear()
            self._tell_position()
            self.flushes.clear()
        elif what == "cut":
            self._cut(*details)
        self.control.send(pickle.dumps(answer))
        return True

    def _tell_position(self) -> None:
        # Before the write is answered: a program that waits for it finds the position that it led to.
        self.position[:8] = len(self.log).to_bytes(8, "little")

    def _keep(self, offset: int, data: bytes) -> None:
        self.base[offset : offset + len(data)] = data
        self.used.update(range(offset // _CHUNK, (offset + len(data) - 1) // _CHUNK + 1))

    def _cut(self, after: int, lost: Collection[int], torn: int) -> None:
        # Emptied, so that nothing is left of what a mount has written while it replayed its journal.
        os.ftruncate(self.crash, 0)
        os.ftruncate(self.crash, self.size)
        for chunk in self.used:
            os.pwrite(self.crash, self.base[chunk * _CHUNK : (chunk + 1) * _CHUNK], chunk * _CHUNK)
        for number, (offset, data) in enumerate(self.log[:after]):
            if number not in lost:
                os.pwrite(self.crash, data, offset)
        if torn and after < len(self.log):
            offset, data = self.log[after]
            os.pwrite(self.crash, data[:torn], offset)


def _data_of(image: Path) -> list[tuple[int, bytes]]:
    """What the image holds apart from holes."""
    found, at = [], 0
    with open(image, "rb") as file:
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return found
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            found.append((at, file.read(end - at)))
            at = end
