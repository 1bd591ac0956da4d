"""What each call changes in the tree. A call that is not in :data:`CHANGES` changes nothing that we follow.

Owners and times of files (``chown``, ``utimens``) are not followed. Stores into shared mappings are known
from what the backend read (:mod:`chaoskit.explore.crash.between`).
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Mapping
from types import MappingProxyType

from chaoskit.core.operation import Bytes, Operation
from chaoskit.explore.crash.snapshot import Inode, Node, NodeKind
from chaoskit.explore.crash.steps import StepKind
from chaoskit.explore.crash.tree import FileTree

_KEEP_SIZE, _PUNCH, _COLLAPSE, _ZERO, _INSERT = 0x01, 0x02, 0x08, 0x10, 0x20
"""Modes of fallocate(2), from linux/falloc.h."""
_EXCHANGE = 2
"""``RENAME_EXCHANGE`` of renameat2(2), from linux/fs.h."""
_TMPFILE = getattr(os, "O_TMPFILE", 0)


def open_file(tree: FileTree, operation: Operation) -> None:
    """``open``, which may create a file or empty one."""
    detail = operation.file
    # If a kill cut the call short it may have created the file: assume so, as an optional step.
    guessed = operation.result is None and detail.flags & os.O_CREAT and tree.file(operation) is None
    if detail.created or guessed:
        node = Node(NodeKind.FILE, tree.mode(detail, 0o666), identity=detail.inode)
        inode = tree.create(node)
        # O_TMPFILE contains O_DIRECTORY, so that one bit in common is not enough.
        if not (_TMPFILE and detail.flags & _TMPFILE == _TMPFILE):
            tree.name(operation.target, inode, creates=True)
        return
    known = tree.acted_on(operation)
    if detail.truncated and known is not None:
        tree.resize(known, 0)


def mkdir(tree: FileTree, operation: Operation) -> None:
    """``mkdir``."""
    mode = tree.mode(operation.file, 0o777)
    node = Node(NodeKind.DIRECTORY, mode, identity=operation.file.inode)
    tree.name(operation.target, tree.create(node), creates=True)


def symlink(tree: FileTree, operation: Operation) -> None:
    """``symlink``. The text persists with the inode: no file system shows a link without one."""
    detail = operation.file
    node = Node(NodeKind.SYMLINK, 0o777, text=detail.text or "", identity=detail.inode)
    tree.name(operation.target, tree.create(node), creates=True)


def mknod(tree: FileTree, operation: Operation) -> None:
    """``mknod``, which makes regular files as well if no type is given (mknod(2))."""
    detail = operation.file
    form = stat.S_IFMT(detail.mode or 0)
    kind = NodeKind.FILE if form in (0, stat.S_IFREG) else NodeKind.OTHER
    node = Node(kind, tree.mode(detail, 0o666), identity=detail.inode, format=form)
    tree.name(operation.target, tree.create(node), creates=True)


def link(tree: FileTree, operation: Operation) -> None:
    """``link``."""
    inode = tree.acted_on(operation)
    if inode is None:
        inode = _from_outside(tree, operation)
    # A file opened without a name (O_TMPFILE) gets its first one here.
    tree.name(operation.second or "", inode, creates=tree.links[inode] == 0)


def _from_outside(tree: FileTree, operation: Operation) -> Inode:
    """An inode for what a link or a rename brings in from outside the scenario's directory."""
    detail = operation.file
    # Links and special files are rare here; taken for files, they at least have a name.
    kind = NodeKind.DIRECTORY if detail.directory else NodeKind.FILE
    if detail.directory and detail.brought:
        return _with_all_in_it(tree, operation)
    if detail.data is None:
        tree.caveat("content-unknown", f"{operation} brings in a file whose content was not recorded")
        return tree.create(Node(kind, identity=detail.inode))
    mode = 0o644 if detail.mode is None else detail.mode
    if detail.unsynced:
        # As if it had been written here, just before it got its name.
        inode = tree.create(Node(kind, mode, identity=detail.inode))
        tree.put(inode, 0, len(detail.data), detail.data)
        return inode
    # It was there before the run, or was synced there.
    return tree.create(Node(kind, mode, detail.data, identity=detail.inode))


def _with_all_in_it(tree: FileTree, operation: Operation) -> Inode:
    """A directory from elsewhere: its names are on the disk, and so is what was synced in it."""
    detail = operation.file
    mode = 0o755 if detail.mode is None else detail.mode
    directories = {"": tree.create(Node(NodeKind.DIRECTORY, mode, identity=detail.inode))}
    for one in detail.brought:
        content = Bytes(b"") if one.data is None or one.unsynced else one.data
        inode = tree.create(Node(NodeKind(one.kind), one.mode, content, one.text, identity=one.inode))
        if one.kind == "directory":
            directories[one.name] = inode
        tree.hold(directories[posixpath.dirname(one.name)], posixpath.basename(one.name), inode)
        if one.unsynced and one.data is not None:
            tree.put(inode, 0, len(one.data), one.data)
    return directories[""]


def unlink(tree: FileTree, operation: Operation) -> None:
    """``unlink`` and ``rmdir``."""
    # By name, not by inode: of several names of one file only this one is removed.
    parent, name = tree.parent(operation.target), posixpath.basename(operation.target)
    if parent is None or name not in tree.entries.get(parent, {}):
        return
    inode = tree.entries[parent][name]
    tree.release(inode, tree.enter(parent, name, None))


