"""A file system on a device that keeps its log: run a program there, and look at every power loss in it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from device import Device
from disk_programs import DiskRecorder, Hidden, Program, base, run, sync_all_of
from mounts import Loop, Watchdog, clean, mount, unmount

from chaoskit.core.operation import Trace
from chaoskit.explore.crash import Snapshot

_MOST_RUNS = 40
"""Programs on one file system before it is made again: they share its log and its free space."""
_LATENCIES = (0.0, 0.0002, 0.001, 0.003)
"""Seconds that a write may take, from memory to a good hard disk."""


@dataclass(frozen=True)
class Variant:
    """A file system as it is made and mounted, and the model that stands for it.

    ``grains`` are the sizes of what is written apart, that of pages and of blocks if they are smaller, each
    with the number of pieces into which one write is cut at most.
    """

    name: str
    system: str
    mebibytes: int
    make: tuple[str, ...]
    options: str
    model: str
    grains: tuple[tuple[int, int], ...] = ((4096, 4),)


VARIANTS = {
    variant.name: variant
    for variant in (
        # Explicit, since mkfs gives a small image blocks of 1 KiB, and real disks have 4 KiB.
        Variant("ext4", "ext4", 64, ("mkfs.ext4", "-q", "-F", "-b", "4096"), "", "ext4"),
        Variant(
            "ext4-1k",
            "ext4",
            64,
            ("mkfs.ext4", "-q", "-F", "-b", "1024"),
            "",
            "ext4",
            ((4096, 4), (1024, 4), (1024, 16)),
        ),
        Variant(
            "ext4-nodelalloc",
            "ext4",
            64,
            ("mkfs.ext4", "-q", "-F", "-b", "4096"),
            "nodelalloc",
            "ext4-ordered",
        ),
        Variant(
            "ext4-journal",
            "ext4",
            64,
            ("mkfs.ext4", "-q", "-F", "-b", "4096"),
            "data=journal",
            "ext4-ordered",
        ),
        Variant("xfs", "xfs", 300, ("mkfs.xfs", "-q", "-f"), "", "xfs"),
        Variant("btrfs", "btrfs", 128, ("mkfs.btrfs", "-q", "-f"), "", "btrfs"),
    )
}
"""The smallest sizes that the tools accept with their defaults, a journal included."""


def unavailable(variant: Variant) -> str | None:
    """Why the file system cannot be put on a device here, or None."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    if shutil.which(variant.make[0]) is None:
        return f"{variant.make[0]} is not installed"
    for node in ("/dev/fuse", "/dev/loop-control"):
        if not os.path.exists(node):
            return f"there is no {node}"
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", variant.system], capture_output=True, check=False)
    if variant.system not in Path("/proc/filesystems").read_text().split():
        return f"this kernel has no {variant.system}"
    return None


@dataclass(frozen=True)
class Cut:
    """A power loss: after so many writes of the device, without those ``lost``, with part of the next one."""

    after: int
    lost: tuple[int, ...] = ()
    torn: int = 0


@dataclass(frozen=True)
class Execution:
    """One run of a program: its trace, what was there before, and how far the device was after each call.

    ``end`` is the last position, ``flushes`` those at which the device's cache was emptied.
    """

    name: str
    trace: Trace
    before: Snapshot
    positions: tuple[int, ...]
    end: int
    flushes: tuple[int, ...]

    def last(self, cut: Cut) -> int:
        """The last operation that had returned when the power went; -1 if none had."""
        return max((i for i, position in enumerate(self.positions) if position <= cut.after), default=-1)

    def cuts(self, chance: random.Random, most: int | None, lossy: int) -> Iterator[Cut]:
        """Every power loss, or ``most`` by chance, the last included; and ``lossy`` of a volatile cache."""
        everything = range(self.end + 1)
        chosen: list[int] = list(everything)
        if most is not None and len(chosen) > most:
            chosen = sorted({self.end, *chance.sample(everything, most - 1)})
        yield from map(Cut, chosen)
        for after in chance.sample(everything, min(lossy, len(everything))):
            safe = max((position for position in self.flushes if position <= after), default=0)
            lost = tuple(number for number in range(safe, after) if chance.random() < 0.5)
            # A write behind a flush, or behind the end, was sent only when those that are lost were safe.
            torn = chance.choice((0, 4096)) if after < self.end and after not in self.flushes else 0
            if lost or torn:
                yield Cut(after, lost, torn)


