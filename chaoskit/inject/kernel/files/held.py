"""The contents of files that a workload opens for reading, which can be damaged just before the open."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from chaoskit.core.operation import Payload
from chaoskit.inject.damageable import MOST_IN_ALL, reads, refusal
from chaoskit.inject.kernel.border import UNFAITHFUL, CannotExecute
from chaoskit.inject.kernel.files import brought, extents, translate
from chaoskit.inject.kernel.files.calls import FileCall
from chaoskit.inject.kernel.files.payload import WHOLE, PayloadStore


class KnownContents:
    """Remembers what each file held at its last open in one run."""

    def __init__(self, store: PayloadStore) -> None:
        self._store = store
        self._known: dict[tuple[int, int], bytes] = {}
        self._left = MOST_IN_ALL

    def before(self, call: FileCall) -> Payload | None:
        """The content of the file that ``call`` opens; None if it is known already, or useless."""
        with suppress(*UNFAITHFUL):
            found = damageable(call)
            identity = (found.st_dev, found.st_ino)
            data = content(call, found)
            # By content, not by times, which do not change within one clock tick.
            digest = hashlib.blake2b(data, digest_size=16).digest()
            if self._known.get(identity) != digest and len(data) <= self._left:
                self._known[identity] = digest
                self._left -= len(data)
                return self._store.keep(data)
        return None


def damageable(call: FileCall) -> os.stat_result:
    """The status of the file that an open is about to read.

    Raises:
        CannotExecute: for a file that this open does not read, that is not regular or empty, is too large, or
        has another name, which may be outside the scenario's directory. OSError: if it does not exist.
    """
    if not call.row.opens or call.path is None:
        raise CannotExecute("only a file that is opened can be damaged")
    if not reads(call.flags):
        raise CannotExecute("this open does not read the file")
    found = os.stat(call.path, follow_symlinks=call.follow)
    if why := refusal(found):
        raise CannotExecute(why)
    return found


def content(call: FileCall, found: os.stat_result) -> bytes:
    """All bytes of a file that :func:`damageable` accepted.

    Raises:
        CannotExecute: if the test process holds a lock on it.
        OSError: if it cannot be read.
    """
    assert call.path is not None
    # Closing our descriptor would release the lock.
    translate.not_locked_by_us(found)
    return brought.kept(extents.opened(call.path), PayloadStore(), 0, WHOLE).read()
