"""A run of the real thing in the small: what ``chaoskit doctor`` and the first use of the backend try."""

from __future__ import annotations

import os
import tempfile

from chaoskit.core.errors import BackendUnavailable
from chaoskit.inject.base import Plan


def one_call() -> str:
    """Record one ``mkdir``; return what was seen.

    Raises:
        BackendUnavailable: if it was not seen as it happened.
    """
    from chaoskit.inject.kernel.backend import KernelBackend

    with tempfile.TemporaryDirectory(prefix="chaoskit-trial-") as root:
        root = os.path.realpath(root)
        ran = KernelBackend().run(lambda: os.mkdir(f"{root}/seen"), Plan(root, record=True, timeout=10.0))
        seen = [str(operation) for operation in ran.trace]
        if seen[:1] != ["mkdir(seen)#1 = 0"] or not os.path.isdir(f"{root}/seen"):
            raise BackendUnavailable(f"a directory was made, but what was seen is {seen}")
    return "a call was seen, made and answered"
