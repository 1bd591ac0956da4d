"""A mark on disk for later runs: this folder has failed, this device is out of service."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.durable.files.reading import open_regular
from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.durable.files.staging import sync_published
from chaoskit.runtime.durable.files.writing import write_file
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability, check_durability

__all__ = ["Flag", "FlagInfo"]


@dataclass(frozen=True)
class FlagInfo:
    """The content of a flag. ``at`` is in seconds since the epoch.

    If ``damaged`` is True, the content could not be read. Such a flag still counts as set, since what
    it warns of is unknown.
    """

    reason: str
    details: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0
    damaged: bool = False


class Flag:
    """The file ``path`` as a flag, which is set while the file exists.

    ``set`` and ``clear`` survive the crash that ``durability`` names, and a reader sees the state before or
    after such a change, never a mixture. Setting a flag again replaces its content. A process that is killed
    while setting a flag leaves a hidden file beside it, which ``clean_leftovers`` removes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = DEFAULT_DURABILITY,
        clock: Clock | None = None,
    ) -> None:
        self._path = Path(os.path.abspath(kinds.path("path", path)))
        self._durability = check_durability(durability)
        self._clock = kinds.clock(clock, optional=True) or SystemClock()

    def set(self, reason: str, /, **details: Any) -> None:
        """Set the flag.

        Raises:
            UsageError: JSON cannot hold the details. Nothing was changed.
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
        """The content of the flag; None if it is not set.

        Raises:
            OSError: the file cannot be looked up or read. Treat the flag as set.
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
        """Remove the flag; False if it was not set.

        Raises:
            OutcomeUnknown: the flag is removed, but a power loss may bring it back.
            OSError: the flag is still set.
        """
        with named_refusals("clear the flag", self._path):
            try:
                os.unlink(self._path)
                found = True
            except FileNotFoundError:
                found = False
            except OSError:
                # The call may have taken effect although a network share lost its answer.
                if os.path.lexists(self._path):
                    raise
                found = True
        # Even if there was no flag: the process that removed it may have been killed before it synced.
        if self._durability == "power-loss" and self._path.parent.is_dir():
            sync_published(self._path)
        return found
