"""The directory in which a world was recorded, as the place of the cases that begin with this world.

Programs write the path of their directory into files, links and promises, sometimes under a checksum or
compressed. No other directory can stand in for that one, and replacing the path would turn a whole file into
a torn one. So cases that need the directory take turns there.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator

from chaoskit.explore.execute import TURN, Watch
from chaoskit.inject import private
from chaoskit.inject.removal import remove

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def taken(path: str, watch: Watch, seconds: float) -> Iterator[None]:
    """Hold ``path`` exclusively, with nothing there; ``seconds`` is the timeout of the case.

    Waiting for the turn does not count towards the timeout. What is in ``path`` at the end stays there.
    """
    lock = os.open(f"{path}{TURN}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # Hidden from the workload, which could release it.
    private.withhold(lock)
    try:
        watch.expect(math.inf)
        # If the worker is killed the lock goes with it; the workload is killed first.
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        watch.expect(seconds)
        if os.path.lexists(path):
            remove(path)
        yield
    finally:
        private.give_back(lock)
        # Explicitly: a process that the test itself forked has the descriptor, too.
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)
