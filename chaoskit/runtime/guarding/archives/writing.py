"""Writes members as files below one directory that has no other writer."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Set
from pathlib import Path

from chaoskit.runtime.failures.taxonomy import ArchiveTooBig, CorruptArchive, UnsafeArchive
from chaoskit.runtime.guarding.archives.limits import ArchiveLimits
from chaoskit.runtime.guarding.archives.manifest import ManifestEntry
from chaoskit.runtime.guarding.archives.members import ArchiveMember, Data
from chaoskit.runtime.guarding.archives.names import Parts, folded, shown

_STEP = 1 << 16
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class StageWriter:
    """Writes members below ``stage``, which is empty and has no other writer.

    It cannot follow a planted link: only names that were made here exist, and links are made last.
    """

    def __init__(self, stage: Path, limits: ArchiveLimits, archive_size: int) -> None:
        self._stage = stage
        self._limits = limits
        self._left = limits.unpacked(archive_size)
        self._count = 0
        self._seen: dict[Parts, Parts] = {(): ()}
        self._directories: set[Parts] = {()}
        self._links: list[ArchiveMember] = []
        self.entries: list[ManifestEntry] = []

    def add(self, member: ArchiveMember, data: Data | None) -> None:
        """Write one member; ``data`` is the content of a file."""
        with _fits(member):
            self._add(member, data)

    def _add(self, member: ArchiveMember, data: Data | None) -> None:
        if not member.parts:
            if member.kind != "directory":
                raise UnsafeArchive(f"the target itself is a {member.kind} in it")
            return
        if member.kind == "directory":
            self._directory(member.parts)
            return
        self._directory(member.parts[:-1])
        self._new(member.parts)
        if data is None:
            # Links come last: nothing can be written through a link that does not exist yet.
            self._links.append(member)
        else:
            self._file(member, data)

    def _new(self, parts: Parts) -> None:
        """Register a name, which must be new even if case and Unicode composition are ignored."""
        # Folded, since on the target's file system A and a may be the same file.
        key = folded(parts)
        if key in self._seen:
            known = shown(_path(self._seen[key]))
            raise UnsafeArchive(f"{shown(_path(parts))} and {known} are one name, or it is there twice")
        self._count += 1
        if self._count > self._limits.members:
            raise ArchiveTooBig(f"more than {self._limits.members:,} members")
        self._seen[key] = parts

    def _directory(self, parts: Parts) -> None:
        for length in range(1, len(parts) + 1):
            part = parts[:length]
            known = self._seen.get(folded(part))
            if known is None:
                self._new(part)
                self._directories.add(part)
                # Private: other users must not reach into a half-unpacked archive.
                os.mkdir(self._place(part), 0o700)
            elif known != part or part not in self._directories:
                raise UnsafeArchive(f"{shown(_path(part))} clashes with {shown(_path(known))}")

    def _place(self, parts: Parts) -> Path:
        return self._stage.joinpath(*parts)

    def _file(self, member: ArchiveMember, data: Data) -> None:
        digest, got = hashlib.sha256(), 0
        mode = 0o700 if member.executable else 0o600
        # With an opener, Python closes the descriptor even if there is no memory left for the file object.
        with open(
            self._place(member.parts), "wb", buffering=0, opener=lambda path, _: os.open(path, _NEW, mode)
        ) as file:
            # Ask for one byte more than declared, to notice a member that is longer than it declares.
            while block := data.read(min(_STEP, member.size - got + 1)):
                got += len(block)
                self._left -= len(block)
                if got > member.size:
                    raise CorruptArchive(
                        f"{shown(member.path)} is longer than the {member.size:,} bytes declared"
                    )
                if self._left < 0:
                    raise ArchiveTooBig(f"with {shown(member.path)} it unpacks to more than is allowed")
                digest.update(block)
                view = memoryview(block)
                while view:
                    view = view[file.write(view) or 0 :]
        if got != member.size:
            raise CorruptArchive(f"{shown(member.path)} has {got:,} bytes of the {member.size:,} declared")
        self.entries.append(
            ManifestEntry(member.path, got, f"sha256:{digest.hexdigest()}", member.executable)
        )

    def finish(self) -> None:
        """Make the links. By now everything exists that they may lead to."""
        links = {member.parts for member in self._links}
        files = {entry.path: entry for entry in self.entries}
        for member in self._links:
            target = self._target(member, links)
            with _fits(member):
                if member.kind == "symlink":
                    os.symlink(member.to, self._place(member.parts))
                    self.entries.append(ManifestEntry(member.path, link=member.to))
                else:
                    self._same_file(member, target, files.get(_path(target)))

    def _target(self, member: ArchiveMember, links: Set[Parts]) -> Parts:
        """The target of a link, which must be a file or directory that this archive has made.

        It is followed part by part, as the kernel does: if ``s`` is a link, ``s/../x`` lies beside the target
        of ``s``, not beside ``s`` itself. So every part of the path but the last must be a real directory.
        """
        at = list(member.parts[:-1]) if member.kind == "symlink" else []
        for part in member.to.split("/"):
            if tuple(at) not in self._directories or (part == ".." and not at):
                raise _leads_elsewhere(member)
            if part == "..":
                at.pop()
            elif part not in ("", "."):
                at.append(part)
        made = tuple(at)
        absolute_or_empty = member.to[:1] in ("/", "")
        if absolute_or_empty or not made or made in links or self._seen.get(folded(made)) != made:
            raise _leads_elsewhere(member)
        return made

    def _same_file(self, member: ArchiveMember, target: Parts, of: ManifestEntry | None) -> None:
        if of is None:
            raise UnsafeArchive(
                f"the hard link {shown(member.path)} leads to {shown(member.to)}, which is not a file"
            )
        os.link(self._place(target), self._place(member.parts))
        self.entries.append(ManifestEntry(member.path, of.size, of.checksum, of.executable))


@contextlib.contextmanager
def _fits(member: ArchiveMember) -> Iterator[None]:
    """Raise UnsafeArchive for a name that is too long for the target's file system: the archive chose it."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise UnsafeArchive(
            f"the name {shown(member.path)}, or what it leads to, is too long for this place",
            hint="Each part of it may be too long, or all of it together with the path of the target.",
        ) from None


def _leads_elsewhere(member: ArchiveMember) -> UnsafeArchive:
    return UnsafeArchive(
        f"the link {shown(member.path)} leads to {shown(member.to)}, which is not a file of the archive"
    )


def _path(parts: Parts) -> str:
    return "/".join(parts)
