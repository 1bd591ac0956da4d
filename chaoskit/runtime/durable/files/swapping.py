"""Putting a directory in place of another, by the best way that the file system has.

==================  =====================================================  =======================
way                 when                                                   readers in between see
==================  =====================================================  =======================
rename              nothing has the name                                   nothing, or the new one
exchange            the file system can do it                              the old one or the new
swap of a link      it can't, and the target is a link to a directory      the old one or the new
two renames         it can't, and the target is a directory                nothing, for a moment
==================  =====================================================  =======================

Only the last has a moment in which a crash leaves no target: then the old directory is beside it, under a
name that ends with ``.old``, and ``restore`` puts it back.
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
        FileExistsError: it is not.
    """
    try:
        rename_to_free_name(stage, target)
    except Unsupported:
        # Looked at before, since a plain rename replaces an empty directory without a word. Between the
        # look and the rename another process may make one: then that is replaced, and nothing is lost.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "it exists; expected a free name", str(target)) from None
        rename(stage, target)


def replace_directory(stage: Path, target: Path, *, sync: bool) -> Path | None:
    """Put ``stage`` in place of ``target``; the path at which what was there before is now.

    That is to be removed once the change is durable. None if there is nothing to remove.
    """
    try:
        exchange(stage, target)
    except Unsupported:
        if target.is_symlink():
            return _swap_link(stage, target, sync=sync)
        return _two_renames(stage, target)
    return stage


def _swap_link(stage: Path, target: Path, *, sync: bool) -> Path | None:
    """Point a link elsewhere: a new link is renamed over the old one."""
    before = target.parent / os.readlink(target)
    tree = unfinished_name(target, "tree")
    rename(stage, tree)
    if sync:
        # Else the link may become durable before what it points to.
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
    # What the link led to is removed only if it was put there by this function.
    known = parse(before.name)
    return before if known and known.kind == "tree" and before.parent == target.parent else None


def _two_renames(stage: Path, target: Path) -> Path:
    old = unfinished_name(target, "old")
    known = parse(old.name)
    if known is None or known.target != target.name:
        # Cut, it would not say where the directory belongs: a crash now, and it was put back elsewhere.
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
    """Undo half a replacement by two renames: put the old directory back if nothing is in its place."""
    if os.path.lexists(target):
        return False
    try:
        place_new(old, target)
    except FileExistsError:
        return False
    return True


def remove_tree(path: Path) -> bool:
    """Remove a directory with all in it, or a link; False if something could not be removed.

    Raises nothing: what is removed here has been replaced already, and an error would deny that.
    """
    try:
        led_to = path.parent / os.readlink(path)
    except OSError:  # No link, or one that cannot be read: rmtree refuses that by itself.
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
        known = parse(led_to.name)
        if known and known.kind == "tree":
            shutil.rmtree(led_to, ignore_errors=True)
    return identity(path) is None
