"""The errors that exploring a scenario raises."""

from __future__ import annotations

from chaoskit.core.errors import ChaoskitError, UsageError


class ScenarioViolated(ChaoskitError, AssertionError):
    """A case broke the scenario: an invariant did not hold, or something hung.

    The message shows every new finding in full. ``known=`` of the scenario accepts findings by their id; an
    accepted finding that is gone is a violation, too.
    """


# A kind of violation, so that one except clause sees everything that is not a pass.
class ScenarioInconclusive(ScenarioViolated):
    """No case broke the scenario, but too many could not be judged: ``diverged`` or ``not injected``."""


class WorkloadFailed(ChaoskitError, RuntimeError):
    """The workload died, hung or asked to exit although nothing was injected."""


class InvariantBroken(ChaoskitError, AssertionError):
    """One of chaoskit's own invariants does not hold; ``name`` says which."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name

    def __str__(self) -> str:
        return str(self.args[1])


class NothingToExplore(UsageError):
    """A scenario without a single case: it would pass without having tested anything."""
