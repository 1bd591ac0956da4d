"""Runs on another machine's queue: launched once each, watched, relaunched, and cleaned up.

::

    launching ─(the remote has it)→ launched ─ done → done
        │                               ├ cancelled, or no longer known → launching again, up to a limit
        │                               └ failed → failed, with the reason
        └ killed before the answer: found by its key, or launched again
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.recorded import record_error
from chaoskit.runtime.durable.store.protocol import DamagedRecord, Kind, Record, Storage, Tx, checked
from chaoskit.runtime.failures.classifier import DEFAULT
from chaoskit.runtime.numbers import whole

__all__ = ["ReconcileReport", "RemoteRun", "RemoteRuns", "RemoteService", "RemoteStatus"]

REMOTE = Kind("remote run")
LIVE, ENDED = ("launching", "launched"), ("done", "failed")
# Not "running", which the store uses for records that one of our own processes has claimed.

logger = logging.getLogger("chaoskit")


class RemoteStatus(enum.StrEnum):
    """The status of a run on the other side."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RemoteRun:
    """A run as the other side reports it. ``key`` is the key with which it was launched."""

    id: str
    key: str
    status: RemoteStatus
    reason: str = ""


class RemoteService(Protocol):
    """The other side. Its methods may raise anything; they are called again the next time."""

    def launch(self, key: str, payload: Any) -> str:
        """Start a run, and store ``key`` with it; return its id."""

    def runs(self) -> Mapping[str, RemoteRun]:
        """All runs with one of our keys, by id, including those that have ended, until they are removed.

        A run that is left out counts as forgotten. A service that cannot list all runs must raise instead.
        """

    def remove(self, id: str) -> None:
        """Stop the run if it is active, and remove what it left behind."""


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """The keys of the runs, by what was done; ``removed`` has the ids of orphans.

    ``troubles`` are texts about runs that the next :meth:`RemoteRuns.reconcile` will try again.
    """

    launched: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()


