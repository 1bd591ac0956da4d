"""mailbox: messages are added to an mbox, which is rewritten, and to a Maildir, which is not."""

from __future__ import annotations

import mailbox
from collections.abc import Callable
from pathlib import Path

from chaoskit import Chaos, faults, scenario

KINDS: dict[str, Callable[[str], mailbox.Mailbox]] = {
    "mbox": lambda path: mailbox.mbox(path),
    "Maildir": lambda path: mailbox.Maildir(path),
}


def message(n: int) -> str:
    return f"Subject: number {n}\n\n" + f"line {n}\n" * 200


def add(kind: str, path: Path, numbers: range, promise: Callable[[int], None] = lambda _: None) -> None:
    box = KINDS[kind](str(path))
    try:
        for n in numbers:
            box.add(message(n))
            box.flush()
            promise(n)
    finally:
        box.close()


def subjects(kind: str, path: Path) -> list[str]:
    """The subjects of all whole messages."""
    box = KINDS[kind](str(path))
    try:
        return sorted(m["subject"] for m in box if m.get_payload().count("line") == 200)
    finally:
        box.close()


@scenario(faults.disk() | faults.kill())
def test_messages_in_a_maildir_survive(chaos: Chaos) -> None:
    """Messages from before, and those acknowledged, are there and whole."""
    messages_survive(chaos, "Maildir")


@scenario(
    faults.kill()
    | faults.disk().only("ENOSPC", "EIO", "EACCES", "EMFILE", "short", "full")
    | faults.share().only("EINTR")
    | faults.interference().only("EAGAIN")
)
def test_messages_in_an_mbox_survive(chaos: Chaos) -> None:
    """Messages from before, and those acknowledged, are there and whole."""
    messages_survive(chaos, "mbox")


@scenario(
    faults.share().on(call="open").only("ENOENT"),
    known={
        "1c465c": "a file that is not found is opened again with mode 'wb+', which empties one "
        "that was away for a moment",
    },
)
def test_an_mbox_that_is_away_for_a_moment_survives(chaos: Chaos) -> None:
    """A mailbox that was not found by one call and is there for the next keeps its messages."""
    messages_survive(chaos, "mbox")


def messages_survive(chaos: Chaos, kind: str) -> None:
    add(kind, chaos.path / "box", range(2))
    chaos.run(add, kind, chaos.path / "box", range(2, 4), chaos.promise)
    found = subjects(kind, chaos.path / "box")
    assert {f"number {n}" for n in (0, 1, *chaos.promised)} <= set(found)
    assert len(found) == len(set(found))
