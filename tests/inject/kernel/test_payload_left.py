"""What a run leaves to the garbage collector is closed for good, whatever ``os`` is by then."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable

import pytest
from pyfakefs.fake_filesystem_unittest import Patcher

from chaoskit.inject.kernel.files.payload import PayloadStore
from chaoskit.inject.kernel.files.releases import Releases


def watching() -> object:
    return Releases()


def spilled() -> object:
    return PayloadStore(in_memory=0).keep(b"data" * 1000)


@pytest.mark.parametrize("make", [watching, spilled])
def test_descriptors_end_while_pyfakefs_is_active(make: Callable[[], object]) -> None:
    """They are those of the kernel, not of the file system in memory that another test has put there."""
    before = set(os.listdir("/proc/self/fd"))
    left = make()
    assert set(os.listdir("/proc/self/fd")) - before
    with Patcher():
        del left
        gc.collect()
    assert not set(os.listdir("/proc/self/fd")) - before
