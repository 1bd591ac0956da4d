"""Pickles signed with a key, so that only its holders can have made them."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.failures.taxonomy import SecurityError

__all__ = ["SignedPickle"]

# Part of what is signed, so that bytes signed with the same key for another purpose don't pass as a pickle.
_PURPOSE = b"chaoskit snapshot pickle 1\0"
_MAC = 32


class SignedPickle:
    """Lets a ``StateCodec`` pickle values of unknown types, signed with ``key`` by HMAC-SHA-256.

    Unpickling executes whatever the pickle says. The signature is checked first, so a pickle is as
    trustworthy as everyone who has the key. Use at least 32 random bytes, for example
    ``secrets.token_bytes(32)``, and keep them outside the directory of the snapshots.

    Raises:
        UsageError: the key has fewer than 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes | bytearray) or len(key) < _MAC:
            # The type and length only: the key must not get into messages.
            length = len(key) if isinstance(key, bytes | bytearray | str) else None
            raise wrong("the key", f"{type(key).__name__} of length {length}", "at least 32 bytes")
        self._key = bytes(key)

    def __repr__(self) -> str:
        return "SignedPickle(key=…)"

    def dumps(self, value: Any) -> bytes:
        """The signature, then the pickle.

        Raises:
            Exception: whatever pickling the value raises.
        """
        text = pickle.dumps(value, protocol=5)
        return self._sign(text) + text

    def loads(self, data: bytes) -> Any:
        """The value.

        Raises:
            SecurityError: the signature was not made with this key. Nothing was unpickled.
            Exception: whatever unpickling raises.
        """
        if not hmac.compare_digest(self._sign(data[_MAC:]), data[:_MAC]):
            raise SecurityError(
                "a pickle in the snapshot is not signed by this key; nothing of it was unpickled",
                hint="Use the key that it was written with. If that was this one, it has been forged.",
            )
        return pickle.loads(data[_MAC:])

    def _sign(self, text: bytes) -> bytes:
        mac = hmac.new(self._key, _PURPOSE, hashlib.sha256)
        mac.update(text)
        return mac.digest()
