"""The functions of ``os`` that act on files, and how their calls are understood."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from chaoskit.core.operation import FileDetail, LookupDetail
from chaoskit.inject.inprocess import facts
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.descriptors import OpenFile
from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.wrapping import Understand

Original = Callable[..., Any]
Args = tuple[Any, ...]
Words = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FunctionRow:
    """The meaning of the arguments of one function of ``os``.

    ``first`` and ``second`` are the keywords of its first arguments, which are names. ``number`` is the
    position and keyword of the argument that goes into the detail as ``field``. ``by_descriptor`` is the name
    of the system call if a descriptor replaces the name. ``follow``: a link at the end of the name is
    followed, unless the caller says otherwise.
    """

    family: str
    first: str = "path"
    second: str = ""
    number: tuple[int, str] | None = None
    field: str = ""
    by_descriptor: str = ""
    follow: bool = False


NAMED: Mapping[str, FunctionRow] = {
    "rename": FunctionRow("rename", "src", "dst"),
    "replace": FunctionRow("rename", "src", "dst"),
    "link": FunctionRow("link", "src", "dst"),
    "unlink": FunctionRow("unlink"),
    "remove": FunctionRow("unlink"),
    "rmdir": FunctionRow("rmdir"),
    "mkdir": FunctionRow("mkdir", number=(1, "mode"), field="mode"),
    "mkfifo": FunctionRow("mknod", number=(1, "mode"), field="mode"),
    "mknod": FunctionRow("mknod", number=(1, "mode"), field="mode"),
    "truncate": FunctionRow(
        "truncate", number=(1, "length"), field="length", by_descriptor="ftruncate", follow=True
    ),
    "ftruncate": FunctionRow(
        "truncate", "fd", number=(1, "length"), field="length", by_descriptor="ftruncate"
    ),
    "chmod": FunctionRow("chmod", number=(1, "mode"), field="mode", by_descriptor="fchmod", follow=True),
    "fchmod": FunctionRow("chmod", "fd", number=(1, "mode"), field="mode", by_descriptor="fchmod"),
    "chown": FunctionRow("chown", by_descriptor="fchown", follow=True),
    "fchown": FunctionRow("chown", "fd", by_descriptor="fchown"),
    "lchown": FunctionRow("chown"),
    "utime": FunctionRow("utimens", by_descriptor="futimens", follow=True),
    "setxattr": FunctionRow(
        "setxattr", number=(1, "attribute"), field="text", by_descriptor="fsetxattr", follow=True
    ),
    "removexattr": FunctionRow(
        "removexattr", number=(1, "attribute"), field="text", by_descriptor="fremovexattr", follow=True
    ),
    "stat": FunctionRow("stat", follow=True),
    "lstat": FunctionRow("stat"),
    "access": FunctionRow("access", number=(1, "mode"), field="mode", follow=True),
    "readlink": FunctionRow("readlink"),
}
"""Functions that act on a name. Those that act on an open file are in :mod:`.transfers`."""

_LOOKS = frozenset({"stat", "access", "readlink"})
_MAKES = frozenset({"mkdir", "mknod", "symlink"})


def argument(args: Args, words: Words, place: int, name: str, default: Any = None) -> Any:
    """One argument, wherever it was given."""
    return args[place] if len(args) > place else words.get(name, default)


def named(
    name: str, row: FunctionRow, run: WatchedRun, original: Original, args: Args, words: Words
) -> PythonCall | None:
    """A call of a function of :data:`NAMED`; None if no name of it is below the root."""
    first = argument(args, words, 0, row.first)
    if isinstance(first, int):
        return _by_descriptor(row, run, original, args, words) if row.by_descriptor else None
    follow = row.follow and bool(words.get("follow_symlinks", True))
    open_, given = run.descriptors, words.get("dir_fd") if not row.second else words.get("src_dir_fd")
    path = open_.resolved(first, given, follow)
    target = open_.below(path)
    if path is None:
        return None
    known: dict[str, Any] = {}
    if row.number is not None and row.field:
        known[row.field] = argument(args, words, *row.number)
    do = partial(original, *args, **words)
    if row.family in _LOOKS:
        if target is None:
            return None
        detail = LookupDetail(follow=follow, mode=known.get("mode"))
        return PythonCall(row.family, target, name, do, lambda: detail, names=(first,), result=_nothing)
    if row.second:
        return _two_names(name, row, run, do, (first, path, target), args, words)
    if target is None:
        return None
    call = PythonCall(
        *(row.family, target, name, do),
        lambda: facts.of_name(run.machine, path, follow, **known),
        names=(first,),
        result=_nothing,
    )
    call.after = partial(_changed, run, row.family, path)
    return call


def _two_names(
    name: str,
    row: FunctionRow,
    run: WatchedRun,
    do: Any,
    old: tuple[Any, str, str | None],
    args: Args,
    words: Words,
) -> PythonCall | None:
    given, path, target = old
    second = argument(args, words, 1, row.second)
    other = run.descriptors.resolved(second, words.get("dst_dir_fd"))
    beside = run.descriptors.below(other)
    if other is None or (target is None and beside is None):
        return None

    def after(value: Any, detail: Any) -> Any:
        if row.family == "rename":
            run.descriptors.renamed(target or path, beside or other)
        return detail

    return PythonCall(
        *(row.family, target or path, name, do),
        lambda: facts.of_name(run.machine, path, False, other),
        second=beside or other,
        names=(given, second),
        after=after,
        result=_nothing,
    )


def _by_descriptor(
    row: FunctionRow, run: WatchedRun, original: Original, args: Args, words: Words
) -> PythonCall | None:
    fd = argument(args, words, 0, row.first)
    file = run.descriptors.get(fd)
    if file is None:
        return None
    known = {row.field: argument(args, words, *row.number)} if row.number is not None else {}
    return PythonCall(
        *(row.family, file.target, row.by_descriptor, partial(original, *args, **words)),
        lambda: facts.of_descriptor(run.machine, fd, file, **known),
        names=() if row.first == "fd" else (fd,),
        result=_nothing,
        retried=True,
    )


def _changed(run: WatchedRun, family: str, path: str, value: Any, detail: Any) -> Any:
    # If a directory or link appears or disappears, other names may lead elsewhere.
    run.descriptors.forget_names()
    if family in _MAKES and isinstance(detail, FileDetail):
        return dataclasses.replace(detail, **facts.made(run.machine, path))
    return detail


def _nothing(_: Any) -> int:
    """The result of a system call that merely succeeds."""
    return 0


def symlink(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.symlink``, which acts on its second name."""
    content, name = argument(args, words, 0, "src"), argument(args, words, 1, "dst")
    path = run.descriptors.resolved(name, words.get("dir_fd"))
    target = run.descriptors.below(path)
    if path is None or target is None:
        return None
    text = os.fsdecode(os.fspath(content))
    return PythonCall(
        *("symlink", target, "symlink", partial(original, *args, **words)),
        lambda: facts.of_name(run.machine, path, False, text=text),
        names=(content, name),
        after=partial(_changed, run, "symlink", path),
        result=_nothing,
    )


