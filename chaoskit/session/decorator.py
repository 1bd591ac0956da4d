"""The decorator that makes a pytest test a scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from chaoskit.core.extras import missing
from chaoskit.faults.power import DEFAULT_MODELS
from chaoskit.session.spec import ScenarioSpec

if TYPE_CHECKING:
    from chaoskit.faults import FaultSet
    from chaoskit.invariants import Invariant

Test = TypeVar("Test", bound=Callable[..., Any])
Model = Literal["ext4", "xfs", "btrfs", "strict"]


def scenario(
    *faults: FaultSet,
    depth: Literal[1, 2] = 1,
    budget: int | None = None,
    backend: Literal["auto", "kernel"] = "auto",
    model: Model | Sequence[Model] = DEFAULT_MODELS,  # type: ignore[assignment]
    allow_inconclusive: float = 0.0,
    timeout: float | None = None,
    strike_recovery: bool = False,
    invariants: Sequence[Invariant] = (),
    known: Mapping[str, str] = MappingProxyType({}),
    oracle: Literal["warn", "strict", "off"] = "warn",
    time: Literal["virtual", "real"] = "virtual",
    threads: str | Sequence[str] = (),
) -> Callable[[Test], Test]:
    """Execute a test that uses the fixture ``chaos`` once for every fault at every call of its workload.

    ``faults``
        What may go wrong; several sets are combined. Without any: ``faults.default()``.
    ``depth``
        How many faults strike in one case. With 2 every case is recorded again, and a second fault
        strikes at each of the calls that follow the first, recovery included.
    ``budget``
        The most cases to run: the most suspicious ones, among equals in an order that the seed decides. None
        runs all.
    ``backend``
        ``"auto"`` skips the test where no backend works; a name makes that a failure.
    ``model``
        The file systems whose crash states ``faults.power_loss()`` explores.
    ``allow_inconclusive``
        The share of cases, from 0 to 1, that may end ``diverged`` or ``not injected``.
    ``timeout``
        Seconds after which a workload, or what follows it, counts as hung. None: twenty times as long as the
        test takes without faults, but at least ten seconds.
    ``strike_recovery``
        True lets faults strike in ``chaos.recover``, too.
    ``invariants``
        Functions of :mod:`chaoskit.invariants`, or your own, checked at the end of every case.
    ``known``
        Accepted findings: a mapping of their ids to the reason, and until when it holds. The scenario passes
        if it has no others; it fails for a finding that is not listed, and for a listed one that is gone. A
        file ``chaoskit-known.toml`` beside the test can list them instead.
    ``oracle``
        What to do if the test accepts states that it should not pass: an emptied file, half a file, a missing
        one. ``"warn"`` reports them, ``"strict"`` makes them an error, ``"off"`` saves the few cases that the
        trial takes.
    ``threads``
        Globs for threads that may be running in the test process when ``chaos.run`` is called: for their
        names, or for the plugin to which they belong. A lock that one of them holds stays locked in the
        workload.

    ``time``
        ``"virtual"``: waiting costs nothing in a workload. When all of its threads wait, its clocks jump to
        the end of the shortest wait. ``"real"`` leaves time alone. Time is real on a machine that cannot have
        virtual time.

    The decorator applies ``pytest.mark.chaoskit`` with the same arguments; the marker may be used
    directly.

    Raises:
        UsageError: at once, for an argument that cannot be right.
    """
    # Loaded late: the decorator may be imported where no test runs.
    try:
        import pytest
    except ModuleNotFoundError as error:
        raise missing(error, "pytest", "pytest", "chaoskit.scenario") from None

    given: dict[str, Any] = {
        "depth": depth,
        "budget": budget,
        "backend": backend,
        "model": model,
        "allow_inconclusive": allow_inconclusive,
        "timeout": timeout,
        "strike_recovery": strike_recovery,
        "invariants": invariants,
        "known": known,
        "oracle": oracle,
        "time": time,
        "threads": threads,
    }
    ScenarioSpec.checked(faults, given)
    # Only what differs from the default, so that an ini file can fill in the rest.
    kwargs = {name: value for name, value in given.items() if value != _DEFAULTS[name]}
    # with_args: a marker that is called with one function and nothing else would mark that function.
    return pytest.mark.chaoskit.with_args(*faults, **kwargs)


_DEFAULTS: dict[str, Any] = dict(scenario.__kwdefaults__ or {})
