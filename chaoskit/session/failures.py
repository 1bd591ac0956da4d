"""The error that a test gets for a workload that failed although nothing was injected."""

from __future__ import annotations

from chaoskit.core.words import Words
from chaoskit.explore.errors import WorkloadFailed
from chaoskit.session.outcomes import Outcome, signal_name

_HOW_INTERRUPTED = (
    "chaoskit: {} calls were interrupted by a signal that the workload caught while they waited to be looked "
    "at, which takes some 20 to 100 µs, and more on a busy machine; the kernel then answers EINTR where it "
    "otherwise never does, and a descriptor may stay open. A baseline that fails so is repeated, and has "
    "failed each time. Run it where less runs beside it, give a timer a longer interval in this test, "
    "install the handler with signal.siginterrupt(number, False), or block the signal around the calls."
)


def raise_failure(outcome: Outcome, what: str, words: Words, interrupted: int = 0) -> None:
    """Raise what went wrong without any fault; ``interrupted`` counts calls that chaoskit itself interrupted.

    Raises:
        Exception: the workload's own. WorkloadFailed: if it ended in any other way.
    """
    if outcome.error is not None and interrupted:
        outcome.error.add_note(_HOW_INTERRUPTED.format(interrupted))
    if isinstance(outcome.error, Exception):
        how = f":\n{outcome.traceback}" if outcome.traceback else "."
        outcome.error.add_note(f"This is how {what} failed, without any fault in it{how}")
        raise outcome.error
    if outcome.error is not None:
        how = f"raised {type(outcome.error).__name__}: {outcome.error}"
        raise WorkloadFailed(f"{what} {how}; expected it to return.\n{outcome.traceback}") from None
    if outcome.timed_out:
        early = f"\n{_HOW_INTERRUPTED.format(interrupted)}" if interrupted else ""
        if outcome.stuck:
            raise WorkloadFailed(
                f"{what} hung and was killed, without any fault in it; expected it to return. All of it "
                "waited, without a time-out, for what only it could have done. If it waits for something "
                f"outside, such as another program, give the scenario time='real'.{early}\n{outcome.stacks}"
            )
        raise WorkloadFailed(
            f"{what} hung and was killed, without any fault in it; expected it to return. "
            f"{words.more_time}{early}\n{outcome.stacks}"
        )
    name = signal_name(outcome.signal or 0)
    raise WorkloadFailed(f"{what} was killed by {name}, without any fault in it; expected it to return.")