def listed(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.listdir`` or ``os.scandir``: one look into a directory.

    The system needs an ``open`` and some reads for it; one operation stands for all, since Python's caller
    cannot tell which of them failed.
    """
    given = argument(args, words, 0, "path")
    file = run.descriptors.get(given)
    path = (
        file.path
        if file
        else None
        if isinstance(given, int)
        else run.descriptors.resolved(given or ".", follow=True)
    )
    target = run.descriptors.below(path)
    if path is None or target is None:
        return None
    return PythonCall(
        *("getdents", target, "getdents64", partial(original, *args, **words)),
        lambda: facts.of_name(run.machine, path, True),
        names=(given,),
        result=_nothing,
    )


def opened(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall | None:
    """A call of ``os.open``."""
    name, flags = argument(args, words, 0, "path"), argument(args, words, 1, "flags", 0)
    exclusive = flags & (os.O_CREAT | os.O_EXCL) == os.O_CREAT | os.O_EXCL
    follow = not exclusive and not flags & getattr(os, "O_NOFOLLOW", 0)
    path = run.descriptors.resolved(name, words.get("dir_fd"), follow)
    target = run.descriptors.below(path)
    if path is None or target is None:
        return None

    def after(fd: Any, detail: Any) -> Any:
        run.descriptors.opened(fd, OpenFile(target, path, flags))
        # In an ordinary case no detail is kept.
        return (
            dataclasses.replace(detail, **facts.opened(run.machine, fd, flags, detail))
            if isinstance(detail, FileDetail)
            else detail
        )

    mode = argument(args, words, 2, "mode", 0o777)

    def detail() -> FileDetail:
        # Damages are enumerated from it; hand-picked ones need not be.
        held = run.held.before(path, flags) if run.plan.record and not run.by_hand else None
        return facts.of_name(run.machine, path, follow, flags=flags, mode=mode, held=held)

    return PythonCall(
        *("open", target, "open", partial(original, *args, **words)),
        detail,
        names=(name,),
        after=after,
        retried=True,
        damage=lambda label, prove: run.held.damage(path, flags, label, prove),
    )


TABLE: Mapping[str, Understand] = {
    **{name: partial(named, name, row) for name, row in NAMED.items()},
    "symlink": symlink,
    "listdir": listed,
    "scandir": listed,
    "open": opened,
}
"""What a call of each function is, by its name in ``os``."""
