"""The content of the page, read from the store for each request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from chaoskit.cli.recovery.opening import moment
from chaoskit.runtime.durable.checkpoints.inspecting import walk
from chaoskit.runtime.durable.checkpoints.records import PREFIX, CheckpointRecord, kind_of
from chaoskit.runtime.durable.dead_letters import DeadLetter, DeadLetters
from chaoskit.runtime.durable.store.store import Store
from chaoskit.runtime.guarding.health.health import Health
from chaoskit.runtime.guarding.health.publishing import PublishedState, published
from chaoskit.runtime.guarding.health.records import HealthReport

__all__ = ["DashboardPage", "ShownRun", "look"]

LOOKED_AT = 5000
"""The most waiting checkpoints that are read per pipeline. Those tried before may be anywhere among the
others, and a page must not read a million records to find them."""
MOST = 100
"""Rows of each table: a page of thousands is of no use at night, and the commands list them all."""

STATUSES = ("pending", "running", "completed", "failed", "dead")


@dataclass(frozen=True, slots=True)
class ShownRun:
    """One checkpoint that is active, or was tried more than once."""

    pipeline: str
    key: str
    status: str
    attempts: int
    updated: str
    error: str


@dataclass(frozen=True, slots=True)
class DashboardPage:
    """Everything on the page. ``pipelines`` has names, each with the number for every status."""

    title: str
    at: str
    health: HealthReport
    pipelines: tuple[tuple[str, tuple[int, ...]], ...]
    runs: tuple[ShownRun, ...]
    more_runs: bool
    letters: tuple[DeadLetter, ...]
    more_letters: bool
    states: tuple[tuple[PublishedState, str, float], ...]
    damaged: int
    statuses: tuple[str, ...] = STATUSES


def look(store: Store, health: Health) -> DashboardPage:
    """Read the page's content now. Each number is counted separately, so during a job they may not add up."""
    now, numbers = store.now(), store.statistics()
    names = sorted({kind.removeprefix(PREFIX) for kind, _ in numbers.records if kind.startswith(PREFIX)})
    counted = {name: store.count(kind_of(name)) for name in names}
    shown = list(islice(_runs(store, names), MOST + 1))
    letters = list(islice(DeadLetters(store).find(), MOST + 1))
    many = any(some.get("pending", 0) > LOOKED_AT for some in counted.values())
    return DashboardPage(
        title="the store" if store.path is None else store.path.name,
        at=moment(now),
        health=health.report(),
        pipelines=tuple(
            (name, tuple(some.get(status, 0) for status in STATUSES)) for name, some in counted.items()
        ),
        runs=tuple(shown[:MOST]),
        more_runs=len(shown) > MOST or many,
        letters=tuple(letters[:MOST]),
        more_letters=len(letters) > MOST,
        states=tuple((one, moment(one.at), max(now - one.at, 0.0)) for one in published(store)),
        # The damaged records met while this page was read: the lists skip them, and must not hide them.
        damaged=store.statistics().damaged - numbers.damaged,
    )


def _runs(store: Store, names: Sequence[str]) -> Iterator[ShownRun]:
    """The active runs and those tried again; the others are only counted."""
    for name in names:
        for one in walk(store, kind_of(name), status=("running", "failed")):
            yield _run(store, one)
        for one in islice(walk(store, kind_of(name), status="pending"), LOOKED_AT):
            if one.attempts:
                yield _run(store, one)


def _run(store: Store, one: CheckpointRecord) -> ShownRun:
    gone = one.owner is not None and store.owner_alive(one.owner) is False
    status = "worker gone" if one.status == "running" and gone else one.status
    error = "" if one.error is None else f"{one.error['type']}: {one.error['message']}"
    return ShownRun(one.pipeline, one.key, status, one.attempts, moment(one.updated), error[:200])
