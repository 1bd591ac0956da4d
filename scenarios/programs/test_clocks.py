"""What programs make of a clock that is set while they run."""

from __future__ import annotations

import logging
import logging.handlers
import mailbox
import os
import queue
import sched
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from chaoskit import Chaos, faults, scenario


def look_for_mail(root: Path) -> list[str]:
    """Look into a mailbox, have a letter delivered by another program, look again."""
    box = mailbox.Maildir(root / "box")
    assert len(box) == 0
    time.sleep(10)
    (root / "letter").write_bytes(b"Subject: hello\n\n")
    os.rename(root / "letter", root / "box/new/1")
    time.sleep(10)
    return list(box.keys())


@scenario(
    faults.clock(),
    oracle="off",
    known={"97d8cb": "Maildir takes a directory that was changed after a step back for one that was not"},
)
def test_a_letter_is_seen(chaos: Chaos) -> None:
    """A letter that was delivered ten seconds ago is in the mailbox."""
    outcome = chaos.run(look_for_mail, chaos.path)
    assert outcome.ok
    assert outcome.value == ["1"]


def keep_for_a_minute(root: Path) -> Any:
    diskcache = pytest.importorskip("diskcache")
    with diskcache.Cache(root / "cache") as cache:
        cache.set("key", "old", expire=60)
        time.sleep(120)
        return cache.get("key")


@scenario(
    faults.clock(),
    oracle="off",
    known={
        "695349": "diskcache stores the wall clock's time at which a value expires",
        "69b968": "likewise, for a step at the next read",
    },
)
def test_diskcache_forgets(chaos: Chaos) -> None:
    """What is to be kept for a minute is gone after two."""
    pytest.importorskip("diskcache")
    outcome = chaos.run(keep_for_a_minute, chaos.path)
    assert outcome.ok
    assert outcome.value is None


def rotate_every_minute(root: Path) -> int:
    """Five lines, each a minute after the one before, into files of a minute."""
    handler = logging.handlers.TimedRotatingFileHandler(root / "app.log", when="S", interval=60)
    for number in range(5):
        handler.emit(logging.LogRecord("app", logging.INFO, "", 0, f"line {number}", None, None))
        time.sleep(61)
    handler.close()
    return sum(len(path.read_text().splitlines()) for path in root.glob("app.log*"))


@scenario(faults.clock(), oracle="off")
def test_a_log_that_rotates_keeps_each_line(chaos: Chaos) -> None:
    """However the clock is set, no line is lost and no file is written over."""
    outcome = chaos.run(rotate_every_minute, chaos.path)
    assert outcome.ok
    assert outcome.value == 5


def use_what_waits() -> tuple[float, float, float]:
    """How long the standard library waits, by the clock that is never set."""
    took = []
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        queue.Queue().get(timeout=60)
    took.append(time.monotonic() - began)
    began = time.monotonic()
    threading.Event().wait(60)
    took.append(time.monotonic() - began)
    began = time.monotonic()
    plan = sched.scheduler()
    plan.enter(60, 1, bool)
    plan.run()
    took.append(time.monotonic() - began)
    time.time()
    return took[0], took[1], took[2]


@scenario(faults.clock(whole=True).without("late"))
def test_waits_of_the_standard_library_are_as_long_as_they_are(chaos: Chaos) -> None:
    """Queues, events and schedulers wait by the monotonic clock."""
    outcome = chaos.run(use_what_waits)
    assert outcome.ok
    assert all(59 < seconds < 70 for seconds in outcome.value or ())
