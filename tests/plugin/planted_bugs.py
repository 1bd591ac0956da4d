"""Small programs, each with one bug that one kind of fault brings out, and each with its corrected twin.

Run by test_planted_bugs.py in a pytest of its own, where the bugs fail: that is what is tested. A
program is a function of the directory and of ``promise``. ``check`` is its invariant.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaoskit import Chaos, Outcome, faults, scenario
from chaoskit.invariants import no_extra_files, no_truncated_files

OLD, NEW = b"o" * 20_000, b"n" * 20_000
Promise = Callable[[Any], None]
Program = Callable[[Path, Promise], Any]


def nothing(*_: Any) -> None:
    """No set-up, no recovery."""


@dataclass(frozen=True)
class Planted:
    """A bug, its twin, and what must come of both.

    ``finds`` is a schedule that must be among those of a finding with the verdict ``verdict`` (for
    an inconclusive scenario: among its cases); ``twin_verdicts`` are all verdicts that the twin's
    cases may have.
    """

    faults: faults.FaultSet
    bug: Program
    twin: Program
    finds: str
    check: Callable[[Chaos, Outcome], None] = nothing
    setup: Callable[[Path], None] = nothing
    verdict: str = "violated"
    twin_verdicts: tuple[str, ...] = ("tolerated", "failed safe")
    recovery: tuple[Callable[[Path], None], Callable[[Path], None]] | None = None
    options: dict[str, Any] = field(default_factory=dict)


# --- building blocks --------------------


def old_file(path: Path) -> None:
    (path / "f").write_bytes(OLD)


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def overwrite(path: Path, _: Promise) -> None:
    """In place: there is a moment with neither the old content nor the new."""
    with open(path / "f", "wb", buffering=0) as file:
        write_all(file.fileno(), NEW)


def patch(path: Path, _: Promise) -> None:
    """In place, without truncation: a reader may find both."""
    with open(path / "f", "r+b", buffering=0) as file:
        write_all(file.fileno(), NEW)


def replace(path: Path, _: Promise) -> None:
    with open(path / "f.tmp", "wb", buffering=0) as file:
        write_all(file.fileno(), NEW)
    os.replace(path / "f.tmp", path / "f")


def old_or_new(chaos: Chaos, outcome: Outcome) -> None:
    """The invariant of everything that saves: whole, and new if it said so."""
    found = (chaos.path / "f").read_bytes()
    assert found in ((NEW,) if outcome.ok or chaos.promised else (OLD, NEW))


def nothing_ignored(chaos: Chaos, outcome: Outcome) -> None:
    assert not (outcome.ok and outcome.faults), "an error was swallowed"


def done_if_said_so(chaos: Chaos, name: str, outcome: Outcome) -> None:
    """What a twin reports as done is there, whatever else the bug is about."""
    if outcome.ok and name == "diverging":
        assert (chaos.path / "sometimes").read_text() == "text"
    elif outcome.ok:
        assert (chaos.path / "f").read_bytes() == NEW


# --- errors --------------------


def swallows(path: Path, promise: Promise) -> None:
    try:
        replace(path, promise)
    except OSError:
        pass


def retries_and_gives_up_silently(path: Path, promise: Promise) -> None:
    for _ in range(3):
        try:
            replace(path, promise)
            break
        except OSError:
            continue


def retries_and_reports(path: Path, promise: Promise) -> None:
    for attempt in range(3):
        try:
            replace(path, promise)
            break
        except OSError:
            if attempt == 2:
                raise


def retries_for_ever(path: Path, promise: Promise) -> None:
    while True:
        try:
            replace(path, promise)
            break
        except OSError:
            time.sleep(0.001)


def writes_once(path: Path, _: Promise) -> None:
    with open(path / "f.tmp", "wb", buffering=0) as file:
        file.write(NEW)
    os.replace(path / "f.tmp", path / "f")


def copies(whole: bool) -> Program:
    def program(path: Path, _: Promise) -> None:
        source, target = (
            os.open(path / "source", os.O_RDONLY),
            os.open(path / "f.tmp", os.O_WRONLY | os.O_CREAT),
        )
        try:
            data = os.read(source, len(NEW))
            while whole and len(data) < len(NEW):
                data += os.read(source, len(NEW))
            write_all(target, data)
        finally:
            os.close(source)
            os.close(target)
        os.replace(path / "f.tmp", path / "f")

    return program


def with_source(path: Path) -> None:
    old_file(path)
    (path / "source").write_bytes(NEW)


def takes_job(asks: bool) -> Program:
    """Claims a job by renaming it. After an error only a look tells whose it is."""

    def program(path: Path, _: Promise) -> None:
        try:
            os.rename(path / "inbox" / "job", path / "work" / "job")
        except OSError:
            if not asks or not (path / "work" / "job").exists():
                return
        os.rename(path / "work" / "job", path / "done" / "job")

    return program


def job_waits(path: Path) -> None:
    for name in ("inbox", "work", "done"):
        (path / name).mkdir()
    (path / "inbox" / "job").touch()


def job_is_not_stuck(chaos: Chaos, outcome: Outcome) -> None:
    if outcome.ok:
        assert not (chaos.path / "work" / "job").exists(), "claimed, and forgotten"


def frees_space_once(honest: bool) -> Program:
    """Removes its cache when the disk is full. That helps once, if it helps."""

    def program(path: Path, promise: Promise) -> None:
        for attempt in range(2):
            try:
                replace(path, promise)
                break
            except OSError:
                if attempt and honest:
                    raise

    return program


def closes(strictly: bool) -> Program:
    def program(path: Path, _: Promise) -> None:
        fd = os.open(path / "f", os.O_WRONLY | os.O_TRUNC)
        write_all(fd, NEW)
        try:
            os.close(fd)
        except OSError:
            if strictly:
                raise

    return program


# --- death --------------------


def promises_early(path: Path, promise: Promise) -> None:
    promise("saved")
    replace(path, promise)


def promises_late(path: Path, promise: Promise) -> None:
    replace(path, promise)
    promise("saved")


def runs(own_cleanup: bool) -> Program:
    """Marks that it is running. Whoever leaves the mark to another to remove leaves it when killed."""

    def program(path: Path, promise: Promise) -> None:
        (path / "running").touch()
        if own_cleanup:
            (path / "running").unlink()

    return program


def mark_is_gone(chaos: Chaos, outcome: Outcome) -> None:
    if outcome.ok:
        (chaos.path / "running").unlink(missing_ok=True)
    assert not (chaos.path / "running").exists(), "killed, and still marked as running"


CHILD = "import sys; open(sys.argv[1], 'w').write('half')"


def delegates(checks: bool) -> Program:
    def program(path: Path, _: Promise) -> None:
        (path / "one").write_text("half")
        subprocess.run([sys.executable, "-S", "-E", "-c", CHILD, path / "two"], check=checks)

    return program


def both_halves(chaos: Chaos, outcome: Outcome) -> None:
    if outcome.ok:
        assert (chaos.path / "one").read_text() == (chaos.path / "two").read_text() == "half"


def stops_on_sigterm(says_so: bool) -> Program:
    def program(path: Path, _: Promise) -> None:
        asked = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: asked.set())
        for n in range(4):
            if asked.is_set():
                if says_so:
                    raise InterruptedError(f"stopped after {n} of 4")
                return
            (path / f"part{n}").write_text("part")

    return program


def four_parts(chaos: Chaos, outcome: Outcome) -> None:
    assert not outcome.ok or len(list(chaos.path.glob("part*"))) == 4


# --- time --------------------


def waits_for_slow_disk(bounded: bool) -> Program:
    """Measures how long a write takes, and waits for a faster disk when it took too long."""

    def program(path: Path, _: Promise) -> None:
        start = time.monotonic()
        (path / "f").write_bytes(NEW)
        took = time.monotonic() - start
        while took > 30:
            if bounded:
                raise TimeoutError("the disk is too slow")
            time.sleep(0.01)

    return program


# --- what varies --------------------


def seen(what: str) -> int:
    """How often this was called in this session: state that outlives a case, as tests should not have."""
    with open(f"{os.environ['PLANTED_COUNTER']}-{what}", "a") as counter:
        counter.write(".")
        return counter.tell()


def asks_twice_only(path: Path, _: Promise) -> None:
    """Does something in both recordings that it never does again."""
    if seen("sometimes") <= 2:
        (path / "sometimes").write_text("text")


def asks_always(path: Path, _: Promise) -> None:
    (path / "sometimes").write_text("text")


def renames_what_is_there(path: Path, _: Promise) -> None:
    """In both recordings the file is there, later it is not: a lost reply needs a call that succeeds."""
    try:
        os.rename(path / "away", path / "back")
    except FileNotFoundError:
        pass


def away_at_first(path: Path) -> None:
    if seen("away") <= 2:
        (path / "away").touch()


# --- look-ups --------------------


def takes_unknown_for_absent(path: Path, _: Promise) -> None:
    """``os.path.exists`` is False for whatever cannot be looked up, and the settings start from nothing."""
    if not os.path.exists(path / "f"):
        (path / "f").write_bytes(b"")


def creates_only_what_is_absent(path: Path, _: Promise) -> None:
    """The kernel says if the file is there, in the call that creates it."""
    try:
        os.close(os.open(path / "f", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    os.stat(path / "f")


def keeps_what_was_there(chaos: Chaos, _: Outcome) -> None:
    assert (chaos.path / "f").read_bytes() == OLD


# --- syncs --------------------


def syncs_again(writes_again: bool) -> Program:
    """Syncs again when a sync has failed. The kernel counts the pages as clean then, so it writes nothing."""

    def program(path: Path, _: Promise) -> None:
        for attempt in range(2):
            with open(path / "f.tmp", "wb" if writes_again or not attempt else "ab", buffering=0) as file:
                if writes_again or not attempt:
                    write_all(file.fileno(), NEW[:100])
                try:
                    os.fsync(file.fileno())
                    break
                except OSError:
                    if attempt:
                        raise
        os.replace(path / "f.tmp", path / "f")

    return program


def old_or_little(chaos: Chaos, outcome: Outcome) -> None:
    assert (chaos.path / "f").read_bytes() in ((NEW[:100],) if outcome.ok else (OLD, NEW[:100]))


# --- shares and other processes --------------------


def old_number(path: Path) -> None:
    (path / "n").write_text("7")


def counts(trusts: bool) -> Program:
    """One more than before. On a share, "is not there" may only mean that this client does not see it yet."""

    def program(path: Path, _: Promise) -> None:
        # Only a file that may be created is asked of the server itself.
        fd = os.open(path / "n", os.O_RDWR | os.O_CREAT) if not trusts else _opened(path / "n")
        try:
            before = int(os.read(fd, 20) or 0) if fd >= 0 else 0
        finally:
            if fd >= 0:
                os.close(fd)
        (path / "n.tmp").write_text(str(before + 1))
        os.replace(path / "n.tmp", path / "n")

    return program


def _opened(name: Path) -> int:
    try:
        return os.open(name, os.O_RDONLY)
    except FileNotFoundError:
        return -1


def never_goes_back(chaos: Chaos, outcome: Outcome) -> None:
    assert int((chaos.path / "n").read_text()) in ((8,) if outcome.ok else (7, 8))


def three_files(path: Path) -> None:
    for name in "abc":
        (path / name).touch()


def oldest(careful: bool) -> Program:
    """The oldest of some files, in a directory in which others remove them."""

    def age(name: Path) -> float:
        try:
            return os.stat(name).st_mtime
        except FileNotFoundError:
            if careful:
                return float("inf")
            raise

    def program(path: Path, _: Promise) -> None:
        min((path / name for name in sorted(os.listdir(path))), key=age)

    return program


def with_a_neighbour(program: Program) -> Program:
    """The same, beside a process that removes what is old."""

    def both(path: Path, promise: Promise) -> None:
        program(path, promise)
        subprocess.run(["rm", "-f", "a"], cwd=path, check=False)

    return both


def no_file_was_missed(chaos: Chaos, outcome: Outcome) -> None:
    assert not isinstance(outcome.error, FileNotFoundError)
    assert {path.name for path in chaos.path.iterdir()} == set("abc")


def only_one_was_removed(chaos: Chaos, outcome: Outcome) -> None:
    assert not isinstance(outcome.error, FileNotFoundError)
    assert {path.name for path in chaos.path.iterdir()} == set("bc")


def spools(insists: bool) -> Program:
    """Puts a job under the first name that is free."""

    def program(path: Path, _: Promise) -> None:
        for number in range(1, 3 if insists else 2):
            try:
                fd = os.open(path / f"job{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                continue
            try:
                write_all(fd, NEW)
            finally:
                os.close(fd)
            return

    return program


def job_is_spooled(chaos: Chaos, outcome: Outcome) -> None:
    assert not outcome.ok or NEW in [path.read_bytes() for path in chaos.path.glob("job*")]


def locks(obeys: bool) -> Program:
    def program(path: Path, _: Promise) -> None:
        with open(path / "f", "r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if obeys:
                    raise
            write_all(file.fileno(), NEW)

    return program


def locks_if_it_can(path: Path, _: Promise) -> None:
    """Goes on without a lock where the server has none to give."""
    with open(path / "f", "r+b", buffering=0) as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        write_all(file.fileno(), NEW)


def cleans(expects_company: bool) -> Program:
    """Empties a directory, as others may do at the same time."""

    def program(path: Path, _: Promise) -> None:
        for name in sorted(os.listdir(path)):
            try:
                os.unlink(path / name)
            except FileNotFoundError:
                if not expects_company:
                    raise

    return program


def nothing_is_left(chaos: Chaos, outcome: Outcome) -> None:
    assert list(chaos.path.iterdir()) == []


def saves_unless_it_is_gone(path: Path, promise: Promise) -> None:
    """Takes a temporary file that is gone for one that another process has put in place."""
    with suppress(FileNotFoundError):
        replace(path, promise)


def reads_and_touches(careful: bool) -> Program:
    """Marks an entry of a cache as used, which others may remove by then."""

    def program(path: Path, promise: Promise) -> None:
        data = (path / "f").read_bytes()
        try:
            os.utime(path / "f")
        except FileNotFoundError:
            if not careful:
                raise
        promise(len(data))

    return program


def old_was_read(chaos: Chaos, outcome: Outcome) -> None:
    assert chaos.promised == [len(OLD)], outcome.error


def dot_locks(obeys: bool) -> Program:
    """Locks by a link to a file of its own, as mailboxes are locked on shares."""

    def program(path: Path, _: Promise) -> None:
        (path / "mine").touch()
        try:
            os.link(path / "mine", path / "f.lock")
        except FileExistsError:
            if obeys:
                raise
        overwrite(path, _)
        for name in ("f.lock", "mine"):
            (path / name).unlink(missing_ok=True)

    return program


def publishes_directory(looks: bool) -> Program:
    """Moves a directory to its final name, unless another process has been quicker."""

    def program(path: Path, _: Promise) -> None:
        (path / "stage").mkdir()
        (path / "stage" / "f").write_bytes(NEW)
        try:
            os.rename(path / "stage", path / "data")
        except OSError:
            if looks and not (path / "data").exists():
                raise

    return program


def directory_is_published(chaos: Chaos, outcome: Outcome) -> None:
    assert not outcome.ok or (chaos.path / "data" / "f").read_bytes() == NEW


def refuses_a_link(firmly: bool) -> Program:
    """Writes to a file, but not to where a link in its place leads."""

    def program(path: Path, _: Promise) -> None:
        try:
            fd = os.open(path / "f", os.O_WRONLY | os.O_NOFOLLOW)
        except OSError as error:
            if firmly or error.errno != errno.ELOOP:
                raise
            fd = os.open(path / "f", os.O_WRONLY)
        write_all(fd, NEW)
        os.close(fd)

    return program


# --- files that come from elsewhere --------------------


def moves_in(synced: bool) -> Program:
    """Replaces the file by one that was made in another directory, as tempfile and shutil make it easy to."""

    def program(path: Path, _: Promise) -> None:
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
            file.write(NEW)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        shutil.move(file.name, path / "f")

    return program


# --- leaks --------------------


def leaks_descriptor(path: Path, _: Promise) -> None:
    fd = os.open(path / "f.tmp", os.O_WRONLY | os.O_CREAT)
    write_all(fd, NEW)
    os.close(fd)


def leaks_thread(path: Path, promise: Promise) -> None:
    done = threading.Event()
    helper = threading.Thread(target=done.wait, daemon=True)
    helper.start()
    replace(path, promise)
    done.set()
    helper.join()


def joins_thread(path: Path, promise: Promise) -> None:
    done = threading.Event()
    helper = threading.Thread(target=done.wait, daemon=True)
    helper.start()
    try:
        replace(path, promise)
    finally:
        done.set()
        helper.join()


def leaks_child(path: Path, promise: Promise) -> None:
    helper = subprocess.Popen(["sleep", "60"])
    replace(path, promise)
    helper.kill()
    helper.wait()


def reaps_child(path: Path, promise: Promise) -> None:
    helper = subprocess.Popen(["sleep", "60"])
    try:
        replace(path, promise)
    finally:
        helper.kill()
        helper.wait()


class Locked:
    """A file that is locked, for as long as the object lives."""

    def __init__(self, name: Path, careful: bool) -> None:
        self.file = open(name, "r+b", buffering=0)  # noqa: SIM115
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX)
        except OSError:
            if careful:
                self.file.close()
            raise


def takes_lock(careful: bool) -> Program:
    """The frame that held the object is gone when descriptors are counted."""

    def program(path: Path, _: Promise) -> None:
        locked = Locked(path / "f", careful)
        write_all(locked.file.fileno(), NEW)
        locked.file.close()

    return program


# --- recovery and leftovers --------------------


def notes_each_crash(path: Path) -> None:
    if (path / "f.tmp").exists():
        with open(path / "crashes", "a") as file:
            file.write("crashed\n")


def notes_each_recovery(path: Path) -> None:
    with open(path / "recoveries", "a") as file:
        file.write("recovered\n")


def notes_one_crash(path: Path) -> None:
    notes_each_crash(path)
    (path / "f.tmp").unlink(missing_ok=True)


def cleans_up(path: Path, promise: Promise) -> None:
    try:
        replace(path, promise)
    except OSError:
        (path / "f.tmp").unlink(missing_ok=True)
        raise


PLANTED: dict[str, Planted] = {
    "one-shot error": Planted(
        faults.disk().only("EIO[]"), swallows, replace, "write(f.tmp)#1=EIO", old_or_new, old_file
    ),
    "persistent error": Planted(
        faults.disk().only("ENOSPC"),
        retries_and_gives_up_silently,
        retries_and_reports,
        "write(f.tmp)#1=ENOSPC[persistent]",
        old_or_new,
        old_file,
    ),
    "unknown taken for absent": Planted(
        faults.disk().on(call="stat"),
        takes_unknown_for_absent,
        creates_only_what_is_absent,
        "stat(f)#1=EACCES",
        keeps_what_was_there,
        old_file,
    ),
    "endless retry": Planted(
        faults.disk().on(call="rename").only("EROFS"),
        retries_for_ever,
        retries_and_reports,
        "rename(f.tmp -> f)#1=EROFS[persistent]",
        old_or_new,
        old_file,
        verdict="hung",
        options={"timeout": 5.0},
    ),
    "short write": Planted(
        faults.disk().only("short"),
        writes_once,
        replace,
        "write(f.tmp)#1=short[1]",
        old_or_new,
        old_file,
        twin_verdicts=("tolerated",),
    ),
    "short read": Planted(
        faults.disk().on(call="read"),
        copies(False),
        copies(True),
        "read(source)#1=short[10000]",
        old_or_new,
        with_source,
    ),
    "lost reply": Planted(
        faults.share().only("lost"),
        takes_job(False),
        takes_job(True),
        "rename(inbox/job -> work/job)#1=lost[EIO]",
        job_is_not_stuck,
        job_waits,
    ),
    "stale handle": Planted(
        faults.share().on(call="write").only("ESTALE[]"),
        swallows,
        replace,
        "write(f.tmp)#1=ESTALE",
        old_or_new,
        old_file,
    ),
    "name that blinks": Planted(
        faults.share().on(path="n"),
        counts(True),
        counts(False),
        "open(n)#1=ENOENT",
        never_goes_back,
        old_number,
    ),
    "vanished before it is looked at": Planted(
        faults.interference().on(call="stat"),
        oldest(False),
        oldest(True),
        "stat(a)#1=ENOENT",
        no_file_was_missed,
        three_files,
        twin_verdicts=("tolerated",),
    ),
    "removed by another process of the run": Planted(
        faults.disk().only("ENOENT"),
        with_a_neighbour(oldest(False)),
        with_a_neighbour(oldest(True)),
        "stat(a)#1=ENOENT",
        only_one_was_removed,
        three_files,
        twin_verdicts=("tolerated",),
    ),
    "name that is taken": Planted(
        faults.interference().only("EEXIST"),
        spools(False),
        spools(True),
        "open(job1)#1=EEXIST",
        job_is_spooled,
    ),
    "lock that is held": Planted(
        faults.interference().on(call="lock").only("EWOULDBLOCK[]"),
        locks(False),
        locks(True),
        "lock(f)#1=EWOULDBLOCK",
        nothing_ignored,
        old_file,
        twin_verdicts=("failed safe",),
    ),
    "lock that a server does not give": Planted(
        faults.share().on(call="lock").only("ESTALE[]"),
        locks_if_it_can,
        locks(True),
        "lock(f)#1=ESTALE",
        nothing_ignored,
        old_file,
        twin_verdicts=("failed safe",),
    ),
    "removed by a quicker process": Planted(
        faults.interference().only("lost"),
        cleans(False),
        cleans(True),
        "unlink(a)#1=lost[ENOENT]",
        nothing_is_left,
        three_files,
        twin_verdicts=("tolerated",),
    ),
    "nothing left to rename": Planted(
        faults.interference().on(call="rename"),
        saves_unless_it_is_gone,
        replace,
        "rename(f.tmp -> f)#1=ENOENT",
        old_or_new,
        old_file,
        twin_verdicts=("failed safe",),
    ),
    "gone before it is touched": Planted(
        faults.interference().on(call="utimens"),
        reads_and_touches(False),
        reads_and_touches(True),
        "utimens(f)#1=ENOENT",
        old_was_read,
        old_file,
        twin_verdicts=("tolerated",),
    ),
    "lock file that is there": Planted(
        faults.interference().on(call="link").only("EEXIST"),
        dot_locks(False),
        dot_locks(True),
        "link(mine -> f.lock)#1=EEXIST",
        nothing_ignored,
        old_file,
        twin_verdicts=("failed safe",),
    ),
    "directory that is there": Planted(
        faults.interference().only("ENOTEMPTY"),
        publishes_directory(False),
        publishes_directory(True),
        "rename(stage -> data)#1=ENOTEMPTY",
        directory_is_published,
        twin_verdicts=("failed safe",),
    ),
    "link in place of a file": Planted(
        faults.interference().only("ELOOP"),
        refuses_a_link(False),
        refuses_a_link(True),
        "open(f)#1=ELOOP",
        nothing_ignored,
        old_file,
        twin_verdicts=("failed safe",),
    ),
    "full disk": Planted(
        faults.disk().only("full"),
        frees_space_once(False),
        frees_space_once(True),
        "write(f.tmp)#1=full[10000]",
        old_or_new,
        old_file,
        twin_verdicts=("failed safe",),
    ),
    "late error": Planted(
        faults.share().on(call="close"),
        closes(False),
        closes(True),
        "close(f)#1=ENOSPC",
        nothing_ignored,
        old_file,
        twin_verdicts=("failed safe", "tolerated"),
    ),
    "kill": Planted(
        faults.kill().only("kill[]"), overwrite, replace, "write(f)#1=kill", old_or_new, old_file
    ),
    "torn write": Planted(
        faults.kill().only("kill[torn *]"), patch, replace, "write(f)#1=kill[torn 4096]", old_or_new, old_file
    ),
    "kill at promise": Planted(
        faults.kill().on(call="promise"),
        promises_early,
        promises_late,
        "promise()#1=kill",
        old_or_new,
        old_file,
    ),
    "kill at the end": Planted(
        faults.kill().on(call="end"), runs(False), runs(True), "end()#1=kill", mark_is_gone
    ),
    "kill of one process": Planted(
        faults.kill().on(path="two").only("kill[process]"),
        delegates(False),
        delegates(True),
        "*:open(two)#1=kill[process]",
        both_halves,
        twin_verdicts=("failed safe",),
    ),
    "SIGTERM": Planted(
        faults.signal("SIGTERM"),
        stops_on_sigterm(False),
        stops_on_sigterm(True),
        "open(part0)#1=SIGTERM",
        four_parts,
    ),
    "delay": Planted(
        faults.delay(60).on(call="write"),
        waits_for_slow_disk(False),
        waits_for_slow_disk(True),
        "write(f)#1=delay[60]",
        verdict="hung",
        twin_verdicts=("failed safe",),
        options={"timeout": 4.0},
    ),
    "moved in without a sync": Planted(
        faults.power_loss(),
        moves_in(False),
        moves_in(True),
        "rename(*tmp* -> f)#1=power_loss[drop *]",
        old_or_new,
        old_file,
        twin_verdicts=("failed safe",),
    ),
    "lying fsync": Planted(
        faults.default().on(call="fsync").only("EIO[]", "fsync_lies"),
        syncs_again(False),
        syncs_again(True),
        "fsync(f.tmp)#1=EIO; *=power_loss[*]",
        old_or_little,
        old_file,
    ),
    "diverging": Planted(
        faults.disk().on(path="sometimes", call="write").only("EIO[]"),
        asks_twice_only,
        asks_always,
        "write(sometimes)#1=EIO",
        verdict="diverged",
    ),
    "not injected": Planted(
        faults.share().on(call="rename").only("lost"),
        renames_what_is_there,
        replace,
        "rename(away -> back)#1=lost[EIO]",
        setup=away_at_first,
        verdict="not injected",
    ),
    "leaked descriptor": Planted(
        faults.disk().only("EIO[]"), leaks_descriptor, cleans_up, "write(f.tmp)#1=EIO"
    ),
    "left to the garbage collector": Planted(
        faults.disk().on(call="lock").only("ENOLCK[]"),
        takes_lock(False),
        takes_lock(True),
        "lock(f)#1=ENOLCK",
        setup=old_file,
    ),
    "leaked thread": Planted(faults.disk().only("EIO[]"), leaks_thread, joins_thread, "write(f.tmp)#1=EIO"),
    "leaked process": Planted(faults.disk().only("EIO[]"), leaks_child, reaps_child, "write(f.tmp)#1=EIO"),
    "recovery twice": Planted(
        faults.kill(),
        replace,
        replace,
        "rename(f.tmp -> f)#1=kill",
        setup=old_file,
        recovery=(notes_each_crash, notes_one_crash),
    ),
    "recovery twice, without any fault": Planted(
        faults.kill(),
        replace,
        replace,
        "",
        setup=old_file,
        recovery=(notes_each_recovery, notes_one_crash),
    ),
    "file left": Planted(
        faults.disk().only("ENOSPC[]"),
        replace,
        cleans_up,
        "write(f.tmp)#1=ENOSPC",
        setup=old_file,
        options={"invariants": [no_extra_files]},
    ),
    "file emptied": Planted(
        faults.disk().only("ENOSPC[]"),
        overwrite,
        replace,
        "write(f)#1=ENOSPC",
        setup=old_file,
        options={"invariants": [no_truncated_files]},
    ),
}


def _each(kind: str) -> list[Any]:
    return [pytest.param(name, marks=scenario(p.faults, **p.options), id=name) for name, p in PLANTED.items()]


def execute(chaos: Chaos, name: str, program: Program, recover: Callable[[Path], None] | None) -> None:
    planted = PLANTED[name]
    planted.setup(chaos.path)
    outcome = chaos.run(program, chaos.path, chaos.promise)
    if recover is not None:
        chaos.recover(recover, chaos.path)
    planted.check(chaos, outcome)
    if program is planted.twin and planted.check in (nothing, nothing_ignored):
        done_if_said_so(chaos, name, outcome)


@pytest.mark.parametrize("name", _each("bug"))
def test_bug(chaos: Chaos, name: str) -> None:
    planted = PLANTED[name]
    execute(chaos, name, planted.bug, planted.recovery[0] if planted.recovery else None)


@pytest.mark.parametrize("name", _each("twin"))
def test_twin(chaos: Chaos, name: str) -> None:
    planted = PLANTED[name]
    execute(chaos, name, planted.twin, planted.recovery[1] if planted.recovery else None)
