"""Unpacks an archive into a directory that appears as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.files.publishing import publish_directory
from chaoskit.runtime.durable.files.reading import open_regular
from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.failures.taxonomy import (
    ArchiveTooBig,
    ConfigurationError,
    CorruptArchive,
    UnsafeArchive,
)
from chaoskit.runtime.guarding.archives.limits import ArchiveLimits
from chaoskit.runtime.guarding.archives.manifest import Manifest
from chaoskit.runtime.guarding.archives.members import ArchiveMember, Container
from chaoskit.runtime.guarding.archives.names import shown
from chaoskit.runtime.guarding.archives.spool import compression, spool
from chaoskit.runtime.guarding.archives.tar import Tar
from chaoskit.runtime.guarding.archives.writing import StageWriter
from chaoskit.runtime.guarding.archives.zip import Zip

__all__ = ["extract", "inspect_archive"]

Links = Literal["refuse", "inside"]
_DEFAULT = ArchiveLimits()
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""How a zip begins: with its first member, or if it is empty with the end record (APPNOTE.TXT 4.3)."""


def extract(
    archive: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    limits: ArchiveLimits = _DEFAULT,
    links: Links = "refuse",
    replace: bool = False,
    manifest: Manifest | None = None,
) -> Manifest:
    """Unpack a tar (plain, gz, bz2, xz, or zst where Python can) or a zip; the content decides the format.

    Everything is unpacked beside ``destination``, checked to the last byte, synced, and then published under
    its name in one step. After an error, a kill or a power loss the name does not exist or, with
    ``replace``, still leads to the old directory. Files get mode 0600, executables and directories 0700;
    owners and times are not restored. An archive within the archive is unpacked as a file.

    A plain tar has no checksum over its data; nor has a tar in zstd or xz that was written without one. For
    these only a ``manifest``, which is compared before anything is published, reveals damage inside a file.

    Args:
        links: ``"refuse"`` them, or accept those that lead to a file or directory ``"inside"`` the archive.
        replace: replace ``destination`` if it exists.
        manifest: the exact content that the archive must have.

    Returns:
        The unpacked files, with checksums.

    Raises:
        UnsafeArchive: a member would leave the directory, is a device or a refused link, or has a name that
            means something else on another system.
        ArchiveTooBig: the archive exceeds ``limits``. This is a subclass of UnsafeArchive.
        CorruptArchive: the archive is cut, damaged, of an unknown format, or not what ``manifest`` says.
        ConfigurationError: it is compressed with zstd, which needs a package before Python 3.14.
        FileExistsError: ``destination`` exists, and ``replace`` was not given.
        OSError: the disk's own error; :class:`~chaoskit.runtime.DiskFull` if the disk is full.
    """
    if links not in ("refuse", "inside"):
        raise wrong("links", links, "'refuse' or 'inside'")
    if not isinstance(limits, ArchiveLimits):
        raise wrong("limits", limits, "ArchiveLimits")
    if not isinstance(manifest, Manifest | None):
        raise wrong("manifest", manifest, "a Manifest", "Manifest.from_json reads one.")
    source = Path(archive)
    with (
        _named(source),
        publish_directory(destination, replace=replace) as stage,
        # Covers the writes in the block too, where the disk is most likely to become full.
        named_refusals("unpack into", destination),
    ):
        writer = StageWriter(stage, limits, source.stat().st_size)
        with _opened(source, limits, stage.parent) as container:
            for member in container.members():
                _refuse_links(member, links)
                if member.kind == "file":
                    with container.open() as data:
                        writer.add(member, data)
                else:
                    writer.add(member, None)
        writer.finish()
        unpacked = Manifest.made(writer.entries)
        if manifest is not None:
            manifest.compare(unpacked)
    return unpacked


def inspect_archive(
    archive: str | os.PathLike[str], *, limits: ArchiveLimits = _DEFAULT
) -> tuple[ArchiveMember, ...]:
    """List the members of an archive without unpacking its files; links are listed, not followed.

    Names, kinds and the container's structure are checked as in :func:`extract`, and the same errors are
    raised; the data of the files is not read.
    """
    source, found = Path(archive), []
    with _named(source), _opened(source, limits, None) as container:
        for member in container.members():
            found.append(member)
            if len(found) > limits.members:
                raise ArchiveTooBig(f"more than {limits.members:,} members")
    return tuple(found)


@contextlib.contextmanager
def _named(source: Path) -> Iterator[None]:
    """Name the archive in the message of a refusal: it may be one of many, and the log must say which."""
    try:
        yield
    except (UnsafeArchive, CorruptArchive, ConfigurationError) as error:
        error.args = (f"{source}: {error.message}", *error.args[1:])
        raise


def _refuse_links(member: ArchiveMember, links: Links) -> None:
    if links == "refuse" and member.kind in ("symlink", "hardlink"):
        raise UnsafeArchive(
            f"{shown(member.path)} is a link to {shown(member.to)}",
            hint="If links within the archive are wanted, say so: links='inside'.",
        )


@contextlib.contextmanager
def _opened(source: Path, limits: ArchiveLimits, beside: Path | None) -> Iterator[Container]:
    """Open the archive as a container; a compressed one is first unpacked, unnamed, in ``beside``."""
    with open_regular(source) as file:
        head = file.read(8)
        file.seek(0)
        make = compression(head)
        if make is None:
            yield Zip(file, limits) if head.startswith(_ZIP) else Tar(file, limits)
            return
        # Headers and padding add to the data: 2 KiB are enough for each member's two blocks and its name.
        allowed = limits.unpacked(source.stat().st_size) + limits.members * 2048
        with spool(file, make, allowed, beside) as unpacked:
            yield Tar(unpacked, limits)