def rename(tree: FileTree, operation: Operation) -> Inode | None:
    """``rename``. Returns the file whose data is written out with it: see ``Effect.flushed``."""
    source, target = operation.target, operation.second or ""
    parent, into = tree.parent(source), tree.parent(target)
    name, new_name = posixpath.basename(source), posixpath.basename(target)
    inode = tree.entries[parent].get(name) if parent is not None else None
    if inode is None and into is not None:
        inode = _from_outside(tree, operation)
    if inode is None:
        return None
    replaced = tree.entries[into].get(new_name) if into is not None else None
    if replaced == inode:
        return None  # Two names of one file: POSIX wants nothing to happen.
    if operation.file.flags & _EXCHANGE and parent is not None and into is not None and replaced is not None:
        first = len(tree.steps)
        tree.enter(into, new_name, inode, partner=first + 1, exchange=True)
        tree.enter(parent, name, replaced, partner=first, exchange=True)
        return None
    _move(tree, inode, (parent, name), (into, new_name), replaced)
    return inode if replaced is not None else None


def _move(
    tree: FileTree,
    inode: Inode,
    source: tuple[Inode | None, str],
    target: tuple[Inode | None, str],
    replaced: Inode | None,
) -> None:
    """The two halves of a rename, each the other's partner; one alone if the other is outside."""
    # Partners point forward and back; the first half names a step that comes next.
    both = source[0] is not None and target[0] is not None
    first = len(tree.steps)
    if target[0] is not None:
        new = tree.enter(target[0], target[1], inode, partner=first + 1 if both else None)
    if source[0] is not None:
        tree.enter(source[0], source[1], None, partner=first if both else None)
    if replaced is not None:
        tree.release(replaced, new)


def write(tree: FileTree, operation: Operation) -> None:
    """``write``, and every call that copies into a file. A short write changes only what it reports."""
    inode, data = tree.file(operation), operation.file.data
    # If a kill cut it short, all of it may have been written; torn steps cover the partial writes.
    length = len(data) if data is not None and operation.result is None else operation.result or 0
    if inode is None or not length:
        return
    if data is None or len(data) < length:
        tree.caveat("content-unknown", f"{operation} wrote data that was not recorded")
        # Zeroes in place of what was not recorded, with a caveat: the size at least is right.
        data = Bytes((b"" if data is None else data.read()).ljust(length, b"\0"))
    offset = operation.file.offset
    # Without an offset it was an append whose place is not known.
    tree.put(inode, tree.sizes[inode] if offset is None else offset, length, data)


def clone(tree: FileTree, operation: Operation) -> None:
    """``ioctl(FICLONE)``: blocks are shared, which leaves the same content as a copy."""
    detail, inode = operation.file, tree.file(operation)
    if inode is None or detail.data is None:
        tree.caveat("content-unknown", f"{operation} shared data that was not recorded")
        return
    tree.put(inode, detail.offset or 0, len(detail.data), detail.data)


def truncate(tree: FileTree, operation: Operation) -> None:
    """``truncate``."""
    inode = tree.file(operation)
    if inode is not None:
        tree.resize(inode, operation.file.length or 0)


def fallocate(tree: FileTree, operation: Operation) -> None:
    """``fallocate``. Collapsing and inserting ranges is not followed, and leaves a caveat."""
    detail, inode = operation.file, tree.file(operation)
    if inode is None or not detail.length:
        return
    mode, offset, end = detail.mode or 0, detail.offset or 0, (detail.offset or 0) + detail.length
    if mode & (_COLLAPSE | _INSERT):
        tree.caveat("range-moved", f"{operation} moved a range of the file; it is not followed")
        return
    if not mode & _PUNCH:
        # Blocks exist already, so ext4 has no reason to write the data early.
        tree.preallocated.add(inode)
    if mode & (_PUNCH | _ZERO):
        tree.zero(inode, offset, min(end, tree.sizes[inode]), keeps=bool(mode & _ZERO))
    if inode in tree.written:
        # ext4 journals this size at once, even if the data has not been written yet.
        tree.grow(inode, min(end, tree.sizes[inode]))
    if not mode & _KEEP_SIZE and end > tree.sizes[inode]:
        tree.resize(inode, end)


def chmod(tree: FileTree, operation: Operation) -> None:
    """``chmod``."""
    inode, mode = tree.acted_on(operation), operation.file.mode
    if inode is not None and mode is not None:
        # The file type in st_mode is not an attribute: nothing can change it.
        tree.add(StepKind.ATTRIBUTE, inode, name="mode", value=stat.S_IMODE(mode))


def setxattr(tree: FileTree, operation: Operation) -> None:
    """``setxattr`` and ``removexattr`` of user attributes: those of the system depend on the place."""
    detail, inode = operation.file, tree.acted_on(operation)
    if inode is None or not detail.text or not detail.text.startswith("user."):
        return
    value = None
    if operation.call == "setxattr":
        value = detail.data.read() if detail.data is not None else b""
    tree.add(StepKind.ATTRIBUTE, inode, name=detail.text, value=value)


CHANGES: Mapping[str, Callable[[FileTree, Operation], None]] = MappingProxyType(
    {
        "open": open_file,
        "mkdir": mkdir,
        "symlink": symlink,
        "mknod": mknod,
        "link": link,
        "unlink": unlink,
        "rmdir": unlink,
        "write": write,
        "copy_file_range": write,
        "sendfile": write,
        "splice": write,
        "clone": clone,
        "truncate": truncate,
        "fallocate": fallocate,
        "chmod": chmod,
        "setxattr": setxattr,
        "removexattr": setxattr,
    }
)
"""What each call does, by the name of its family. Renames and syncs have an effect beyond their steps."""
