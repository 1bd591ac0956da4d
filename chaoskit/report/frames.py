"""Write each call site and each stack once: thousands of points and cases share a few hundred.

In a file ``site`` is the number of a frame, and ``stack`` a list of such numbers. The stacks of points are
numbers, too: most of them have their callers in common, so they are a tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FrameTable:
    """The call sites of the report, as columns. ``file`` and ``function`` are indices into ``files`` and
    ``functions``."""

    files: tuple[str, ...]
    functions: tuple[str, ...]
    file: tuple[int, ...]
    line: tuple[int, ...]
    function: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StackTable:
    """The stacks of points, as columns. Stack 0 is empty. Stack n has the frame ``frame[n - 1]`` in front of
    the frames of its callers, which are the stack n - ``back[n - 1]``."""

    frame: tuple[int, ...]
    back: tuple[int, ...]


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


def table_of(frames: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The frames as a :class:`FrameTable` of plain values."""
    files: dict[str, int] = {}
    functions: dict[str, int] = {}
    file, line, function = [], [], []
    for frame in frames:
        file.append(files.setdefault(frame["file"], len(files)))
        line.append(frame["line"])
        function.append(functions.setdefault(frame["function"], len(functions)))
    columns = {"file": file, "line": line, "function": function}
    return {"files": list(files), "functions": list(functions), **columns}


def frames_of(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The inverse of :func:`table_of`.

    Raises:
        ValueError: if an index does not exist, or the columns differ in length. KeyError: if a column is
        missing.
    """
    rows = zip(table["file"], table["line"], table["function"], strict=True)
    return [
        {
            "file": listed(table["files"], file, "a frame", "files"),
            "line": line,
            "function": listed(table["functions"], function, "a frame", "functions"),
        }
        for file, line, function in rows
    ]


class Stacks:
    """Stacks of frames as a :class:`StackTable` that grows: :meth:`number` gives each its number."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], int] = {}
        self._whole: dict[tuple[int, ...], int] = {}

    def number(self, stack: Iterable[int]) -> int:
        whole = tuple(stack)
        if whole not in self._whole:
            number = 0
            for frame in reversed(whole):
                number = self._nodes.setdefault((frame, number), len(self._nodes) + 1)
            self._whole[whole] = number
        return self._whole[whole]

    def to_dict(self) -> dict[str, Any]:
        # The callers of a stack are nearly always the entry before it, and a 1 is shorter than its number.
        back = [number - below for (_, below), number in self._nodes.items()]
        return {"frame": [frame for frame, _ in self._nodes], "back": back}


def stacks_of(table: Mapping[str, Any]) -> list[list[Any]]:
    """All stacks of a :class:`StackTable`, the empty one included, as lists of the numbers of frames.

    Raises:
        ValueError: if a stack is not on top of an earlier one, or the columns differ in length. KeyError: if
        a column is missing.
    """
    stacks: list[list[Any]] = [[]]
    for frame, back in zip(table["frame"], table["back"], strict=True):
        # Only backwards: a stack that contains itself would never end.
        if type(back) is not int or not 0 < back <= len(stacks):
            raise ValueError(
                f"stack {len(stacks)} is on top of the one {back!r} before it; expected 1 to {len(stacks)}"
            )
        stacks.append([frame, *stacks[-back]])
    return stacks


def listed(values: Sequence[Any], index: Any, what: str, where: str) -> Any:
    """The value at an index that was read from a file.

    Raises:
        ValueError: if there is none; ``what`` is what refers to it, ``where`` the name of the list.
    """
    # A negative index would count from the end, and show another value.
    if type(index) is not int or not 0 <= index < len(values):
        raise ValueError(f"{what} refers to {index!r} of {len(values)} {where}")
    return values[index]


def _key(frame: Mapping[str, Any]) -> tuple[Any, ...]:
    return (frame["file"], frame["line"], frame["function"])
