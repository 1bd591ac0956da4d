"""Many short steps with few commits: each commit records the results of a window and claims the next one.

At the level ``power-loss`` a step by itself costs two syncs; here ``window`` steps share one.
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
    """Claims of many keys, by windows. Iterate over it, and end each claim as usual::

        with checkpoints.batch(keys) as batch:
            for claim in batch:
                with claim:
                    claim.complete(work(claim.key))

    What ``complete`` and ``fail`` record is durable after the next ``flush()``, the end of the window or
    the end of the block, not before: what was not flushed when the process was killed runs again, and the
    attempt has been counted. Keys that cannot be claimed are passed over. ``lost`` lists the keys whose
    claims another worker had taken over when their result came.
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
        """Use ``Checkpoints.batch``. Raises UsageError for a window below 1, or one text as the keys."""
        # A text is a sequence, too: each of its characters would be claimed.
        if isinstance(keys, str):
            raise wrong("keys", keys, "several keys in a list", f"For a single one: [{keys!r}].")
        if window < 1:
            raise wrong("window", window, "at least 1")
        self._terms, self._renewal, self._scope, self._window = terms, renewal, scope, window
        # A key that stands twice would be claimed twice in one window, and the second claim would be refused.
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
            LeaseLost: other workers had taken some over; the results of the others are recorded.
            ResilienceError: the store's; the results are kept for another try.
        """
        lost = len(self.lost)
        if self._ends:
            self._commit(claiming=False)
        if len(self.lost) > lost:
            raise LeaseLost(
                f"the claims of {self.lost[lost:]!r} are not valid any more; expected to hold them. The other"
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
        # What was claimed and never handed out is free for others at once.
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
        """Record what has ended and, in the same transaction, claim the next window."""
        ends, terms = list(self._ends), self._terms
        # Results and claims in one commit is what makes it cheap: one sync for a window where two for each
        # step were needed. It is also safe: results and claims are of different keys.
        keys = self._keys[: self._window] if claiming else []
        scope, new = self._scope, CheckpointContent(correlation_id=correlation_id())
        text = new.encoded()

        def work(tx: Tx) -> tuple[list[bool], list[ClaimedRecord]]:
            kept = [end(tx) for _, end in ends]
            return kept, start_each(tx, terms, keys, scope, new, text)

        kept, held = self._write(work, ends)
        # Only now, when it is certain: after an error the same results are there for the next flush.
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
            # The answers were lost with the commit's, but the records have kept by which operation they
            # were written.
            records = [store.get(kind, claim.key, scope=claim.scope) for claim, _ in ends]
            kept = [record is not None and record.operation_id == id for record in records]
            return kept, claimed_by(store, kind, id)

    def _submit(self, claim: Claim, end: End, urgent: bool) -> None:
        self._ends.append((claim, end))

    def _give_back(self) -> None:
        """Free what could not be recorded: else this process would hold it as long as it lives."""
        terms = self._terms
        for claim, _ in self._ends:
            with suppress(ResilienceError):
                terms.store.write(lambda tx, held=claim.held: release(tx, terms, held))  # type: ignore[misc]
        self._ends.clear()
