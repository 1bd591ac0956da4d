"""Single values for which JSON has no form, as JSON and back.

Each type has a tag, which a snapshot holds under the key ``$``. A dictionary in the state that has a key
``$`` is written in another form, so that it is never mistaken for a tagged value.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
import zoneinfo
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

__all__ = ["FROM_JSON", "LARGEST", "TO_JSON", "float_to_json"]

LARGEST = 1 << 53
"""The largest integer that JSON readers in every language read exactly."""


def float_to_json(value: float) -> Any:
    """Return a finite number unchanged; infinities and NaN with a tag, since JSON does not have them."""
    return value if math.isfinite(value) else {"$": "float", "v": repr(value)}


def _int(value: int) -> Any:
    # Hexadecimal, since Python refuses to parse decimal numbers of more than 4300 digits.
    return value if -LARGEST <= value <= LARGEST else {"$": "int", "v": hex(value)}


def _small_bytes(tag: str) -> Callable[[Any], Any]:
    return lambda value: {"$": tag, "v": b64encode(value).decode()}


def _moment(tag: str) -> Callable[[Any], Any]:
    def to_json(value: dt.datetime | dt.time) -> Any:
        zone = _zone(value)
        # Without the offset if the zone has a name, since the offset follows from that.
        plain = value.replace(tzinfo=None) if "z" in zone else value
        return {"$": tag, "v": plain.isoformat(), **zone}

    return to_json


def _zone(value: dt.datetime | dt.time) -> dict[str, Any]:
    """What ISO 8601 leaves out: the zone's name, and which of the two equal hours in autumn is meant."""
    said: dict[str, Any] = {"f": 1} if value.fold else {}
    if isinstance(value.tzinfo, zoneinfo.ZoneInfo) and value.tzinfo.key:
        said["z"] = value.tzinfo.key
    elif value.tzinfo is not None and type(value.tzinfo) is not dt.timezone:
        raise TypeError(f"its tzinfo is a {type(value.tzinfo).__name__}; expected timezone or ZoneInfo")
    return said


def _in_zone(value: Any, node: Mapping[str, Any]) -> Any:
    zone = {"tzinfo": zoneinfo.ZoneInfo(node["z"])} if "z" in node else {}
    return value.replace(fold=node.get("f", 0), **zone)


TO_JSON: dict[type, Callable[[Any], Any]] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    str: lambda value: value,
    int: _int,
    float: float_to_json,
    complex: lambda value: {"$": "complex", "v": [repr(value.real), repr(value.imag)]},
    bytes: _small_bytes("bytes"),
    bytearray: _small_bytes("bytearray"),
    dt.datetime: _moment("datetime"),
    dt.date: lambda value: {"$": "date", "v": value.isoformat()},
    dt.time: _moment("time"),
    dt.timedelta: lambda value: {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]},
    Decimal: lambda value: {"$": "decimal", "v": str(value)},
    uuid.UUID: lambda value: {"$": "uuid", "v": value.hex},
    # PosixPath or WindowsPath, depending on the system.
    type(Path()): lambda value: {"$": "path", "v": str(value)},
}
"""By exact type: a subclass may hold more than its base, and that would be lost without an error."""

FROM_JSON: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "float": lambda node: float(node["v"]),
    "int": lambda node: int(node["v"], 16),
    "complex": lambda node: complex(*map(float, node["v"])),
    "bytes": lambda node: b64decode(node["v"], validate=True),
    "bytearray": lambda node: bytearray(b64decode(node["v"], validate=True)),
    "datetime": lambda node: _in_zone(dt.datetime.fromisoformat(node["v"]), node),
    "date": lambda node: dt.date.fromisoformat(node["v"]),
    "time": lambda node: _in_zone(dt.time.fromisoformat(node["v"]), node),
    "timedelta": lambda node: dt.timedelta(*node["v"]),
    "decimal": lambda node: Decimal(node["v"]),
    "uuid": lambda node: uuid.UUID(hex=node["v"]),
    "path": lambda node: Path(node["v"]),
}
