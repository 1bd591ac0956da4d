"""How a workload ended: the outcome for the test, and the summary for the record."""

from __future__ import annotations

import signal as signals
from dataclasses import dataclass
from typing import Any

from chaoskit.core.case import RunSummary
from chaoskit.core.operation import Receipt
from chaoskit.inject.base import Ran


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a workload ended.

    ``ok``
        True if it returned; ``value`` is then what it returned (a copy: it ran in another process).
        For a command: True if it exited with 0; ``value`` has its ``returncode``, ``stdout`` and
        ``stderr`` in any case.
    ``error``
        What it raised, as an exception of the same type if that can be sent; ``traceback`` is its text.
    ``signal``
        The number of the signal that killed it, or None.
    ``timed_out``
        True if it was killed because it hung; ``stacks`` shows where. ``stuck`` is also True if the hang was
        certain before the time was up: every thread waited, and nothing could have ended that.
    ``power_lost``
        True if it ended in a power loss: ``chaos.path`` holds what was left on the disk.
    ``faults``
        The receipts of the faults that struck in it.
    """

    ok: bool
    value: Any = None
    error: BaseException | None = None
    signal: int | None = None
    timed_out: bool = False
    stuck: bool = False
    power_lost: bool = False
    faults: tuple[Receipt, ...] = ()
    traceback: str = ""
    stacks: str = ""


def outcome_of(ran: Ran) -> Outcome:
    """The outcome of a run, for the test."""
    return Outcome(
        ok=ran.ok,
        value=ran.value,
        error=ran.error,
        signal=ran.signal,
        timed_out=ran.timed_out,
        stuck=ran.stuck,
        faults=ran.receipts,
        traceback=ran.traceback,
        stacks=ran.stacks,
    )


def how_it_failed(outcome: Outcome) -> str:
    """How a run failed, as the end of a sentence."""
    if outcome.error is not None:
        return f"raised {type(outcome.error).__name__}: {outcome.error}"
    return "hung" if outcome.timed_out else "died"


def summary_of(ran: Ran, number: int, recovery: bool, seconds: float) -> RunSummary:
    """The summary of a run, for the record."""
    how = "returned" if ran.ok else "stopped" if ran.timed_out else "died" if ran.signal else "raised"
    return RunSummary(
        run=number,
        how=how,  # type: ignore[arg-type]
        recovery=recovery,
        error=f"{type(ran.error).__name__}: {ran.error}" if ran.error is not None else "",
        traceback=ran.traceback,
        signal=signal_name(ran.signal) if ran.signal else "",
        stacks=ran.stacks,
        promised=len(ran.promised),
        receipts=ran.receipts,
        stray_interrupts=ran.stray_interrupts,
        seconds=seconds,
    )


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; the number as text where the platform has no name for it."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return str(number)
