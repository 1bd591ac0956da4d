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
Model = Literal["ext4", "ext4-ordered", "xfs", "btrfs", "portable", "strict"]


def scenario(
    *faults: FaultSet,
    depth: Literal[1, 2] = 1,
    budget: int | None = None,
    backend: Literal["auto", "kernel", "inprocess"] = "auto",
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
        What may go wrong; several sets are united. Without any: ``faults.default()``.
    ``depth``
        How many faults strike in one case. With 2 every case is recorded again, and a second fault
        strikes at each of the calls that follow the first, recovery included.
    ``budget``
        The most cases to run; the most suspicious are taken, in an order that the seed decides.
        None runs all.
    ``backend``
        ``"auto"`` skips the test where no backend works; a name makes that a failure.
    ``model``
        The file systems whose crash states ``faults.power_loss()`` explores.
    ``allow_inconclusive``
        The share of cases, from 0 to 1, that may end ``diverged`` or ``not injected``.
    ``timeout``
        Seconds after which a workload, or what follows it, counts as hung. None: twenty times what
        the test takes without faults, and ten seconds at least.
    ``strike_recovery``
        Whether faults strike in ``chaos.recover`` too.
    ``invariants``
        Functions of :mod:`chaoskit.invariants`, or your own, checked at the end of every case.
    ``known``
        Findings that are accepted: by id the reason, and until when. A scenario with no others passes; one
        that is not listed fails it, and so does one that is listed and gone. A file
        ``chaoskit-known.toml`` beside the test can have them instead.
    ``oracle``
        Whether the test is tried, too, on states that it should not pass: an emptied file, half of one, a
        missing one. ``"warn"`` says what it accepts, ``"strict"`` makes that an error, ``"off"`` saves the
        few cases that it takes.
    ``threads``
        Globs for threads that the test process may have when ``chaos.run`` is called: of their names, or
        of the plugin that they belong to. A lock that one of them holds stays locked in the workload.

    ``time``
        ``"virtual"``: waiting costs nothing in a workload. When all of it waits, its clocks go to the first
        end of a wait. ``"real"`` leaves time alone. Where a machine cannot have virtual time it is real.

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
