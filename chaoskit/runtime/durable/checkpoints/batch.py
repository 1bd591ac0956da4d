"""Many short steps with few commits: each commit records the results of a window and claims the next one.

At ``power-loss`` a single step costs two syncs. In a batch, ``window`` steps share one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from chaoskit.core.errors import wrong
from chaoskit.runtime.context import correlation_id
from chaoskit.runtime.durable.checkpoints.answers import claimed_by
from chaoskit.runtime.durable.checkpoints.claims import Claim, End
from chaoskit.runtime.durable.checkpoints.records import CheckpointContent
from chaoskit.runtime.durable.checkpoints.renewal import Renewal
from chaoskit.runtime.durable.checkpoints.transitions import ClaimedRecord, Terms, release, start_each
from chaoskit.runtime.durable.store.asking import was_committed
from chaoskit.runtime.durable.store.protocol import Tx
from chaoskit.runtime.failures.base import ResilienceError
from chaoskit.runtime.failures.stored import LeaseLost, OutcomeUnknown

__all__ = ["CheckpointBatch"]


class CheckpointBatch:
    """Claims of many keys, a window at a time. Iterate over it, and end each claim as usual::

        with checkpoints.batch(keys) as batch:
            for claim in batch:
                with claim:
                    claim.complete(work(claim.key))

    The results that ``complete`` and ``fail`` record become durable with the next ``flush()``, or at the end
    of the window or of the block. If the process is killed before that, the steps run again, and the
    attempts already made still count. Keys that cannot be claimed are left out. ``lost`` lists the keys whose
    claims passed to another worker before their results were recorded.
    """

    def __init__(
        self,
        terms: Terms,
        renewal: Renewal,
        keys: Sequence[str],
        *,
        scope: str,
        window: int,
    ) -> None:
        """Use ``Checkpoints.batch``. Raises UsageError for a window below 1, or a single string as keys."""
        # A string is a sequence too: each of its characters would be claimed as a key.
        if isinstance(keys, str):
            raise wrong("keys", keys, "several keys in a list", f"For a single one: [{keys!r}].")
        if window < 1:
            raise wrong("window", window, "at least 1")
        self._terms, self._renewal, self._scope, self._window = terms, renewal, scope, window
        # Without duplicates: within one window the second claim of a key would be refused.
        self._keys = list(dict.fromkeys(keys))
        self._ready: list[Claim] = []
        self._ends: list[tuple[Claim, End]] = []
        self.lost: list[str] = []

    def __iter__(self) -> Iterator[Claim]:
        while True:
            while self._ready:
                yield self._ready.pop(0)
            if not self._keys:
                return
            self._commit(claiming=True)

    def flush(self) -> None:
        """Return when every result so far is durable.

        Raises:
            LeaseLost: some claims had passed to other workers; the results of the others are recorded.
            ResilienceError: the store's. The results are kept for another attempt.
        """
        lost = len(self.lost)
        if self._ends:
            self._commit(claiming=False)
        if len(self.lost) > lost:
            raise LeaseLost(
                f"the claims of {self.lost[lost:]!r} are no longer valid; expected to hold them. The other"
                " results are recorded."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Claims that were never handed out are released at once, so that others can take them.
        for claim in self._ready:
            claim.release()
        self._ready.clear()
        try:
            self.flush()
        except ResilienceError as trouble:
            self._give_back()
            if error is None:
                raise
            error.add_note(f"Results of the batch were not recorded: {trouble}")

    def _commit(self, *, claiming: bool) -> None:
        """Record the results and, in the same transaction, claim the next window."""
        ends, terms = list(self._ends), self._terms
        # Results and claims share a commit, which makes a batch cheap: one sync for a window, not two for
        # each step. It is also safe, since no key is in both: each is claimed only once.
        keys = self._keys[: self._window] if claiming else []
        scope, new = self._scope, CheckpointContent(correlation_id=correlation_id())
        text = new.encoded()

        def work(tx: Tx) -> tuple[list[bool], list[ClaimedRecord]]:
            kept = [end(tx) for _, end in ends]
            return kept, start_each(tx, terms, keys, scope, new, text)

        kept, held = self._write(work, ends)
        # Not before the write: after an error the results must still be here for the next flush.
        del self._ends[: len(ends)]
        del self._keys[: len(keys)]
        for (claim, _), valid in zip(ends, kept, strict=True):
            if not valid:
                claim.lost.set()
                self.lost.append(claim.key)
        self._ready += [Claim(terms, one, self._renewal, self._submit) for one in held]

    def _write(
        self, work: Callable[[Tx], tuple[list[bool], list[ClaimedRecord]]], ends: Sequence[tuple[Claim, End]]
    ) -> tuple[list[bool], list[ClaimedRecord]]:
        store, kind = self._terms.store, self._terms.kind
        try:
            return store.write(work, urgent=True)
        except OutcomeUnknown as unknown:
            if not was_committed(store, unknown):
                raise
            id = str(unknown.operation_id)
            # What ``work`` returned was lost with the answer, but each record names the operation that wrote
            # it last.
            records = [store.get(kind, claim.key, scope=claim.scope) for claim, _ in ends]
            kept = [record is not None and record.operation_id == id for record in records]
            return kept, claimed_by(store, kind, id)

    def _submit(self, claim: Claim, end: End, urgent: bool) -> None:
        self._ends.append((claim, end))

    def _give_back(self) -> None:
        """Release the claims whose results could not be recorded: while this process lives it holds them."""
        terms = self._terms
        for claim, _ in self._ends:
            with suppress(ResilienceError):
                terms.store.write(lambda tx, held=claim.held: release(tx, terms, held))  # type: ignore[misc]
        self._ends.clear()
