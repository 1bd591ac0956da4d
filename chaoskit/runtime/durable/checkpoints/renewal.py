"""The thread that renews this process's claims, and records results that could not be recorded at once."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias

from chaoskit.runtime.durable.checkpoints.transitions import ClaimedRecord, Terms
from chaoskit.runtime.durable.store.protocol import Tx
from chaoskit.runtime.failures.base import ResilienceError
from chaoskit.runtime.stop import end

__all__ = ["End", "Renewal", "Renewed"]

logger = logging.getLogger("chaoskit")


End: TypeAlias = Callable[[Tx], bool]
"""Writes how a claim ended; returns False if the claim was no longer valid. May run more than once."""


class Renewed(Protocol):
    """What renewing needs of a claim."""

    @property
    def lost(self) -> threading.Event:
        """Set once this process has noticed that another worker took over the claim."""

    @property
    def held(self) -> ClaimedRecord:
        """The record, with the fence of the claim."""

    @property
    def open(self) -> bool:
        """False from the moment at which its end is being written."""


class Renewal:
    """Renews after each third of the lease, so that two renewals in a row may fail before it runs out.

    The thread starts with the first claim.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._claims: dict[int, Renewed] = {}
        self._owed: list[End] = []
        self._starting = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, claim: Renewed) -> None:
        if self._pid != os.getpid():
            self._begin()  # In a forked child, which has neither the thread nor the claims.
        self._claims[id(claim)] = claim
        # Not before the first claim: a program that only saves needs no thread, and a thread makes forking
        # unsafe.
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="chaoskit-renewal", daemon=True)
                    self._thread.start()

    def drop(self, claim: Renewed) -> None:
        self._claims.pop(id(claim), None)

    def owe(self, end: End) -> None:
        """Write the end of a claim once the store works again, if this process lives until then."""
        self._owed.append(end)

    def claims(self) -> list[Renewed]:
        """The claims that this process holds."""
        return list(self._claims.copy().values()) if self._pid == os.getpid() else []

    def renew(self) -> None:
        """Renew all claims now, and set ``lost`` on those that have passed to another worker.

        Raises:
            ResilienceError: the store's. No claim was renewed; the next call tries all of them again.
        """
        # In one commit for all: a batch of 64 claims would otherwise cost 64 syncs at each renewal.
        claims = [claim for claim in self.claims() if claim.open]
        records = [claim.held.record for claim in claims]
        terms = self._terms
        if not records:
            return

        def work(tx: Tx) -> list[bool]:
            due = tx.now + terms.lease
            return [
                tx.change(terms.kind, one.key, scope=one.scope, due=due, fence=one.fence) for one in records
            ]

        for claim, kept in zip(claims, terms.store.write(work), strict=True):
            # A claim that ended while the renewal was being written is not lost.
            if not kept and claim.open:
                claim.lost.set()
                self.drop(claim)

    def settle(self) -> None:
        """Write the ends that are owed, now.

        Raises:
            ResilienceError: the store's. The next call tries the ends that were not written.
        """
        while self._owed:
            # False is not an error here: the claim was taken over, or its end was written after all.
            self._terms.store.write(self._owed[0], urgent=True)
            del self._owed[0]

    def stop(self) -> None:
        """End the thread. The next claim starts another."""
        thread = self._thread
        if thread is not None and self._pid == os.getpid():
            end(thread, self._over)
            self._over.clear()
        self._thread = None

    def _run(self) -> None:
        while not self._over.wait(self._terms.lease / 3):
            try:
                self.settle()
                self.renew()
            # The next round tries again, and the lease outlasts two rounds that fail. Claims in a local file
            # don't depend on the lease at all: the kernel's lock says whether their worker lives.
            except ResilienceError as error:
                logger.warning("claims of %s were not renewed: %s", self._terms.pipeline, error)
