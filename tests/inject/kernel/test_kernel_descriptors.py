"""What a look at a process has opened is closed again when the look fails."""

from __future__ import annotations

import os

import pytest

from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.processes import open_files


@pytest.mark.parametrize("error", [MemoryError(), OSError(), KeyboardInterrupt()])
def test_no_descriptor_is_left_of_a_process_that_cannot_be_met(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whatever ends it: a run meets thousands of processes."""

    def fails(pid: int) -> None:
        raise error

    before = open_files()
    monkeypatch.setattr(tree, "Memory", fails)
    with pytest.raises(type(error)):
        tree.Process(os.getpid())
    assert open_files() == before
