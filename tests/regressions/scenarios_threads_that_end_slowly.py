"""A thread that is about to end when the workload's function returns."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from chaoskit import faults, scenario
from chaoskit.session.chaos import Chaos


def save(path: Path) -> None:
    (path / "job.tmp").write_text("new")
    os.replace(path / "job.tmp", path / "job")


def beat_until_told(stop: threading.Event) -> None:
    stop.wait()
    time.sleep(0.02)  # What a thread does on its way out.


def save_with_heartbeat(path: Path) -> None:
    stop = threading.Event()
    threading.Thread(target=beat_until_told, args=(stop,)).start()
    try:
        save(path)
    except OSError:
        stop.set()
        raise
    stop.set()
    threading.enumerate()[-1].join()


@scenario(faults.disk().only("EIO"))
def test_a_thread_that_was_told_to_stop_is_no_leak(chaos: Chaos) -> None:
    """A thread that ends by itself right after the workload's function is not counted as leaked."""
    chaos.run(save_with_heartbeat, chaos.path)


def save_in_thread(path: Path) -> None:
    threading.Thread(target=save, args=(path,)).start()


@scenario(faults.kill())
def test_what_a_thread_does_after_the_function_counts(chaos: Chaos) -> None:
    """Python waits for a thread that is not a daemon, so its calls are part of the workload."""
    done = chaos.run(save_in_thread, chaos.path)
    assert not done.ok or (chaos.path / "job").read_text() == "new"
