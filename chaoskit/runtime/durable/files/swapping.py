"""Replacing one directory with another, in the best way that the file system offers.

==================  =====================================================  =======================
way                 when                                                   readers in between see
==================  =====================================================  =======================
rename              nothing has the name                                   nothing, or the new one
exchange            the file system can do it                              the old one or the new
swap of a link      it can't, and the target is a link to a directory      the old one or the new
two renames         it can't, and the target is a directory                nothing, for a moment
==================  =====================================================  =======================

Only the last way can leave no target after a crash. The old directory is then beside it, under a name that
ends with ``.old``, and ``restore`` puts it back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from chaoskit.runtime.durable.files.names import parse, unfinished_name
from chaoskit.runtime.durable.files.renaming import (
    Unsupported,
    exchange,
    identity,
    rename,
    rename_to_free_name,
)
from chaoskit.runtime.durable.files.syncing import sync_directory

__all__ = ["place_new", "remove_tree", "replace_directory", "restore"]


def place_new(stage: Path, target: Path) -> None:
    """Give a directory its name, which must be free.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        rename_to_free_name(stage, target)
    except Unsupported:
        # Checked first, since a plain rename replaces an empty directory and reports success. An empty one
        # that another process creates in between is replaced, and nothing is lost.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "it exists; expected a free name", str(target)) from None
        rename(stage, target)


def replace_directory(stage: Path, target: Path, *, sync: bool) -> Path | None:
    """Put ``stage`` in place of ``target``; return the path at which the old directory now is.

    The caller removes it once the change is durable. None if there is nothing to remove.
    """
    try:
        exchange(stage, target)
    except Unsupported:
        if target.is_symlink():
            return _swap_link(stage, target, sync=sync)
        return _two_renames(stage, target)
    return stage


def _swap_link(stage: Path, target: Path, *, sync: bool) -> Path | None:
    """Point a link to the new directory, by renaming a new link over the old one."""
    before = target.parent / os.readlink(target)
    tree = unfinished_name(target, "tree")
    rename(stage, tree)
    if sync:
        # Otherwise the link could become durable before the directory that it points to.
        sync_directory(target.parent)
    link = unfinished_name(target)
    os.symlink(tree.name, link)
    try:
        rename(link, target)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(link)
            rename(tree, stage)
        raise
    # The directory behind the old link is removed only if this function put it there.
    known = parse(before.name)
    return before if known and known.kind == "tree" and before.parent == target.parent else None


def _two_renames(stage: Path, target: Path) -> Path:
    old = unfinished_name(target, "old")
    known = parse(old.name)
    if known is None or known.target != target.name:
        # The name was cut, and no longer says where the directory belongs. After a crash in between it would
        # be put back under another name.
        text = "too long to be replaced where the file system cannot exchange two names"
        raise OSError(errno.ENAMETOOLONG, text, str(target))
    rename(target, old)
    try:
        rename(stage, target)
    except OSError:
        rename(old, target)
        raise
    return old


def restore(old: Path, target: Path) -> bool:
    """Undo the first of two renames: put the old directory back, and return True, if its name is free."""
    if os.path.lexists(target):
        return False
    try:
        place_new(old, target)
    except FileExistsError:
        return False
    return True


def _rmtree(path: Path) -> None:
    # Its ignore_errors leaves out two calls: fstat and close of a directory that is open.
    with contextlib.suppress(OSError):
        shutil.rmtree(path, ignore_errors=True)


def remove_tree(path: Path) -> bool:
    """Remove a link, or a directory and everything in it; return False if part of it could not be removed.

    Never raises an OSError: the replacement has succeeded, and an error would make it look as if it had not.
    """
    try:
        led_to = path.parent / os.readlink(path)
    except OSError:  # Not a link, or an unreadable one, which rmtree refuses by itself.
        _rmtree(path)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
        known = parse(led_to.name)
        if known and known.kind == "tree":
            _rmtree(led_to)
    return identity(path) is None
