"""Power loss: after which operations it can leave something new, and under which persistence models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chaoskit.core.errors import wrong
from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.calls import FAMILIES, changes, happened

MODELS = ("ext4", "ext4-ordered", "xfs", "btrfs", "portable", "strict")
"""The names of the persistence models; :mod:`chaoskit.explore.crash.models` says what they mean."""

DEFAULT_MODELS = ("ext4", "xfs", "btrfs")
"""The real file systems together, each as its default mount behaves. ``portable`` is for programs that are to
work on any file system with a journal or copy-on-write, ``strict`` for those to be right anywhere."""

LIES = "fsync_lies"
"""The name by which a set of faults says that failed syncs are to be followed by power losses."""


@dataclass(frozen=True, slots=True, repr=False)
class PowerLoss:
    """The power goes after an operation that changed, synced or promised something, or after an exchange.

    What is offered is the place; which states the disk may then be in follows from the whole trace,
    and each becomes a separate case. ``models`` empty means those of the scenario.
    """

    models: tuple[str, ...] = ()
    names: frozenset[str] = frozenset({"power_loss"})

    def __repr__(self) -> str:
        if not self.models:
            return "faults.power_loss()"
        return f"faults.power_loss(model={(self.models[0] if len(self.models) == 1 else self.models)!r})"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        row = FAMILIES[operation.call]
        synced = row.durable and happened(operation)
        # Also a call at which a file is found to have changed: a shared mapping changes it without any call.
        if row.witnessed or synced or changes(operation) or operation.file.seen:
            yield Fault("power_loss", ",".join(self.models))


@dataclass(frozen=True, slots=True, repr=False)
class FsyncLies:
    """An fsync fails once, and what it should have written counts as clean from then on.

    A later fsync succeeds without writing it. That shows only when the power goes, so each case is
    also followed by the power losses in which some of that data is missing. Source: Rebello et al.,
    "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
    """

    names: frozenset[str] = frozenset({"EIO", LIES})

    def __repr__(self) -> str:
        return "faults.fsync_lies()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        # Only the data of files: that is what the paper saw marked clean and lost.
        if FAMILIES[operation.call].syncs == "file" and happened(operation) and not operation.file.directory:
            yield Fault("EIO")


def checked_models(model: str | Iterable[str] | None) -> tuple[str, ...]:
    """The names given, each once; empty for None.

    Raises:
        UsageError: for a name without a model, and for an empty choice.
    """
    if model is None:
        return ()
    names = (model,) if isinstance(model, str) else tuple(model)
    for name in names:
        if name not in MODELS:
            raise wrong("model", name, f"one or several of {', '.join(MODELS)}")
    if not names:
        raise wrong("model", names, f"one or several of {', '.join(MODELS)}")
    return tuple(dict.fromkeys(names))
