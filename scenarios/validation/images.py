"""Real file systems in files: run calls on one that is mounted, copy it as it is, look at the copy.

The copy holds what the file system had sent to its device at that moment, so mounting it shows what a
power loss would have left (with the device's own cache already emptied: the mildest case).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crash_recorder import Recorder

from chaoskit.core.operation import Trace
from chaoskit.explore.crash import Snapshot

MEBIBYTES = {"ext4": 64, "xfs": 300, "btrfs": 128}
"""The smallest sizes that the tools accept with their defaults, a journal included."""
_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}

Work = Callable[[Recorder], object]


def unavailable(system: str) -> str | None:
    """Why ``system`` cannot be mounted here, or None."""
    if os.geteuid() != 0:
        return "mounting images needs root"
    if shutil.which(_MAKE[system][0]) is None:
        return f"{_MAKE[system][0]} is not installed"
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", system], capture_output=True, check=False)
    if system not in Path("/proc/filesystems").read_text().split():
        return f"this kernel has no {system}"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices"
    return None


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Images:
    """Makes, mounts and copies images below one directory."""

    def __init__(self, place: Path, system: str) -> None:
        self.place = place
        self.system = system
        self.fresh = place / "fresh"
        self.place.mkdir(parents=True, exist_ok=True)
        with open(self.fresh, "wb") as image:
            image.truncate(MEBIBYTES[system] << 20)
        _run(*_MAKE[system], str(self.fresh))

    def copy(self, source: Path, name: str) -> Path:
        target = self.place / name
        _run("cp", "--sparse=always", str(source), str(target))
        return target

    @contextmanager
    def mounted(self, image: Path, copied: bool = False) -> Iterator[Path]:
        point = self.place / f"{image.name}.mnt"
        point.mkdir(exist_ok=True)
        # A copy has the identity of its original, which xfs would refuse as mounted twice.
        options = "loop,nouuid" if copied and self.system == "xfs" else "loop"
        _run("mount", "-t", self.system, "-o", options, str(image), str(point))
        try:
            yield point
        finally:
            _run("umount", str(point))
            if self.system == "btrfs":
                subprocess.run(["btrfs", "device", "scan", "--forget"], capture_output=True, check=False)

    def crash(self, setup: Work, work: Work) -> tuple[Trace, Snapshot, Snapshot]:
        """Run ``setup``, make it durable, run ``work``; return its trace, what was there, what is left."""
        with self.mounted(self.copy(self.fresh, "image")) as top:
            if (top / "lost+found").is_dir():
                (top / "lost+found").rmdir()
            setup(Recorder(top))
            os.sync()
            _syncfs(top)
            before = Snapshot.take(top)
            recorder = Recorder(top)
            try:
                work(recorder)
                image = self.copy(self.place / "image", "copy")
            finally:
                for fd in list(recorder.descriptors):
                    os.close(fd)
        with self.mounted(image, copied=True) as top:
            return recorder.trace(), before, Snapshot.take(top)


def _syncfs(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd):
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(fd)


def shape(snapshot: Snapshot) -> dict[str, object]:
    """Path to kind, mode and content, for comparing."""
    found: dict[str, object] = {}
    waiting = [("", 0)]
    while waiting:
        path, inode = waiting.pop()
        for name, child in snapshot.entries.get(inode, {}).items():
            node = snapshot.nodes[child]
            if name == "lost+found":
                continue
            found[path + name] = (node.kind.value, node.mode, node.content.read(), node.text)
            waiting.append((f"{path}{name}/", child))
    return found
