"""Servers that end with the process which started them, also when that is killed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence


def with_us(words: Sequence[str]) -> list[str]:
    """The command line ``words``, ended by the kernel when the thread that starts it is gone.

    A fixture that ends a server does not run in a worker of xdist whose controller was interrupted. Without
    setpriv of util-linux it is the command line itself.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *words] if setpriv else list(words)
