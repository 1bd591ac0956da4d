"""The content of a directory at one moment, held in memory, so later changes do not show."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.operation import Bytes, Payload
from chaoskit.explore.depth import within_reach

Inode = int
"""A file, directory or link, independent of its names: an index into the nodes of one script, those of its
snapshot first. Never reused, unlike the system's inode numbers."""

TOP: Inode = 0
"""The directory itself."""

NO_XATTRS: Mapping[str, bytes] = {}
# Not a MappingProxyType, which cannot be pickled: some snapshots come from worker processes.


class NodeKind(Enum):
    """The kind of an inode. ``OTHER`` are FIFOs, sockets and devices: named, but without content."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Node:
    """One inode. ``mode`` has the permission bits; ``text`` is the target of a symbolic link.

    ``identity`` is the system's (device, inode number), which operations use to name files.
    """

    kind: NodeKind
    mode: int = 0o644
    content: Payload = field(default_factory=lambda: Bytes(b""))
    text: str = ""
    xattrs: Mapping[str, bytes] = field(default_factory=lambda: NO_XATTRS)
    identity: tuple[int, int] | None = None
    format: int = 0
    """The file type bits of an ``OTHER``, as in ``st_mode``; 0 for the other kinds."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A directory tree: ``nodes[0]`` is the directory itself, ``entries`` has the names in each directory.

    Hard links are several names of one inode.
    """

    nodes: tuple[Node, ...] = (Node(NodeKind.DIRECTORY, 0o755),)
    entries: Mapping[Inode, Mapping[str, Inode]] = field(default_factory=lambda: {TOP: {}})

    @classmethod
    def take(cls, path: str | os.PathLike[str]) -> Snapshot:
        """Read the directory at ``path``, everything below it included.

        Raises:
            UsageError: if ``path`` is not a directory, pyfakefs keeps it in memory, or the tree is too deep.
            OSError: if a part of it cannot be read.
        """
        # pyfakefs replaces the module ``os`` everywhere, here too.
        if type(os).__module__.startswith("pyfakefs"):
            raise UsageError(
                "pyfakefs is active in a scenario with power_loss or fsync_lies; expected the real file "
                "system: crash states are made of real files. Leave out the fixture fs, or name other "
                "faults, such as faults.disk() | faults.kill()."
            )
        if not os.path.isdir(path):
            raise wrong("path", os.fspath(path), "an existing directory")
        reader = _SnapshotReader()
        # By path, not by descriptor: the workload is not running while a snapshot is taken.
        with within_reach():
            reader.read(os.fspath(path))
        return cls(tuple(reader.nodes), reader.entries)

    @classmethod
    def of(cls, tree: Mapping[str, object]) -> Snapshot:
        """Build one from values: bytes are files, str are symbolic links, mappings are directories.

        Raises UsageError for any other value.
        """
        nodes: list[Node] = []
        entries: dict[Inode, dict[str, Inode]] = {}
        _grow(tree, nodes, entries)
        return cls(tuple(nodes), entries)


def _grow(part: object, nodes: list[Node], entries: dict[Inode, dict[str, Inode]]) -> Inode:
    inode = len(nodes)
    if isinstance(part, bytes):
        nodes.append(Node(NodeKind.FILE, 0o644, Bytes(part)))
    elif isinstance(part, str):
        # Linux gives symbolic links this mode and ignores it.
        nodes.append(Node(NodeKind.SYMLINK, 0o777, text=part))
    elif isinstance(part, Mapping):
        nodes.append(Node(NodeKind.DIRECTORY, 0o755))
        entries[inode] = {}
        entries[inode].update({name: _grow(child, nodes, entries) for name, child in part.items()})
    else:
        raise wrong("a part of the tree", part, "bytes, str or a mapping")
    return inode


class _SnapshotReader:
    """Walks a directory; files with several names are read once."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.entries: dict[Inode, dict[str, Inode]] = {}
        self._seen: dict[tuple[int, int], Inode] = {}

    def read(self, path: str) -> Inode:
        status = os.lstat(path)
        identity = (status.st_dev, status.st_ino)
        known = self._seen.get(identity)
        if known is not None:
            return known
        inode = self._seen[identity] = len(self.nodes)
        self.nodes.append(_node(path, status))
        if stat.S_ISDIR(status.st_mode):
            names = self.entries[inode] = {}
            # Sorted, so that the same tree always gets the same numbers.
            for name in sorted(os.listdir(path)):
                names[name] = self.read(os.path.join(path, name))
        return inode


def _node(path: str, status: os.stat_result) -> Node:
    mode, identity = stat.S_IMODE(status.st_mode), (status.st_dev, status.st_ino)
    if stat.S_ISDIR(status.st_mode):
        return Node(NodeKind.DIRECTORY, mode, identity=identity, xattrs=_xattrs(path))
    if stat.S_ISLNK(status.st_mode):
        return Node(NodeKind.SYMLINK, mode, text=os.readlink(path), identity=identity)
    if not stat.S_ISREG(status.st_mode):
        return Node(NodeKind.OTHER, mode, identity=identity, format=stat.S_IFMT(status.st_mode))
    # Without a buffer: contents are read once, as a whole.
    with open(path, "rb", buffering=0) as file:
        content = Bytes(file.readall() or b"")
    return Node(NodeKind.FILE, mode, content, xattrs=_xattrs(path), identity=identity)


def _xattrs(path: str) -> Mapping[str, bytes]:
    """The attributes in the user namespace; labels and access lists depend on the place."""
    # The file system (OSError) or the platform (AttributeError) may have no attributes.
    try:
        names = [name for name in os.listxattr(path) if name.startswith("user.")]
    except (OSError, AttributeError):
        return NO_XATTRS
    return {name: os.getxattr(path, name) for name in names} if names else NO_XATTRS
