"""A transaction: several files that appear together or not at all, whatever happens in between.

::

    new ──▶ staged ──▶ validated ──▶ decided ──▶ published ──▶ cleaned
              │            │            └ a crash or an error from here on is finished by recovery
              └────────────┴─▶ aborted, or rollback-failed with what is left
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, synchronous
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.durable.checkpoints.claims import Claim
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability
from chaoskit.runtime.durable.transactions.local.directories import directory
from chaoskit.runtime.durable.transactions.objects.prefixes import S3Target, prefix_in
from chaoskit.runtime.durable.transactions.places import (
    AnyPlace,
    Content,
    PlaceOptions,
    TransactionStage,
    TransactionState,
)
from chaoskit.runtime.durable.transactions.records import (
    Layout,
    TransactionMember,
    TransactionReceipt,
    checked_id,
)
from chaoskit.runtime.failures.taxonomy import TransactionValidationError

__all__ = ["Transaction"]


class Transaction:
    """Stages members, lets validators check them, and commits. Leaving the block uncommitted aborts.

    For one thread, and one use. With an ``id``, derived from the input, the work can be repeated: if a
    transaction with this id was committed before, nothing is committed again, and ``commit`` returns the
    first receipt. ``state`` is one of those drawn above. ``left`` names what an abort could not remove;
    ``recover_transactions`` removes it later.
    """

    def __init__(self, place: AnyPlace, id: str | None = None) -> None:
        """Use :meth:`local` or :meth:`s3`."""
        self.id = uuid.uuid4().hex if id is None else checked_id(id)
        self.state: TransactionState = "new"
        self.left: tuple[str, ...] = ()
        self._place = place
        self._validators: list[Any] = []
        self._stage: TransactionStage | None = None

    @classmethod
    def local(
        cls,
        target: str | os.PathLike[str],
        *,
        layout: Layout = "pointer",
        id: str | None = None,
        durability: Durability = DEFAULT_DURABILITY,
        grace: float = 3600.0,
        lock_timeout: float = 10.0,
        clock: Clock | None = None,
    ) -> Self:
        """A transaction on a directory of this machine.

        ``pointer``: ``target`` is a link to the members of the last transaction, and at every moment a reader
        sees all of them or none. ``final``: the members replace files in the directory ``target``, one after
        the other; after a crash, all or nothing holds only once a recovery has run. Members that ``pointer``
        has replaced are removed after ``grace`` seconds. ``lock_timeout`` bounds the wait for other
        processes, in seconds.

        Raises:
            UsageError: a layout, id, durability or time is not valid.
        """
        options = PlaceOptions(durability, grace, lock_timeout, clock=clock or SystemClock())
        place = Path(os.path.abspath(kinds.path("target", target)))
        return cls(directory(place, layout, options), id)

    @classmethod
    def s3(
        cls,
        client: Any,
        bucket: str,
        prefix: str,
        *,
        layout: Layout = "pointer",
        id: str | None = None,
        grace: float = 3600.0,
        abandoned: float = 86400.0,
        clock: Clock | None = None,
    ) -> Self:
        """A transaction on the objects of a bucket below ``prefix``; ``client`` is ``boto3.client("s3")``.

        ``pointer``: at every moment ``TransactionReader`` shows all members of the last transaction.
        ``final``: members replace objects under ``prefix/NAME``, one after the other; after a crash, all or
        nothing holds only once a recovery has run. The store must honour If-Match and If-None-Match, as S3
        does. A recovery removes a stage that had no upload for ``abandoned`` seconds. Such a stage can no
        longer be committed.

        Raises:
            UsageError: a layout, id or time is not valid.
        """
        options = PlaceOptions(grace=grace, abandoned=abandoned, clock=clock or SystemClock())
        return cls(prefix_in(S3Target(client, bucket, prefix).objects(), layout, options), id)

    def committed(self) -> TransactionReceipt | None:
        """The receipt if this id was committed before, so that nothing is left to do; otherwise None.

        Raises:
            StoreBusy: other processes held the lock for ``lock_timeout`` seconds.
            OSError: the target cannot be read.
        """
        return self._place.known(self.id)

    def add(self, name: str, content: Content) -> TransactionMember:
        """Stage one member under a relative name. No reader sees it yet.

        ``content`` is bytes, text (stored as UTF-8), a ``Path`` of a file to copy, or an open binary file.

        Raises:
            UsageError: the block was not entered or has ended, or the name is not valid, or staged already.
            DiskFull, OSError: the member could not be staged; the transaction can continue without it.
        """
        return self._open().add(name, content)

    def check(self, validator: Any) -> None:
        """Have ``validator`` check the staged members, as ``TransactionFiles``, before the decision.

        It refuses them by raising or by returning False. Validators run in ``commit``, in the order in which
        they were added.

        Raises:
            UsageError: ``validator`` is a coroutine function.
        """
        synchronous("validator", validator, optional=False)
        self._validators.append(validator)

    def commit(self, *, complete: Claim | None = None) -> TransactionReceipt:
        """Publish all members, or none.

        With ``complete`` the claim is checked before the decision and completed after it, with the receipt
        as its value. A crash between the two leaves the claim to another worker, which gets the first receipt
        if it uses the same ``id``, and completes the claim.

        Raises:
            TransactionValidationError: a validator refused. Nothing was committed, as with the next three.
            TransactionConflict: with ``pointer``, another transaction was published since this one began.
            LeaseLost: the claim had passed to another worker before the decision.
            DiskFull, OSError, StoreBusy: as their names say.
            OutcomeUnknown: the transaction is decided, or may be. Run it again with the same id, or recover.
        """
        stage = self._open()
        if not isinstance(complete, Claim | None):
            raise wrong("complete", complete, "the claim on the work that made these members, or None")
        view = stage.view()
        for validator in self._validators:
            if called("validator", validator, view) is False:
                raise TransactionValidationError(
                    f"the validator {validator!r} refused the transaction {self.id!r}"
                )
        self._place.prepare(stage)
        self.state = "validated"
        # Checked as late as possible: the decision follows within milliseconds.
        if complete is not None:
            complete.check()
        receipt = self._place.commit(stage, self._reached)
        if receipt.generation != stage.generation:
            # An earlier attempt was committed, so this stage is not needed.
            self._abort()
            self.state = "published"
        self._stage = None
        if complete is not None:
            complete.complete(receipt.to_dict())
        return receipt

    def __enter__(self) -> Self:
        if self.state != "new":
            raise UsageError(
                f"the transaction {self.id!r} is {self.state}; expected a new one. Make another."
            )
        self._stage = self._place.begin(self.id)
        self.state = "staged"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stage is None:
            return
        decided = self.state in ("decided", "published", "cleaned")
        self._abort()
        if decided:
            return
        self.state = "rollback-failed" if self.left else "aborted"
        # A note, not an error: that would hide the error of the block, which the caller has to see.
        if self.left and error is not None:
            error.add_note(f"Left behind: {', '.join(self.left)}. recover_transactions() removes it.")

    def _reached(self, state: TransactionState) -> None:
        self.state = state

    def _abort(self) -> None:
        stage, self._stage = self._stage, None
        if stage is not None:
            self.left = self._place.discard(stage)

    def _open(self) -> TransactionStage:
        if self._stage is None:
            raise wrong("transaction", self.state, "one within its with block", "Call it inside 'with tx:'.")
        return self._stage
