"""Power loss: the operations after which it can leave something new, and the persistence models."""

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
"""The real file systems, each with its default mount options. ``portable`` is for programs that must work on
any file system with a journal or copy-on-write, ``strict`` for those that must be right anywhere."""

LIES = "fsync_lies"
"""The name in a set of faults that asks for power losses after failed syncs."""


@dataclass(frozen=True, slots=True, repr=False)
class PowerLoss:
    """The power fails after an operation that changed, synced or promised something, or after an exchange.

    Only the place is offered; the possible states of the disk follow from the whole trace, and each becomes a
    separate case. Empty ``models`` means those of the scenario.
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
        # Also after a call that reveals a changed file: a shared mapping changes it without any call.
        if row.witnessed or synced or changes(operation) or operation.file.seen:
            yield Fault("power_loss", ",".join(self.models))


@dataclass(frozen=True, slots=True, repr=False)
class FsyncLies:
    """An fsync fails once, and the data that it should have written counts as clean from then on.

    A later fsync succeeds without writing that data. This shows only when the power fails, so each case is
    also followed by the power losses in which some of that data is missing. Source: Rebello et al., "Can
    Applications Recover from fsync Failures?", USENIX ATC 2020.
    """

    names: frozenset[str] = frozenset({"EIO", LIES})

    def __repr__(self) -> str:
        return "faults.fsync_lies()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        # Only the data of files, which the paper saw marked clean and lost.
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
