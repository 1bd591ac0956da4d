"""The directory in which a world was recorded, as the place of the cases that find this world.

Programs write the path of their directory into files, links and promises; some put it under a checksum, or
compress what it is in. No other directory can stand for that one, and replacing the path would make a torn
file of a whole one. So cases that need it take turns there.
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
    """Have ``path`` to ourselves, with nothing there; ``seconds`` are those of the case.

    Waiting does not count: the case begins when it is its turn. What is there at the end is left there.
    """
    lock = os.open(f"{path}{TURN}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # A workload could give it up.
    private.withhold(lock)
    try:
        watch.expect(math.inf)
        # Goes with the worker if that is killed; what it was running is killed before it.
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        watch.expect(seconds)
        if os.path.lexists(path):
            remove(path)
        yield
    finally:
        private.give_back(lock)
        # By name: a process that the test itself has forked has the descriptor, too.
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)