class Bed:
    """One variant below ``place``, ready for programs. To be closed.

    The process must have a private mount namespace: see :func:`mounts.hide`.
    """

    def __init__(self, variant: Variant, place: Path) -> None:
        self.variant, self.place = variant, place
        place.mkdir(parents=True)
        self._watchdog = Watchdog(place)
        self._image, self._live, self._crash = place / "image", place / "live", place / "crash"
        self._live.mkdir()
        self._crash.mkdir()
        with open(self._image, "wb") as image:
            image.truncate(variant.mebibytes << 20)
        subprocess.run([*variant.make, os.fspath(self._image)], check=True, capture_output=True)
        self._device: Device | None = None
        self._loop: Loop | None = None
        self._runs = 0

    def _up(self) -> Device:
        """A device on which there is room for one more run, with the file system mounted."""
        if self._runs >= _MOST_RUNS:
            self._down()
        if self._device is None:
            self._device = Device(self.place / "device", self._image)
            self._loop = Loop(self._device.live)
            mount(self._loop.name, self._live, self.variant.system, self.variant.options)
            self._runs = 0
        return self._device

    def _down(self) -> None:
        if self._device is None:
            return
        unmount(self._live)
        assert self._loop is not None
        self._loop.detach()
        self._device.close()
        self._device = None
        shutil.rmtree(self.place / "device")

    def close(self) -> None:
        """Unmount everything and remove ``place``."""
        with contextlib.suppress(OSError):
            self._down()
        clean(self.place)
        self._watchdog.close()

    def execute(
        self,
        work: Callable[[DiskRecorder, Hidden], object],
        prepare: Callable[[DiskRecorder], object],
        slow: float,
    ) -> Execution:
        """Let ``prepare`` make a directory and sync it, then run ``work`` there on a disk as slow as that."""
        device = self._up()
        self._runs += 1
        top = self._live / f"run{self._runs}"
        top.mkdir()
        hidden = Hidden(self.variant.system, top)
        setup = DiskRecorder(top, lambda: 0)
        prepare(setup)
        setup.finish()
        sync_all_of(top)
        device.rebase()
        before = Snapshot.take(top)
        recorder = DiskRecorder(top, device.position)
        try:
            device.latency(slow)
            work(recorder, hidden)
            end, flushes = device.position(), device.flushes()
        finally:
            device.latency(0.0)
            recorder.finish()
            hidden.finish()
        positions = tuple(recorder.positions)
        return Execution(top.name, recorder.trace(), before, positions, end, tuple(flushes))

    def run(self, program: Program, chance: random.Random, slow: float | None = None) -> Execution:
        """Run a program on what :func:`disk_programs.base` has made; ``slow`` is by chance if not given."""
        slow = chance.choice(_LATENCIES) if slow is None else slow
        return self.execute(lambda r, hidden: run(program, r, hidden), base, slow)

    def left(self, execution: Execution, cut: Cut) -> Snapshot | None:
        """What is in the directory of the last execution after a power loss; None if it is not there itself.

        Raises OSError if the file system cannot be mounted or read.
        """
        device = self._device
        assert device is not None, "nothing was executed"
        device.cut(cut.after, cut.lost, cut.torn)
        loop = Loop(device.crash)
        try:
            # The copy has the identity of its original, which xfs would refuse as mounted twice.
            options = ",".join(
                filter(None, (self.variant.options, "nouuid" if self.variant.system == "xfs" else ""))
            )
            mount(loop.name, self._crash, self.variant.system, options)
            try:
                top = self._crash / execution.name
                return Snapshot.take(top) if top.is_dir() else None
            finally:
                unmount(self._crash)
        finally:
            loop.detach()
