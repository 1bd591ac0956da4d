"""The object behind the fixture ``chaos``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.explore.home import taken
from chaoskit.inject.removal import remove
from chaoskit.plugin.state import STATE, Underway
from chaoskit.session.chaos import Chaos


@contextlib.contextmanager
def prepared(item: pytest.Item) -> Iterator[Chaos]:
    """The object for the current case; its directory is removed when the test is over.

    Raises:
        UsageError: for a test that is not a scenario.
    """
    state = item.stash.get(STATE, None)
    if state is None:
        raise UsageError(
            f"{item.name} asks for the fixture 'chaos' but is not a scenario; expected a test with the "
            "decorator chaoskit.scenario or the marker chaoskit. "
            "Add @scenario(faults.disk() | faults.kill())."
        )
    sources = state.exploration.sources if state.job.expected is None else ()
    threads = state.exploration.spec.threads
    with _place(state) as path:
        state.chaos = Chaos(path, state.exploration.backend, state.job, state.watch, sources, threads=threads)
        try:
            with _same_directory():
                yield state.chaos
        finally:
            if state.chaos is not None:
                state.chaos.close()
            remove(path)


@contextlib.contextmanager
def _place(state: Underway) -> Iterator[Path]:
    """An empty directory for the current case: the one that it asks for, or a new one."""
    if not state.job.home:
        yield state.places.fresh()
        return
    with taken(state.job.home, state.watch, state.job.timeout):
        path = Path(state.job.home)
        path.mkdir(0o700)
        yield path


@contextlib.contextmanager
def _same_directory() -> Iterator[None]:
    """Restore the working directory: a test may have changed into one that is about to be removed."""
    began_in = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        yield
    finally:
        os.fchdir(began_in)
        os.close(began_in)
