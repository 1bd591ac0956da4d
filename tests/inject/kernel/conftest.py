"""One run of the kernel backend over a fresh directory, for every test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from chaoskit.core.schedule import Schedule
from chaoskit.inject.base import Command, Plan, Ran
from chaoskit.inject.kernel import KernelBackend
from chaoskit.session.peers import Peers

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Run(Protocol):
    """Runs ``work`` below the fixture ``root``."""

    def __call__(
        self,
        work: Callable[[], Any] | Command,
        schedule: str = "",
        *,
        record: bool = False,
        timeout: float = 20.0,
    ) -> Ran: ...


@pytest.fixture
def root() -> Iterator[str]:
    """A fresh directory in memory."""
    path = os.path.realpath(tempfile.mkdtemp(prefix="kernel-", dir=MEMORY))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _run_below(root: str, peers: Peers | None = None) -> Run:
    """Run workloads below ``root``, which may talk to ``peers``."""
    backend = KernelBackend()

    def run(
        work: Callable[[], Any] | Command,
        schedule: str = "",
        *,
        record: bool = False,
        timeout: float = 20.0,
    ) -> Ran:
        strikes = Schedule.parse(schedule).strikes
        # Those that are declared by then: a test adds its servers before it runs anything.
        addresses = () if peers is None else peers.addresses
        return backend.run(work, Plan(root, 1, record, strikes, timeout=timeout, peers=addresses))

    return run


@pytest.fixture
def backend() -> KernelBackend:
    """The backend itself."""
    return KernelBackend()


@pytest.fixture
def run(root: str) -> Run:
    """Run a workload below ``root``."""
    return _run_below(root)


@pytest.fixture
def run_below() -> Callable[[str, Peers], Run]:
    """Make a ``run`` below another directory, whose workloads may talk to servers."""
    return _run_below


@pytest.fixture
def hung(run: Run) -> Callable[..., Ran]:
    """Run what hangs, where ``reached`` says by what is seen that it came to hanging.

    The limit is short, since it is waited for. A machine that is so busy that the workload has not got there
    by then gives it ten times as long.
    """

    def hung(work: Callable[[], Any] | Command, reached: Callable[[Ran], bool], schedule: str = "") -> Ran:
        for limit in (0.3, 3.0, 30.0):
            ran = run(work, schedule, timeout=limit)
            if reached(ran):
                break
        return ran

    return hung


@pytest.fixture
def record(run: Run) -> Callable[[Callable[[], Any]], Ran]:
    """Record a workload that must succeed."""

    def record(work: Callable[[], Any]) -> Ran:
        ran = run(work, record=True)
        assert ran.ok, (ran.error, ran.traceback, ran.signal, ran.stacks)
        return ran

    return record


@pytest.fixture
def disk(tmp_path: Any) -> str:
    """A fresh directory on a disk."""
    return os.path.realpath(tmp_path)


@pytest.fixture
def record_on_disk(disk: str) -> Callable[[Callable[[], Any]], Ran]:
    """Record a workload below ``disk`` that must succeed."""
    run = _run_below(disk)

    def record(work: Callable[[], Any]) -> Ran:
        ran = run(work, record=True)
        assert ran.ok, (ran.error, ran.traceback, ran.signal, ran.stacks)
        return ran

    return record
