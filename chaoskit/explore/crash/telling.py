"""Find out whether a recording contains the path of the directory that it was made in."""

from __future__ import annotations

import os

from chaoskit.explore.crash.snapshot import Inode
from chaoskit.explore.crash.steps import Script, StepKind

_UTF_16 = ("utf-16-le", "utf-16-be")
"""Encodings that some programs write text in; most use the system's bytes of the path."""


def tells(script: Script, path: str) -> bool:
    """True if a file, a link, an attribute or a promise contains ``path`` at any time.

    A path that was compressed, encrypted or hashed is not recognised.
    """
    wanted = frozenset({os.fsencode(path), *(path.encode(form, "surrogatepass") for form in _UTF_16)})
    return (
        _in_promises(script, path)
        or any(_in_bytes(node.content.read(), wanted) or path in node.text for node in script.nodes)
        or any(_in_bytes(value, wanted) for node in script.nodes for value in node.xattrs.values())
        or _in_steps(script, wanted)
    )


def _in_promises(script: Script, path: str) -> bool:
    # As Python spells it, which is the same for text, paths and bytes unless it has to escape something.
    spelled = {repr(path)[1:-1], repr(os.fsencode(path))[2:-1]}
    return any(one in repr(promised) for promised in script.promised for one in spelled)


def _in_bytes(data: bytes, wanted: frozenset[bytes]) -> bool:
    return any(one in data for one in wanted)


def _in_steps(script: Script, wanted: frozenset[bytes]) -> bool:
    longest = max(map(len, wanted)) - 1
    # A write may end with the first half of a path whose other half begins the next write.
    ends: dict[Inode, tuple[int, bytes]] = {}
    for step in script.steps:
        if isinstance(step.value, bytes) and _in_bytes(step.value, wanted):
            return True
        if step.kind is not StepKind.DATA or step.payload is None or step.torn_from is not None:
            continue
        at, before = ends.get(step.owner, (-1, b""))
        data = bytes(step.part(step.offset, step.end))
        joined = before + data if at == step.offset else data
        if _in_bytes(joined, wanted):
            return True
        ends[step.owner] = step.end, joined[-longest:]
    return False
