"""The members of a transaction while they are collected, as objects that no reader requests."""

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
"""Requests for one decision. More than one does no harm: after each the store is asked what it holds."""


class ObjectStage:
    """A stage below ``folder``. ``base`` is the ETag of what was published when it began, or None.

    ``asked`` is True while a requested decision may take effect. ``unsure`` is True once an answer was lost:
    from then on a request may still be on its way.
    """

    def __init__(self, store: ObjectStore, folder: str, id: str, *, base: str | None, reserved: str) -> None:
        self.id, self.base = id, base
        self.asked = self.unsure = False
        # Random, since the processes that may begin a stage share no counter.
        self.generation = f"{id}@{uuid.uuid4().hex}"
        self.prefix = f"{folder}{self.generation}/"
        self.members: dict[str, TransactionMember] = {}
        self._store, self._reserved = store, reserved

    def add(self, name: str, content: Content) -> TransactionMember:
        """Upload one member.

        Raises:
            UsageError: the name is staged already, or no member can have it.
        """
        if member_name(name, self._reserved) in self.members:
            raise UsageError(f"the transaction {self.id!r} has {name!r} already; expected each name once.")
        with source_of(content) as source, tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            # Copied first, since the source can perhaps be read only once, and a client that retries needs it
            # again.
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
        """The uploaded members, for validators."""
        where = f"the staged transaction {self.id!r}"
        return TransactionFiles(
            dict(self.members), functools.partial(opened_object, self._store, self.prefix), where
        )

    def prepare(self) -> None:
        """Compare the members that the store lists with those that were uploaded.

        Raises:
            TransactionError: a member is missing, or has another size.
        """
        there = {info.key.removeprefix(self.prefix): info.size for info in self._store.list(self.prefix)}
        wanted = {name: member.size for name, member in self.members.items()}
        # Other objects may exist: an upload that failed may have left one, which is not a member.
        if any(there.get(name) != size for name, size in wanted.items()):
            raise TransactionError(
                f"the store has {there} of the transaction {self.id!r}; expected {wanted}."
                " Nothing was committed."
            )

    def remove(self) -> None:
        """Delete all uploaded members."""
        for info in list(self._store.list(self.prefix)):
            self._store.delete(info.key)


def opened_object(store: ObjectStore, prefix: str, member: TransactionMember) -> IO[bytes]:
    """The content of a member, open for reading.

    Raises:
        FileNotFoundError: the object is gone.
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
    """Write ``key`` if it is unchanged; return its new ETag, or None if it has changed.

    Unchanged means that it has the ETag ``if_match`` or, if that is None, does not exist. The object in the
    store decides, whatever the request returned: an answer may be lost, and a client that retries by itself
    may be told that its own first request was in the way.

    Raises:
        OutcomeUnknown: the store does not answer whether it was written.
        Exception: the client's, if the store has refused; nothing was written.
    """
    last: Exception | None = None
    stage.asked = True
    for _ in range(TRIES):
        try:
            return store.put(key, content(data), if_absent=if_match is None, if_match=if_match)
        except NotAsExpected:
            pass
        except Exception as error:
            # Refused at the first request, so certainly nothing took effect.
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
    """The generation that a record is about; None if it is damaged."""
    receipt = TransactionReceipt.decode(data)
    return None if receipt is None else receipt.generation