class RemoteRuns:
    """Keeps runs in the store, and synchronises them with the other side at each :meth:`reconcile`.

    The intent is recorded before a launch, and if the answer to a launch is lost, its run is found again by
    its key: no run is lost, and none is launched twice, provided that the other side lists it. Cancelled and
    forgotten runs are relaunched up to ``relaunches`` times; a launch that was refused temporarily does not
    count. A run on the other side without one of our keys, or a second one with the same key, is an orphan:
    it is removed, but not while any of our records is unreadable. Call it from one process at a time. Raises
    UsageError for a negative limit.
    """

    def __init__(self, store: Storage, service: RemoteService, *, name: str, relaunches: int = 3) -> None:
        self._store = checked(store)
        self._service = kinds.able("service", service, "a RemoteService", "launch", "runs", "remove")
        self._name, self._relaunches = kinds.text("name", name), whole("relaunches", relaunches, 0)

    def add(self, key: str, payload: Any, *, tx: Tx | None = None) -> bool:
        """Add a run for the next :meth:`reconcile` to launch; return False if the key is known already.

        Raises:
            CheckpointError: the payload is not JSON.
        """
        value = {"payload": payload, "id": None, "launches": 0, "reason": ""}

        def work(tx: Tx) -> bool:
            return tx.add(REMOTE, key, value, scope=self._name, status="launching")

        return self._store.write(work) if tx is None else work(tx)

    def status(self, key: str) -> tuple[str, str] | None:
        """``launching``, ``launched``, ``done`` or ``failed``, and the reason; None for an unknown key."""
        found = self._store.get(REMOTE, key, scope=self._name)
        return None if found is None else (found.status, found.value["reason"])

    def reconcile(self) -> ReconcileReport:
        """Ask the other side once, and bring both sides into step.

        Raises:
            UsageError: ``runs()`` did not return runs by their ids; nothing was changed.
            Exception: ``runs()`` raised it; nothing was changed.
        """
        known = _checked_runs(self._service.runs())
        did: dict[str, list[str]] = {
            name: [] for name in ("launched", "done", "failed", "removed", "troubles")
        }
        records, damaged = self._all()
        ours: set[str] = set()
        for record in records:
            if record.status not in LIVE:
                continue
            try:
                kept = self._step(record, known, did)
            # A run that cannot be launched must not hold up the others.
            except Exception as error:
                did["troubles"].append(f"{record.key}: {record_error(error)['message']}")
                # Keep every run with its key: a launch may have succeeded without being recorded.
                ours.update(id for id, run in known.items() if run.key == record.key)
                kept = None
            if kept is not None:
                ours.add(kept)
        settled = {one.value["id"] for one in records if one.status in ENDED}
        # A successful run's results stay until its owner removes them.
        ours |= {id for id in settled if id in known and known[id].status == RemoteStatus.DONE}
        self._clean(known, ours, damaged, did)
        return ReconcileReport(**{name: tuple(found) for name, found in did.items()})

    def _step(self, record: Record, known: Mapping[str, RemoteRun], did: dict[str, list[str]]) -> str | None:
        """Bring one run into step; return the id on the other side that belongs to it from now on."""
        id: str | None = record.value["id"]
        if id not in known:
            id = _named(record.key, known)
        seen = known.get(id) if id is not None else None
        if seen is None or seen.status == RemoteStatus.CANCELLED:
            if record.value["launches"] > self._relaunches:
                self._end(record, "failed", _given_up(record, seen))
                did["failed"].append(record.key)
                return None
            return self._launch(record, did)
        if seen.status not in tuple(RemoteStatus):
            # Reported but left alone, since it may be at work. If an unknown status counted as running, the
            # run would never end.
            states = ", ".join(RemoteStatus)
            raise wrong(f"the status of {id!r} on the other side", seen.status, f"one of {states}")
        if seen.status in (RemoteStatus.DONE, RemoteStatus.FAILED):
            end = "done" if seen.status == RemoteStatus.DONE else "failed"
            self._end(record, end, seen.reason, id)
            did[end].append(record.key)
        elif record.status != "launched" or record.value["id"] != id:
            self._write(record, "launched", {**record.value, "id": id})
        return id

    def _launch(self, record: Record, did: dict[str, list[str]]) -> str:
        # Write the count first, without an id: after a kill between the launch and its record, the next call
        # finds the run by its key.
        before = record.value["launches"]
        value = {**record.value, "id": None, "launches": before + 1, "refused": ""}
        self._write(record, "launching", value)
        try:
            id = self._service.launch(record.key, record.value["payload"])
        except Exception as error:
            # A queue that is down for an hour must not use up the launches of every run.
            counted = before if DEFAULT.classify(error).retryable else before + 1
            refused = record_error(error)["message"]
            self._write(record, "launching", {**value, "launches": counted, "refused": refused})
            raise
        if not isinstance(id, str) or not id:
            raise wrong(f"what launch() gave for {record.key!r}", id, "the id of the run, a text")
        self._write(record, "launched", {**value, "id": id})
        did["launched"].append(record.key)
        return id

    def _clean(
        self,
        known: Mapping[str, RemoteRun],
        ours: set[str],
        damaged: list[DamagedRecord],
        did: dict[str, list[str]],
    ) -> None:
        orphans = [id for id in known if id not in ours]
        if damaged:
            # One of the orphans may belong to an unreadable record, and be at work or have results.
            did["troubles"] += [
                f"{one.key}: its record cannot be read ({one.reason}), so that no orphan is removed"
                for one in damaged
            ]
            return
        for id in orphans:
            try:
                self._service.remove(id)
                did["removed"].append(id)
            except Exception as error:
                did["troubles"].append(f"{id}: {record_error(error)['message']}")

    def _end(self, record: Record, status: str, reason: object, id: str | None = None) -> None:
        # With the id, even if the run was found only now: the id marks its results as ours.
        value = {**record.value, "reason": _plain(reason), "id": id or record.value["id"]}
        self._write(record, status, value)

    def _write(self, record: Record, status: str, value: Mapping[str, Any]) -> None:
        self._store.put(REMOTE, record.key, dict(value), scope=self._name, status=status)

    def _all(self) -> tuple[list[Record], list[DamagedRecord]]:
        found: list[Record] = []
        damaged: list[DamagedRecord] = []
        after = None
        while True:
            page = self._store.find(REMOTE, scope=self._name, after=after)
            found += page.records
            damaged += page.damaged
            after = page.next
            if after is None:
                return found, damaged


def _checked_runs(given: object) -> dict[str, RemoteRun]:
    """Return the result of ``runs()``; one wrong entry refuses it all, since missing runs are relaunched."""
    if not isinstance(given, Mapping):
        raise wrong("what runs() gave", given, "a mapping of ids to RemoteRuns")
    for id, run in given.items():
        if not (isinstance(id, str) and isinstance(run, RemoteRun) and isinstance(run.key, str)):
            raise wrong(f"what runs() gave for {id!r}", run, "a RemoteRun with its key, by its id, a text")
    return dict(given)


def _given_up(record: Record, seen: RemoteRun | None) -> str:
    launches, refused = record.value["launches"], record.value.get("refused")
    if refused:
        return f"it could not be launched, tried {launches} times: {refused}"
    return f"{'cancelled' if seen else 'not known to the other side any more'}, after {launches} launches"


def _plain(reason: object) -> str:
    """A reason as a record can hold it: bounded and without secrets, since it may be a tool's output."""
    text: str = "" if reason is None else record_error(RuntimeError(reason))["message"]
    return text


def _named(key: str, known: Mapping[str, RemoteRun]) -> str | None:
    """The id of a run with this key that was not cancelled: the launch whose answer was lost."""
    return next(
        (id for id, run in known.items() if run.key == key and run.status != RemoteStatus.CANCELLED), None
    )
