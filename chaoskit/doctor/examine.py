"""A whole diagnosis: the machine, the default backend, every kind of fault, and room to work in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chaoskit.doctor import machine, network, trials
from chaoskit.doctor.diagnosis import Diagnosis, Item, Status
from chaoskit.inject import backends


def examine() -> Diagnosis:
    """Examine everything. This takes about a tenth of a second and leaves nothing behind."""
    name = backends.default()
    return Diagnosis(name, tuple(_items(name)))


def _items(name: str) -> Iterator[Item]:
    yield from machine.machine()
    found = tuple(needs(name))
    yield from found
    # If a requirement is missing, each trial would fail for the same reason and hide it.
    if all(item.status == "ok" for item in found if item.needed):
        yield from trials.trials(backends.backend(name))
        yield from network.exchanges(backends.backend(name))
    else:
        yield Item(trials.AREA, "all kinds", "no", f"they need the {name} backend", "See above.", needed=True)
    yield from beside(name)
    yield from machine.places()
    yield from machine.extras()


def beside(name: str) -> Iterator[Item]:
    """The requirements of the other backends, met or not: a scenario may ask for one of them by name."""
    for other in backends.NAMES:
        if other != name:
            for item in needs(other):
                hint = item.hint if item.status != "ok" else f"Ask for it: --chaoskit-backend={other}."
                yield replace(item, hint=hint, needed=False)


def needs(name: str) -> Iterator[Item]:
    """The requirements of the backend ``name``, met or not."""
    area = f"{name} backend"
    try:
        checks = backends.examine(name)
    except Exception as error:
        # Catch every error: the user wants to see it, and the other items as well.
        hint = "This is a defect of chaoskit; please report it with 'chaoskit doctor --json'."
        yield Item(area, "probe", "no", f"{type(error).__name__}: {error}", hint, needed=True)
        return
    for check in checks:
        status: Status = "ok" if check.ok else "no" if check.needed else "degraded"
        yield Item(area, check.name, status, check.detail, check.hint, needed=check.needed)
