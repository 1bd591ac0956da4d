"""Configuration that may change while the program runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.config.load import Loaded

T = TypeVar("T")

logger = logging.getLogger("chaoskit")


@dataclass(frozen=True, slots=True)
class SettingChange:
    """An option that differs; ``before`` or ``after`` is None if the option did not or does not exist."""

    path: str
    before: str | None
    after: str | None
    origin: str

    def __str__(self) -> str:
        return f"{self.path}: {self.before} → {self.after} ({self.origin})"


@dataclass(frozen=True, slots=True)
class Drift:
    """The difference between the sources and the record in force. False if there is none."""

    changes: tuple[SettingChange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes)) or "no drift"

    def to_dict(self) -> dict[str, Any]:
        """The changes by path, as text; secrets are hidden."""
        return {c.path: {"before": c.before, "after": c.after, "origin": c.origin} for c in self.changes}


class Live(Generic[T]):
    """Holds the record in force; :meth:`reload` replaces it as a whole.

    ``read`` loads it from its sources. Threads may share an instance: a thread that has read ``value`` keeps
    a consistent record. If the sources become invalid, the record stays.
    """

    def __init__(self, read: Callable[[], Loaded[T]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._listeners: list[Callable[[T, Drift], object]] = []
        self.loaded = read()

    @property
    def value(self) -> T:
        """The record in force."""
        return self.loaded.value

    def on_change(self, listener: Callable[[T, Drift], object]) -> None:
        """Call ``listener`` with the new record and its changes, after each reload that changed something.

        Its exceptions are logged; the new record is in force anyway.
        """
        synchronous("listener", listener, optional=False)
        self._listeners.append(listener)

    def drift(self) -> Drift:
        """What a reload would change now. Raises ``ConfigurationProblems`` if the sources are invalid."""
        return _compare(self.loaded, self._read())

    def reload(self) -> Drift:
        """Put the present content of the sources in force, and return the changes.

        Raises ``ConfigurationProblems`` if they are invalid; then the old record stays in force.
        """
        with self._lock:
            new = self._read()
            drift = _compare(self.loaded, new)
            self.loaded = new
        # Outside the lock: a listener may read the value, or reload again.
        if drift:
            # A copy: a listener may add another.
            for listener in tuple(self._listeners):
                self._tell(listener, drift)
        return drift

    def _tell(self, listener: Callable[[T, Drift], object], drift: Drift) -> None:
        try:
            listener(self.value, drift)
        except Exception:
            logger.exception("listener %r failed on a changed configuration", listener)


def _compare(before: Loaded[Any], after: Loaded[Any]) -> Drift:
    old = {s.path: s for s in before.settings}
    new = {s.path: s for s in after.settings}
    changes = []
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path), new.get(path)
        # Compare types as well: 1, 1.0 and True are equal, but not the same setting.
        if was is None or now is None or type(was.value) is not type(now.value) or was.value != now.value:
            origin = (now or was).origin  # type: ignore[union-attr]
            shown = (was.shown if was else None, now.shown if now else None)
            changes.append(SettingChange(path, *shown, origin))
    return Drift(tuple(changes))
