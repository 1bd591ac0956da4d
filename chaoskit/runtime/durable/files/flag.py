"""A mark on disk that later runs see: this folder has failed, this device is out of service."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.durable.files.reading import open_regular
from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.durable.files.staging import sync_published
from chaoskit.runtime.durable.files.writing import write_file
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability, check_durability

__all__ = ["Flag", "FlagInfo"]


@dataclass(frozen=True)
class FlagInfo:
    """What a flag says. ``at`` is seconds since the epoch.

    A ``damaged`` one could not be read: it counts as set all the same, since what it warns of is unknown.
    """

    reason: str
    details: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0
    damaged: bool = False


class Flag:
    """A flag that is the file ``path``: set while the file is there.

    ``set`` and ``clear`` survive the crash that ``durability`` names; a reader sees the flag before or
    after a change. Setting it again replaces what it says. A process that is killed while it sets one leaves
    a hidden file beside it, which ``clean_leftovers`` removes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = DEFAULT_DURABILITY,
        clock: Clock | None = None,
    ) -> None:
        self._path = Path(os.path.abspath(path))
        self._durability = check_durability(durability)
        self._clock = clock or SystemClock()

    def set(self, reason: str, /, **details: Any) -> None:
        """Set it.

        Raises:
            UsageError: the details are not JSON. Nothing was changed.
            OutcomeUnknown, DiskFull, OSError: as ``write_file``.
        """
        said = {"format": 1, "reason": reason, "at": self._clock.time(), "details": details}
        try:
            text = json.dumps(said, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise wrong("details", details, "values that JSON can hold", f"It says: {error}.") from None
        content = json.dumps({"crc": zlib.crc32(text.encode()), "flag": text}) + "\n"
        write_file(self._path, content, durability=self._durability)

    def read(self) -> FlagInfo | None:
        """What it says; None if it is not set.

        Raises:
            OSError: there is no telling. Treat it as set.
        """
        try:
            with open_regular(self._path) as file:
                content = file.read()
        except FileNotFoundError:
            return None
        try:
            outer = json.loads(content)
            said = json.loads(outer["flag"])
            if zlib.crc32(outer["flag"].encode()) == outer["crc"]:
                return FlagInfo(str(said["reason"]), dict(said["details"]), float(said["at"]))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass
        return FlagInfo(f"the flag {str(self._path)!r} is there, but cannot be read", damaged=True)

    def clear(self) -> bool:
        """Take it away; False if it was not set.

        Raises:
            OutcomeUnknown: it is gone, but a power loss may bring it back.
            OSError: it is still set.
        """
        with named_refusals("clear the flag", self._path):
            try:
                os.unlink(self._path)
                found = True
            except FileNotFoundError:
                found = False
            except OSError:
                # A share may lose the answer to a call that took effect.
                if os.path.lexists(self._path):
                    raise
                found = True
        # Also when it was not there: the process that took it away may have been killed before this.
        if self._durability == "power-loss" and self._path.parent.is_dir():
            sync_published(self._path)
        return found
