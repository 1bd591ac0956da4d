"""A watch on dead letters: each failure is told once, whatever process recorded it, even across restarts."""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.dead_letters.records import DeadLetter
from chaoskit.runtime.durable.store.protocol import Kind, Storage, Tx, checked
from chaoskit.runtime.guarding.notify.notifier import Notifier
from chaoskit.runtime.guarding.notify.records import Notice, Severity
from chaoskit.runtime.numbers import whole
from chaoskit.runtime.running.repeating import Repeating

__all__ = ["LetterWatch"]

TOLD = Kind("told letter")


class LetterWatch(Repeating):
    """Looks for open dead letters every ``every`` seconds, on a thread, and tells of new ones.

    It reads the store, so it also sees the letters of killed workers and of other processes. A letter counts
    as told once every channel that carries it has taken it; a kill before that is recorded may repeat it, but
    never loses it. More than ``single`` new letters at once become one notification. A letter that comes back
    after a redrive is told again.

    Raises UsageError for an impossible number.
    """

    def __init__(self, store: Storage, notifier: Notifier, *, every: float = 30.0, single: int = 5) -> None:
        super().__init__("watch on dead letters", every)
        self._store = checked(store)
        if not isinstance(notifier, Notifier):
            raise wrong("notifier", notifier, "a Notifier")
        self._notifier, self._single = notifier, whole("single", single, 1)
        self._letters = DeadLetters(store)

    def look(self) -> int:
        """Tell of new letters now, and return how many were told.

        Raises:
            ResilienceError: an error of the store.
        """
        new = list(self._new())
        if not new:
            return 0
        if len(new) <= self._single:
            return sum(self._tell([one], _of(one)) for one in new)
        pipelines = sorted({one.pipeline for one in new})
        listed = "\n".join(f"{one.id}: {one.error['type']}: {one.run_id}" for one in new[: self._single])
        text = f"{listed}\nand {len(new) - self._single} more: chaoskit recovery list"
        title = f"{len(new)} runs failed for good in {', '.join(pipelines)}"
        told = Notice.of(title, text, Severity.ERROR, None, {}, self._store.now())
        return self._tell(new, told)

    def _once(self) -> None:
        """Look. Errors of the store may be left to the thread's log: the job itself meets them too."""
        self.look()

    def _new(self) -> Iterator[DeadLetter]:
        for letter in self._letters.find():
            # The key contains the redrives, not just the id: a letter that failed again after one is news.
            if letter.status == "open" and self._store.get(TOLD, _name(letter)) is None:
                yield letter

    def _tell(self, letters: list[DeadLetter], told: Notice) -> int:
        if not self._notifier.deliver(told):
            return 0
        names = [_name(one) for one in letters]

        def work(tx: Tx) -> None:
            for name in names:
                tx.put(TOLD, name, None, status="told")

        self._store.write(work)
        return len(letters)


def _name(letter: DeadLetter) -> str:
    return f"{letter.id}#{letter.redrives}"


def _of(letter: DeadLetter) -> Notice:
    fields = {
        "letter": letter.id,
        "run": letter.run_id,
        "attempts": letter.attempts,
        "subject": letter.subject,
        "session": letter.session,
        "correlation id": letter.correlation_id or "",
    }
    return Notice.of(
        f"{letter.pipeline}: {letter.run_id} failed for good",
        f"{letter.error['type']}: {letter.error['message']}",
        Severity.CRITICAL if letter.poison else Severity.ERROR,
        letter.id,
        {name: value for name, value in fields.items() if value},
        letter.updated,
    )
