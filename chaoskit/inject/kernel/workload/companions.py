"""The other threads of the test process: which a workload may be forked beside, and whose they are."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from types import FrameType
from typing import Any

from chaoskit.core.errors import UsageError

_HARMLESS = ("execnet.", "pytest_timeout.", "chaoskit.explore.", "chaoskit.inject.", "chaoskit.plugin.")
"""Modules whose threads hold no lock that a forked child could need. Not all of chaoskit: the threads of
its runtime run what the user gave them."""


def check(allowed: Sequence[str]) -> None:
    """Refuse other threads, but for harmless ones and those that ``allowed`` names by globs.

    A lock that another thread holds stays locked for ever in the child. A glob is compared with the thread's
    name, and with the plugin or package that it belongs to, in which a dash is as good as an underscore.

    Raises:
        UsageError: naming the threads, whose they are, and the ways out.
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
        f"would stay locked in the forked workload{whose}. Stop them before run(), or start them inside of "
        "the workload. A server that the workload talks to is declared instead, and runs in a process of its "
        'own that no crash takes along: chaos.peer("shop.example", start={"GET /": b"body"}). If they '
        f'hold no lock that the workload needs, name them: @scenario(threads=("{example}",)).'
    )


def _modules(thread: threading.Thread | None, frame: FrameType) -> Iterator[str]:
    """The modules that a thread runs, whatever it waits in at the moment: what it was given first.

    A :class:`threading.Timer` that waits has only frames of ``threading``.
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
    # A partial hides what it calls, and a bound method is of its object's class as well.
    function = getattr(function, "func", function)
    owner = getattr(function, "__self__", None)
    if owner is not None:
        yield type(owner).__module__
    module = getattr(function, "__module__", None)
    if isinstance(module, str):
        yield module


def _owner(modules: Sequence[str]) -> str:
    """The plugin or package that a thread belongs to: the first that is not Python itself, if any."""
    tops = (module.partition(".")[0] for module in modules)
    return next((top for top in tops if top and top not in sys.stdlib_module_names), "").replace("_", "-")
