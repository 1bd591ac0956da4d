"""Write a crash state into a directory, as the file system would show it after a reboot."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping

from chaoskit.explore.crash.snapshot import TOP, Inode, NodeKind
from chaoskit.explore.crash.states import CrashState, CrashStates
from chaoskit.explore.crash.tables import Tables
from chaoskit.explore.depth import within_reach
from chaoskit.inject.removal import remove

# Large enough for the files of a test, small enough for each of several workers to have it.
_KEPT = 64 * 1024 * 1024
"""Bytes of file contents that are kept for later states, by each worker process."""


class Materialiser:
    """Writes crash states into directories. Contents are computed once for all states, up to a bound.

    No two directories share a file: recovery may change whatever it finds.
    """

    def __init__(self, states: CrashStates) -> None:
        self._writer = Writer(states.tables)

    def write(self, state: CrashState, directory: str | os.PathLike[str]) -> None:
        """Replace the content of the existing ``directory`` by ``state``.

        The directory keeps its inode and gets the mode of the state.

        Raises:
            OSError: if the file system or the user's rights do not allow it, such as making a device.
            UsageError: if the state has more than some hundred levels of directories.
        """
        tables = self._writer.tables
        self._writer.write(tables.with_garbage(state.persisted, state.garbage), os.fspath(directory))


class Writer:
    """Writes what any set of steps leaves."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._contents: dict[tuple[Inode, int], bytes] = {}
        self._left = _KEPT

    def write(self, state: int, directory: str) -> None:
        """Replace the content of ``directory``. Raises OSError if the place does not allow it."""
        empty(directory)
        with within_reach():
            self._fill(TOP, directory, state, {}, set())

    def _fill(
        self, inode: Inode, path: str, state: int, written: dict[Inode, str], above: set[Inode]
    ) -> None:
        above.add(inode)
        for name, child in self.children(inode, state):
            if child not in above:
                self._write(child, f"{path}/{name}", state, written, above)
        above.discard(inode)
        # Last: a directory without write permission could not be filled.
        self._dress(inode, path, state)

    def children(self, inode: Inode, state: int) -> Iterator[tuple[str, Inode]]:
        """The entries of a directory."""
        names = dict(self.tables.initial.get(inode, {}))
        for name in self.tables.names_in.get(inode, ()):
            child = self.tables.child(inode, name, state)
            if child is None:
                names.pop(name, None)
            else:
                names[name] = child
        yield from names.items()

    def _write(
        self, inode: Inode, path: str, state: int, written: dict[Inode, str], above: set[Inode]
    ) -> None:
        node = self.tables.nodes[inode]
        if node.kind is NodeKind.DIRECTORY:
            # Two names of one directory (half of a rename) become two directories: no system call makes
            # a second link to one, and fsck would remove it.
            os.mkdir(path)
            self._fill(inode, path, state, written, above)
        elif inode in written:
            # Several names of one inode stay hard links: a program may rely on them.
            os.link(written[inode], path, follow_symlinks=False)
        else:
            written[inode] = path
            self._make(inode, path, state)

    def _make(self, inode: Inode, path: str, state: int) -> None:
        node = self.tables.nodes[inode]
        if node.kind is NodeKind.SYMLINK:
            os.symlink(node.text, path)
            return
        if node.kind is NodeKind.OTHER:
            # Its mode is set below, as for every file: the umask would narrow it here.
            os.mknod(path, node.format | 0o600)
        else:
            mode = self._mode(inode, state)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            try:
                view = memoryview(self.content(inode, state))
                while view:
                    view = view[os.write(fd, view) :]
            finally:
                os.close(fd)
        self._dress(inode, path, state)

    def content(self, inode: Inode, state: int) -> bytes:
        """The content of a file."""
        # By the steps on this file alone: thousands of states share its content.
        key = (inode, state & self.tables.content(inode).whole)
        found = self._contents.get(key)
        if found is None:
            found = self.tables.bytes(inode, state)
            # The oldest first; dicts keep the order in which keys came.
            while self._contents and self._left < len(found):
                self._left += len(self._contents.pop(next(iter(self._contents))))
            if len(found) <= self._left:
                self._contents[key] = found
                self._left -= len(found)
        return found

    def described(self, state: int) -> dict[str, tuple[str, int, bytes, str]]:
        """For each path its kind, mode, content and link text: what :meth:`write` would write."""
        found: dict[str, tuple[str, int, bytes, str]] = {}
        waiting: list[tuple[str, Inode, frozenset[Inode]]] = [("", TOP, frozenset((TOP,)))]
        while waiting:
            path, directory, above = waiting.pop()
            for name, inode in self.children(directory, state):
                node = self.tables.nodes[inode]
                if inode in above:
                    continue
                content = self.content(inode, state) if node.kind is NodeKind.FILE else b""
                # The mode as well: two states may differ in nothing else.
                found[path + name] = (node.kind.value, self._mode(inode, state), content, node.text)
                if node.kind is NodeKind.DIRECTORY:
                    waiting.append((f"{path}{name}/", inode, above | {inode}))
        return found

    def _mode(self, inode: Inode, state: int) -> int:
        mode = self.tables.attribute(inode, "mode", state)
        return mode if isinstance(mode, int) else 0o644

    def _dress(self, inode: Inode, path: str, state: int) -> None:
        """Set the mode, which the umask may have narrowed, and the extended attributes."""
        os.chmod(path, self._mode(inode, state))
        # Most inodes have none, and asking for each would cost as much as making the file.
        if not self.tables.nodes[inode].xattrs and inode not in self.tables.attributes:
            return
        for name, value in self.tables.attributes_of(inode, state).items():
            if name != "mode" and isinstance(value, bytes):
                os.setxattr(path, name, value)


def empty(directory: str) -> None:
    """Remove everything in ``directory``, whatever modes a program has left there.

    Raises OSError if something cannot be removed even then.
    """
    with os.scandir(directory) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                _remove_tree(entry.path)
            else:
                os.unlink(entry.path)


def _remove_tree(path: str) -> None:
    # Most directories are empty, and rmtree is slow to find that out.
    try:
        os.rmdir(path)
        return
    except OSError:
        pass
    remove(path)
    # What is left there would be taken for a part of the next state.
    if os.path.lexists(path):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)


def tree_of(tables: Tables, state: int) -> dict[str, object]:
    """What a set of steps leaves, without writing it: bytes, link text or a mapping for each name.

    Without modes and attributes: for reports, and for comparisons of contents.
    """
    return _described(Writer(tables), TOP, state, frozenset())


def _described(writer: Writer, inode: Inode, state: int, above: frozenset[Inode]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for name, child in sorted(writer.children(inode, state)):
        node = writer.tables.nodes[child]
        if node.kind is NodeKind.DIRECTORY:
            if child not in above:
                tree[name] = _described(writer, child, state, above | {inode})
        elif node.kind is NodeKind.FILE:
            tree[name] = writer.content(child, state)
        else:
            tree[name] = node.text
    return tree


def state_tree(states: CrashStates, state: CrashState) -> Mapping[str, object]:
    """What one crash state leaves, as :func:`tree_of` describes it."""
    return tree_of(states.tables, states.tables.with_garbage(state.persisted, state.garbage))
