"""What files hold that a workload opens to read them: that is what can be damaged under its hands."""

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
        """What the file holds that ``call`` is about to open; None if that is known, or of no use."""
        with suppress(*UNFAITHFUL):
            found = damageable(call)
            identity = (found.st_dev, found.st_ino)
            data = content(call, found)
            # By content and not by its times: within one tick of the clock they say nothing.
            digest = hashlib.blake2b(data, digest_size=16).digest()
            if self._known.get(identity) != digest and len(data) <= self._left:
                self._known[identity] = digest
                self._left -= len(data)
                return self._store.keep(data)
        return None


def damageable(call: FileCall) -> os.stat_result:
    """What the file is like that an open is about to read.

    Raises:
        CannotExecute: for what is not read by this open, is not a regular file with content, is too large, or
            has another name, which may be outside of the scenario's directory.
        OSError: if it is not there.
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
    """All bytes of a file that :func:`damageable` has let pass.

    Raises:
        CannotExecute: if the test process holds a lock on it.
        OSError: if it cannot be read.
    """
    assert call.path is not None
    # Closing our descriptor would give the lock up.
    translate.not_locked_by_us(found)
    return brought.kept(extents.opened(call.path), PayloadStore(), 0, WHOLE).read()
