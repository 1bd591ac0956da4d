"""The members of one transaction while they are gathered, as objects that no reader looks for."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import uuid
from collections.abc import Callable
from typing import IO

from chaoskit.core.errors import UsageError
from chaoskit.runtime.durable.transactions.contents import PIECE, TransactionFiles, digest_of
from chaoskit.runtime.durable.transactions.local.stage import source_of
from chaoskit.runtime.durable.transactions.objects.store import (
    IN_MEMORY,
    NotAsExpected,
    ObjectStore,
    content,
    read,
    refused,
)
from chaoskit.runtime.durable.transactions.places import Content
from chaoskit.runtime.durable.transactions.records import TransactionMember, TransactionReceipt, member_name
from chaoskit.runtime.failures.stored import OutcomeUnknown
from chaoskit.runtime.failures.taxonomy import TransactionError

__all__ = ["ObjectStage", "decide", "generation_in", "opened_object"]

TRIES = 4
"""Requests for one decision. Each is answered by a look at what is there, so more of them do no harm."""


class ObjectStage:
    """A stage below ``folder``. ``base`` is the ETag of what was published when it began; None for nothing.

    ``asked`` is True while a decision that was asked for may be made; ``unsure`` once an answer was lost,
    from where on a request may still be on its way.
    """

    def __init__(self, store: ObjectStore, folder: str, id: str, *, base: str | None, reserved: str) -> None:
        self.id, self.base = id, base
        self.asked = self.unsure = False
        # By chance and not by count: nothing else is shared by all that might begin one.
        self.generation = f"{id}@{uuid.uuid4().hex}"
        self.prefix = f"{folder}{self.generation}/"
        self.members: dict[str, TransactionMember] = {}
        self._store, self._reserved = store, reserved

    def add(self, name: str, content: Content) -> TransactionMember:
        """Upload one member.

        Raises:
            UsageError: a name that is there already, or that no member can have.
        """
        if member_name(name, self._reserved) in self.members:
            raise UsageError(f"the transaction {self.id!r} has {name!r} already; expected each name once.")
        with source_of(content) as source, tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            # A copy first: a source that can be read once only must be there for another request.
            while piece := source.read(PIECE):
                file.write(piece)
            file.seek(0)
            size, checksum = digest_of(file)
            file.seek(0)
            self._store.put(self.prefix + name, file)
        member = TransactionMember(name, size, checksum)
        self.members[name] = member
        return member

    def view(self) -> TransactionFiles:
        """What was uploaded, for validators."""
        where = f"the staged transaction {self.id!r}"
        return TransactionFiles(
            dict(self.members), functools.partial(opened_object, self._store, self.prefix), where
        )

    def prepare(self) -> None:
        """Compare what the store lists with what was uploaded.

        Raises:
            TransactionError: they differ.
        """
        there = {info.key.removeprefix(self.prefix): info.size for info in self._store.list(self.prefix)}
        wanted = {name: member.size for name, member in self.members.items()}
        # A member that failed half way and was given up is not a member.
        if any(there.get(name) != size for name, size in wanted.items()):
            raise TransactionError(
                f"the store has {there} of the transaction {self.id!r}; expected {wanted}."
                " Nothing was committed."
            )

    def remove(self) -> None:
        """Delete all of it."""
        for info in list(self._store.list(self.prefix)):
            self._store.delete(info.key)


def opened_object(store: ObjectStore, prefix: str, member: TransactionMember) -> IO[bytes]:
    """A member, to be read.

    Raises:
        FileNotFoundError: it is gone.
    """
    found = store.open(prefix + member.name)
    if found is None:
        raise FileNotFoundError(2, "the object is gone", f"{store}{prefix}{member.name}")
    return found[0]


def decide(
    stage: ObjectStage,
    store: ObjectStore,
    key: str,
    data: bytes,
    is_ours: Callable[[bytes], bool],
    *,
    if_match: str | None,
) -> str | None:
    """Write ``key`` if it is as it was (``if_match``; None: absent); its ETag, or None if it is not.

    Whatever the request ends with, what is there afterwards decides: an answer may be lost, and a client
    that repeats a request by itself is told that its own first one was in the way.

    Raises:
        OutcomeUnknown: it could not be told.
        Exception: of the client, if the store has refused; nothing was written.
    """
    last: Exception | None = None
    stage.asked = True
    for _ in range(TRIES):
        try:
            return store.put(key, content(data), if_absent=if_match is None, if_match=if_match)
        except NotAsExpected:
            pass
        except Exception as error:
            # Refused before any other try: it certainly did not take effect.
            if refused(error) and last is None:
                raise
            last, stage.unsure = error, True
        with contextlib.suppress(Exception):
            found = store.open(key)
            if found is not None and is_ours(read(found)):
                return found[1]
            unchanged = found is None if if_match is None else found is not None and found[1] == if_match
            if not unchanged:
                return None
    raise OutcomeUnknown(
        f"the transaction {stage.id!r} may be decided or not: {last}",
        hint="Run it again with the same id, or recover.",
        operation_id=stage.id,
    ) from last


def generation_in(data: bytes) -> str | None:
    """Which generation a record is of; None if it is damaged."""
    receipt = TransactionReceipt.decode(data)
    return None if receipt is None else receipt.generation
