"""The checksums that a snapshot may carry. The snapshot itself names the one it has.

======  ==========================  ===============================================================
name    time for 8 MB               use
======  ==========================  ===============================================================
sha256  4 to 20 ms, by processor    everything. Always available. Also reveals a forged snapshot, if
                                    its digest is kept elsewhere
xxh3    0.3 ms                      large states. Guards against accidents, not against an adversary.
                                    Needs the package ``xxhash``
======  ==========================  ===============================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Literal, TypeAlias, get_args

from chaoskit.core.errors import wrong
from chaoskit.runtime.failures.taxonomy import ConfigurationError

__all__ = ["Checksum", "check_checksum", "digest_of", "size_of"]

Checksum: TypeAlias = Literal["sha256", "xxh3"]

_SIZES: dict[str, int] = {"sha256": 32, "xxh3": 16}


def check_checksum(name: str) -> Checksum:
    """Return ``name``, after checking that this checksum can be computed here.

    Raises:
        UsageError: there is no checksum of that name.
        ConfigurationError: the package that computes it is not installed.
    """
    for known in get_args(Checksum):
        if name == known:
            _new(known)
            return known  # type: ignore[no-any-return]
    raise wrong(
        "checksum", name, f"one of {', '.join(map(repr, get_args(Checksum)))}", "The default is 'sha256'."
    )


def size_of(name: str) -> int | None:
    """The length of a checksum's digest in bytes; None if no such checksum is known."""
    return _SIZES.get(name)


def digest_of(name: str, pieces: Iterable[Any]) -> bytes:
    """The digest of the pieces, joined in order.

    Raises:
        ConfigurationError: the package that computes it is not installed.
    """
    state = _new(name)
    for piece in pieces:
        state.update(piece)
    digest: bytes = state.digest()
    return digest


def _new(name: str) -> Any:
    if name == "sha256":
        return hashlib.sha256()
    try:
        return import_module("xxhash").xxh3_128()
    except ImportError as error:
        raise ConfigurationError(
            f"the checksum {name!r} needs the package xxhash, which cannot be imported: {error}",
            hint="Install xxhash. New snapshots can do without: checksum='sha256'.",
        ) from error
