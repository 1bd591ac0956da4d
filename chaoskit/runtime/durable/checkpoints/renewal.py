"""The thread that renews the leases of the claims of this process, all in one commit."""

from __future__ import annotations

import logging
import os
import threading
from typing import Protocol

from chaoskit.runtime.durable.checkpoints.transitions import ClaimedRecord, Terms
from chaoskit.runtime.durable.store.protocol import Tx
from chaoskit.runtime.failures.base import ResilienceError

__all__ = ["Renewal", "Renewed"]

logger = logging.getLogger("chaoskit")


class Renewed(Protocol):
    """A claim, as it is renewed."""

    lost: threading.Event

    @property
    def held(self) -> ClaimedRecord:
        """The record, with the fence of the claim."""

    @property
    def open(self) -> bool:
        """True until its end is being written."""


class Renewal:
    """Renews at a third of the lease, so that two tries may fail. Its thread begins with the first claim."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._claims: dict[int, Renewed] = {}
        self._starting = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, claim: Renewed) -> None:
        if self._pid != os.getpid():
            self._begin()  # In a child: neither the thread nor the claims have come along.
        self._claims[id(claim)] = claim
        # Late, since most programs that only save never need it, and a thread makes forking unsafe.
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="chaoskit-renewal", daemon=True)
                    self._thread.start()

    def drop(self, claim: Renewed) -> None:
        self._claims.pop(id(claim), None)

    def claims(self) -> list[Renewed]:
        """Those that are held by this process."""
        return list(self._claims.copy().values()) if self._pid == os.getpid() else []

    def renew(self) -> None:
        """Renew all of them now, and tell those that are lost.

        Raises:
            ResilienceError: the store's; what was not renewed is tried again at the next time.
        """
        # All in one commit: a batch of 64 claims would otherwise cost 64 syncs at each renewal.
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
            # One that ended meanwhile is not lost.
            if not kept and claim.open:
                claim.lost.set()
                self.drop(claim)

    def stop(self) -> None:
        """End the thread; it begins again with the next claim."""
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            self._over.set()
            thread.join()
            self._over.clear()

    def _run(self) -> None:
        while not self._over.wait(self._terms.lease / 3):
            try:
                self.renew()
            # The next round tries again: a third of the lease leaves room for two that fail. A claim of
            # this machine does not depend on it at all.
            except ResilienceError as error:
                logger.warning("claims of %s were not renewed: %s", self._terms.pipeline, error)
