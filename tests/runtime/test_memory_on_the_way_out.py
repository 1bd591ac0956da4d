"""What is opened or closed while memory runs short leaves nothing open."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from chaoskit.runtime import write_file
from chaoskit.runtime.durable.files import staging
from chaoskit.runtime.stop import end


def test_a_staged_file_that_cannot_be_marked_is_closed_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has nothing yet that it could discard, so the constructor does it."""
    opened: list[int] = []

    def mark(descriptor: int) -> None:
        opened.append(descriptor)
        raise MemoryError

    monkeypatch.setattr(staging, "mark", mark)
    with pytest.raises(MemoryError):
        write_file(tmp_path / "state", b"content")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])
    assert list(tmp_path.iterdir()) == []


class ShortOnce(threading.Event):
    """Memory runs short the first time that it is set."""

    short = True

    def set(self) -> None:
        if self.short:
            self.short = False
            raise MemoryError
        super().set()


def test_a_thread_is_ended_although_memory_runs_short_on_the_way() -> None:
    """It is told once more; otherwise it would wait forever."""
    over: Any = ShortOnce()
    thread = threading.Thread(target=over.wait)
    thread.start()
    end(thread, over)
    assert not thread.is_alive()
