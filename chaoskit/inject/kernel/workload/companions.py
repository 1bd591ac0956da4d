"""The other threads of the test process: which are harmless at a fork, and what started them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from types import FrameType
from typing import Any

from chaoskit.core.errors import UsageError

_HARMLESS = ("execnet.", "pytest_timeout.", "chaoskit.explore.", "chaoskit.inject.", "chaoskit.plugin.")
"""Modules whose threads hold no lock that a forked child could need. Threads of chaoskit's runtime are
missing, since they run the user's code."""


def check(allowed: Sequence[str]) -> None:
    """Refuse other threads, except harmless ones and those that match a glob in ``allowed``.

    In the child a lock of another thread stays locked forever. A glob is matched against the thread's name
    and against its plugin or package, where dashes and underscores are the same.

    Raises:
        UsageError: naming the threads, their owners, and the remedies.
    """
    own = threading.get_ident()
    wanted = {*allowed, *(glob.replace("_", "-") for glob in allowed)}
    known = {thread.ident: thread for thread in threading.enumerate()}
    refused: list[tuple[str, str]] = []
    for ident, frame in sys._current_frames().items():
        if ident == own:
            continue
        modules = list(_modules(known.get(ident), frame))
        if any(f"{module}.".startswith(_HARMLESS) for module in modules):
            continue
        name = known[ident].name if ident in known else f"thread {ident}"
        owner = _owner(modules)
        if not any(fnmatchcase(one, glob) for one in (name, owner) for glob in wanted):
            refused.append((name, owner))
    if refused:
        raise _refusal(refused)


def _refusal(refused: Sequence[tuple[str, str]]) -> UsageError:
    names = ", ".join(sorted(name for name, _ in refused))
    belong = [f"{name} belongs to {owner}" for name, owner in sorted(refused) if owner]
    whose = f" ({'; '.join(belong)})" if belong else ""
    example = refused[0][1] or refused[0][0]
    return UsageError(
        f"the test process has other threads ({names}); expected none, since a lock that one of them holds "
        f"would stay locked in the forked workload{whose}. Stop them before run(), or start them inside "
        "the workload. A server that the workload talks to is declared instead, and runs in a process of its "
        'own that no crash takes along: chaos.peer("shop.example", start={"GET /": b"body"}). If they '
        f'hold no lock that the workload needs, name them: @scenario(threads=("{example}",)).'
    )


def _modules(thread: threading.Thread | None, frame: FrameType) -> Iterator[str]:
    """The modules whose code a thread runs, those of its target first.

    Frames do not suffice: those of a waiting :class:`threading.Timer` are all in ``threading``.
    """
    if thread is not None:
        for what in (getattr(thread, "_target", None), getattr(thread, "function", None)):
            yield from _modules_of(what)
        yield type(thread).__module__
    step: FrameType | None = frame
    frames = []
    while step is not None:
        frames.append(str(step.f_globals.get("__name__", "")))
        step = step.f_back
    yield from reversed(frames)


def _modules_of(function: Callable[..., Any] | None) -> Iterator[str]:
    # Look through a partial, and count the class of a bound method's object.
    function = getattr(function, "func", function)
    owner = getattr(function, "__self__", None)
    if owner is not None:
        yield type(owner).__module__
    module = getattr(function, "__module__", None)
    if isinstance(module, str):
        yield module


def _owner(modules: Sequence[str]) -> str:
    """The plugin or package that owns a thread: the first that is not part of Python, if any."""
    tops = (module.partition(".")[0] for module in modules)
    return next((top for top in tops if top and top not in sys.stdlib_module_names), "").replace("_", "-")
