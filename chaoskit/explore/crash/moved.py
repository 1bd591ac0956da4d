"""What was recorded in one directory, as it reads in another.

Programs write the path of their directory into files, links and promises. A crash state is built from
a recording that was made elsewhere; left as they are, these paths would lead recovery there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True, slots=True)
class Moved:
    """Replaces the paths of ``roots`` by that of ``place``.

    Only where they have equal length, so that offsets in files stay true. What a program has compressed,
    encrypted or put under a checksum with the path in it stays as it was recorded.
    """

    roots: tuple[str, ...]
    place: str

    def value(self, value: Any) -> Any:
        """``value`` with every path in it moved: text, bytes, paths, and plain collections of these."""
        for root in self.roots:
            if root != self.place and len(os.fsencode(root)) == len(os.fsencode(self.place)):
                value = _moved(value, root, self.place)
        return value


def _moved(value: Any, root: str, place: str) -> Any:
    # By exact type: of a subclass we do not know how it is constructed.
    kind = type(value)
    if kind is bytes:
        return value.replace(os.fsencode(root), os.fsencode(place))
    if kind is str:
        return value.replace(root, place)
    if isinstance(value, PurePath):
        return kind(str(value).replace(root, place))
    if kind in (list, tuple, set, frozenset):
        return kind(_moved(one, root, place) for one in value)
    if kind is dict:
        return {_moved(key, root, place): _moved(one, root, place) for key, one in value.items()}
    return value
