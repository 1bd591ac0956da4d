"""A lasting error: from a strike to the end of the run, every call that can fail with it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.core.operation import Operation
from chaoskit.faults.errnos import OF_ONE_FILE, calls_that_keep_failing, keeps_failing
from chaoskit.faults.shapes import Errno
from chaoskit.inject.kernel.border import Answer, FaultEffect
from chaoskit.inject.kernel.log import Call


@dataclass(frozen=True, slots=True)
class StandingError:
    """Every later call that can fail with ``error`` does, in all domains."""

    error: Errno
    target: str

    @property
    def families(self) -> frozenset[str]:
        """The families whose calls it may answer."""
        return calls_that_keep_failing(self.error.name)

    def answer(self, call: Call, as_operation: Callable[[], Operation]) -> Answer:
        """What becomes of ``call``, which belongs to one of :attr:`families`."""
        if self.error.name in OF_ONE_FILE and self.target not in (call.target, call.second):
            return None, ""
        # The filter knows only the family; the catalogue decides by the details of the operation.
        if not keeps_failing(as_operation(), self.error.name):
            return None, ""
        return -self.error.number, f"still {self.error.name}"


def failing(error: Errno, call: Call, release: int | None = None) -> FaultEffect:
    """The effect of an errno on a call of any domain; ``release`` as in :class:`FaultEffect`."""
    standing = StandingError(error, call.target) if error.lasting else None
    return FaultEffect(f"answered {error.name}", answer=-error.number, release=release, standing=standing)
