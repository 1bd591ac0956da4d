"""Tells why a call might have another effect for us than for the thread that made it."""

from __future__ import annotations

import os

from chaoskit.inject.kernel.workload.tree import status

_RIGHTS = ("Uid", "Gid", "Groups", "CapEff")


def difference(tid: int, fields: dict[str, bytes]) -> str:
    """Why we cannot make a call in place of thread ``tid``; empty if we can.

    ``fields`` is its ``/proc/TID/status``. With other rights the answer may differ, and under another root
    directory or set of mounts a name means another file.
    """
    own = status(os.getpid())
    # Rights decide whether a call succeeds, so they must be equal.
    if any(fields.get(name) != own.get(name) for name in _RIGHTS):
        return "the caller is another user, or has other rights"
    try:
        for name, what in (("root", "root directory"), ("ns/mnt", "view of mounted file systems")):
            if os.readlink(f"/proc/{tid}/{name}") != os.readlink(f"/proc/self/{name}"):
                return f"the caller has another {what}"
    except OSError:
        return "the caller is gone"
    return ""
