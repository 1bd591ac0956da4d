"""Whole directories: a reader sees the old one or the new one, never a mixture."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.durable.files.marking import mark
from chaoskit.runtime.durable.files.names import parse, unfinished_name
from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.durable.files.renaming import identity
from chaoskit.runtime.durable.files.staging import Validator, accept, sync_published
from chaoskit.runtime.durable.files.swapping import place_new, remove_tree, replace_directory, restore
from chaoskit.runtime.durable.files.syncing import sync_tree
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability, check_durability
from chaoskit.runtime.durable.owners import lives

__all__ = ["publish_directory", "restore_directory"]


@contextlib.contextmanager
def publish_directory(
    target: str | os.PathLike[str],
    *,
    replace: bool = False,
    validate: Validator | None = None,
    durability: Durability = DEFAULT_DURABILITY,
) -> Iterator[Path]:
    """Fill a directory, and publish it at the end of the block, all at once.

    The block gets the path of an empty directory beside ``target``. At the end ``validate`` may look at it,
    everything in it is synced, and it is renamed to ``target``. That name must be free; with ``replace`` it
    may also be that of a directory, which is then removed. If the block raises, nothing is changed.

    Where the file system can exchange two names, ``target`` exists at every moment. Where it cannot, and the
    target is not a link, a crash between two renames leaves no directory of that name. The next
    ``publish_directory`` or ``clean_leftovers`` then puts the old one back.

    Raises:
        FileExistsError: the name is taken, and ``replace`` was not given.
        NotADirectoryError: ``target`` is not a directory.
        TransactionValidationError: ``validate`` returned False.
        OutcomeUnknown: the directory is published, but a power loss may bring the old state back.
        DiskFull, OSError: the target is as it was.
    """
    check_durability(durability)
    synchronous("validate", validate)
    place = Path(os.path.abspath(kinds.path("target", target)))
    kinds.switch("replace", replace)
    sync = durability == "power-loss"
    with named_refusals("publish", target):
        restore_directory(place)
        _check(place, replace)
        stage = unfinished_name(place)
        os.mkdir(stage)
    made, descriptor = identity(stage), _marked(stage)
    try:
        yield stage
        with named_refusals("publish", target):
            accept(validate, stage)
            before = _publish(stage, place, replace, sync=sync)
    except BaseException:
        # An interrupt may come after the exchange, when this path holds the old directory.
        if identity(stage) == made:
            remove_tree(stage)
        raise
    finally:
        if descriptor is not None:
            # It carried a mark, and no data: an error would hide that the directory is published.
            with contextlib.suppress(OSError):
                os.close(descriptor)
    if sync:
        sync_published(place)
    if before is not None:
        # Only once the change is durable: otherwise a power loss could bring back an emptied directory.
        remove_tree(before)


def _publish(stage: Path, target: Path, replace: bool, *, sync: bool) -> Path | None:
    """Sync a directory and give it its name; return the path to be removed afterwards, if any."""
    there = _check(target, replace)
    if there is not None:
        os.chmod(stage, stat.S_IMODE(there.st_mode))
    if sync:
        sync_tree(stage)
    if there is None:
        place_new(stage, target)
        return None
    return replace_directory(stage, target, sync=sync)


def _check(target: Path, replace: bool) -> os.stat_result | None:
    """Check the target and return its attributes; None if the name is free."""
    if not os.path.lexists(target):
        return None
    if not replace:
        raise FileExistsError(errno.EEXIST, "it exists; to replace it give replace=True", str(target))
    if not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is not a directory; remove it first", str(target))
    return os.stat(target)


def _marked(stage: Path) -> int | None:
    if sys.platform == "win32":
        return None
    with contextlib.suppress(OSError):
        descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mark(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    return None


def restore_directory(target: Path) -> bool:
    """Undo a replacement whose process was killed between its two renames; return True if there was one."""
    if os.path.lexists(target):
        return False
    with os.scandir(target.parent) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        known = parse(name)
        if known and known.kind == "old" and known.target == target.name and lives(known.owner) is False:
            return restore(target.with_name(name), target)
    return False
