"""A program with signal handlers sees no call interrupted that would not be without us."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from chaoskit.inject import processes
from chaoskit.inject.base import Command, Ran
from chaoskit.inject.kernel import catcher

Run = Callable[..., Ran]

CLOSES = 200


def _closes_while_children_end(closes: int = 40) -> int:
    """How many closes were interrupted; without us none is, though no handler asks for a restart."""
    signal.signal(signal.SIGCHLD, lambda *_: None)
    interrupted = 0
    for _ in range(closes):
        pair = os.pipe()
        child = os.fork()
        if child == 0:
            os._exit(0)
        for fd in pair:
            try:
                os.close(fd)
            except InterruptedError:
                interrupted += 1
        os.waitpid(child, 0)
    return interrupted


@pytest.mark.parametrize("record", [True, False], ids=["recording", "case"])
def test_a_childs_end_does_not_interrupt_a_close(root: str, run: Run, record: bool) -> None:
    """Each close closes, whatever signals come while it waits to be looked at.

    One in a few hundred may still be interrupted on a busy machine, and is counted: without a process that
    does nothing but receive, it was one in twenty.
    """
    schedule = "" if record else "close(a)#1=EIO"
    ran = run(lambda: _closes_while_children_end(CLOSES), schedule, record=record, timeout=60)
    # Other calls than closes may be interrupted, too, and a thread may die while its call waits.
    assert ran.value <= ran.stray_interrupts
    assert ran.value <= CLOSES // 50
    assert bool(ran.stray_interrupts) == any(caveat.kind == "interrupted" for caveat in ran.caveats)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have a process scheduled before all others")
def test_a12_f1_pipelines_of_a_shell_end(run: Run) -> None:
    """A shell hears of each child's end by a signal, and closes pipes while it does."""
    pipelines = 60
    script = f"i=0; while [ $i -lt {pipelines} ]; do printf abc | cut -c1 | tr a-z A-Z; i=$((i+1)); done"
    for _ in range(3):  # As a case is that was interrupted: it is tried again.
        ran = run(Command(("sh", "-c", script)), record=True, timeout=60)
        if not ran.stray_interrupts:
            break
    assert (ran.timed_out, ran.stray_interrupts) == (False, 0)
    assert ran.value.stdout == b"A\n" * pipelines


def test_the_catcher_leaves_with_the_run(run: Run) -> None:
    """Without a guard that stays, nothing stays."""
    before = processes.children()
    assert run(_closes_while_children_end, record=True, timeout=60).ok
    assert processes.children() == before


def test_the_catcher_serves_until_its_guard_leaves(run: Run) -> None:
    """Runs under one guard share a catcher; one that was killed in between is replaced."""
    before = processes.children()
    guard = processes.stand_guard()
    try:
        assert run(_closes_while_children_end, record=True, timeout=60).ok
        hired = processes.children() - before
        assert len(hired) == 2
        assert run(_closes_while_children_end, record=True, timeout=60).ok
        assert processes.children() - before == hired
        assert catcher._hired is not None
        os.kill(catcher._hired[1]._pid, signal.SIGKILL)
        assert run(_closes_while_children_end, record=True, timeout=60).ok
    finally:
        guard.dismiss()
    assert processes.children() == before


def test_a_timer_is_company_too(run: Run) -> None:
    """Its signal may interrupt the very first call that waits, so that is received at once as well."""

    def work() -> None:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 100)

    before = processes.children()
    guard = processes.stand_guard()
    try:
        assert run(work, "write(a)#1=EIO").ok
        assert len(processes.children() - before) == 2
    finally:
        guard.dismiss()
    assert processes.children() == before
