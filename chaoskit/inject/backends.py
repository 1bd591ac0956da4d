"""The registry of backends. Only this module knows them by name; all other code has a ``Backend``.

A backend is imported only when it is asked for: what the kernel backend needs does not exist on every system,
and ``import chaoskit`` must stay cheap in projects that never inject anything.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from chaoskit.core.errors import BackendUnavailable, wrong
from chaoskit.core.schedule import Schedule
from chaoskit.faults.shapes import is_afterwards
from chaoskit.inject.base import Backend, Check

AUTO = "auto"
"""The name that stands for the default backend of this machine."""


@dataclass(frozen=True, slots=True)
class _BackendEntry:
    """The place of a backend's class, and the systems (``sys.platform``) that can import it."""

    module: str
    attribute: str
    platforms: frozenset[str]
    instead: str
    """What users of other systems can do instead."""


_ENTRIES: Mapping[str, _BackendEntry] = {
    "kernel": _BackendEntry(
        "chaoskit.inject.kernel.backend",
        "KernelBackend",
        frozenset({"linux"}),
        "chaoskit.injecting and chaoskit.runtime work everywhere, the first at the calls of Python code; for "
        "scenarios on the kernel's backend use Linux, a container or WSL 2.",
    ),
    "inprocess": _BackendEntry(
        "chaoskit.inject.inprocess.backend",
        "InProcessBackend",
        frozenset({"linux", "darwin", "win32"}),
        "It works wherever Python does; use a system of which pytest is known to work.",
    ),
}

_BY_HAND = "Faults by hand, in a block of any test, work here: chaoskit.injecting."

NAMES: tuple[str, ...] = tuple(_ENTRIES)
"""The backends by name, the one that :data:`AUTO` prefers first."""


def default() -> str:
    """The name that :data:`AUTO` stands for here: the first backend made for this system."""
    # Not the first that works: a default that depended on the machine would change what tests find.
    return next((name for name, entry in _ENTRIES.items() if sys.platform in entry.platforms), NAMES[0])


def backend(name: str = AUTO) -> Backend:
    """The backend called ``name``; its ``unavailable`` says whether it works here.

    Raises:
        UsageError: for a name outside :data:`NAMES`. BackendUnavailable: if it is not made for this system at
        all.
    """
    entry = _entry(name)
    if sys.platform not in entry.platforms:
        raise BackendUnavailable(f"it does not exist on {sys.platform}. {entry.instead}")
    made: Backend = getattr(importlib.import_module(entry.module), entry.attribute)()
    return made


def found(name: str = AUTO) -> tuple[Backend | None, str]:
    """The backend called ``name``, or None if scenarios cannot run on it here; also why, and what would help.

    Raises:
        UsageError: for a name outside :data:`NAMES`.
    """
    try:
        made = backend(name)
    except BackendUnavailable as error:
        return None, str(error)
    # Workers and guards are watched through descriptors (pidfd_open(2)).
    if sys.platform != "linux":
        why = f"scenarios run their cases in processes of Linux, and this is {sys.platform}. {_BY_HAND}"
        return None, why
    reason = made.unavailable()
    return (None, reason) if reason is not None else (made, "")


def examine(name: str = AUTO) -> tuple[Check, ...]:
    """Try what the backend called ``name`` needs of this machine, for ``chaoskit doctor``.

    Raises:
        UsageError: for a name outside :data:`NAMES`.
    """
    entry = _entry(name)
    if sys.platform not in entry.platforms:
        wanted = " or ".join(sorted(one.capitalize() for one in entry.platforms))
        return (Check(wanted, False, f"this is {sys.platform}", entry.instead),)
    return backend(name).examine()


def check(schedule: Schedule, made: Backend) -> None:
    """Refuse a schedule that was typed by hand if ``made`` cannot inject one of its faults.

    Faults that strike no call belong to the explorer, and no backend is asked for them.

    Raises:
        ScheduleError: naming the first such fault, and the faults that exist.
    """
    for strike in schedule:
        # A power loss is built from the recording; the backend only runs the recovery.
        if not is_afterwards(strike.fault):
            made.check(strike.fault)


def _entry(name: str) -> _BackendEntry:
    found = _ENTRIES.get(default() if name == AUTO else name)
    if found is None:
        raise wrong("backend", name, f"one of {', '.join((AUTO, *NAMES))}")
    return found
