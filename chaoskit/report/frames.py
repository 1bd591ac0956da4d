"""Write each call site once: thousands of points and cases share a few hundred.

In a file ``site`` is the index of a frame in the list ``frames`` beside the scenarios, and ``stack`` a list
of such indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def interned(plain: Any, frames: list[Mapping[str, Any]]) -> Any:
    """``plain`` with each frame replaced by its index in ``frames``; new frames are added there."""
    known = {_key(frame): index for index, frame in enumerate(frames)}

    def index_of(frame: Mapping[str, Any]) -> int:
        index = known.setdefault(_key(frame), len(frames))
        if index == len(frames):
            frames.append(frame)
        return index

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: site(key, item) for key, item in value.items()}
        return [replaced(item) for item in value] if isinstance(value, list) else value

    def site(key: str, value: Any) -> Any:
        if key == "site":
            return None if value is None else index_of(value)
        return [index_of(frame) for frame in value] if key == "stack" else replaced(value)

    return replaced(plain)


def restored(plain: Any, frames: Sequence[Any]) -> Any:
    """The inverse of :func:`interned`.

    Raises:
        ValueError: for an index that does not exist.
    """

    def frame(index: Any) -> Any:
        # A negative index would count from the end, and show another place.
        if type(index) is not int or not 0 <= index < len(frames):
            raise ValueError(f"refers to the frame {index!r} of {len(frames)}")
        return frames[index]

    if isinstance(plain, list):
        return [restored(item, frames) for item in plain]
    if not isinstance(plain, dict):
        return plain
    found = {}
    for key, value in plain.items():
        if key == "site":
            found[key] = None if value is None else frame(value)
        elif key == "stack":
            found[key] = [frame(index) for index in value]
        else:
            found[key] = restored(value, frames)
    return found


def _key(frame: Mapping[str, Any]) -> tuple[Any, ...]:
    return (frame["file"], frame["line"], frame["function"])
