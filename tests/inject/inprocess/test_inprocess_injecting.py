"""Hand-picked faults in the test's own process: what is struck, under which names, and how it ends."""

from __future__ import annotations

import errno
import functools
import gc
import gzip
import io
import logging
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import threading
import zipfile
from collections import deque
from os import rename as move
from pathlib import Path
from typing import Any

import pytest

from chaoskit import Injected, NotInjected, injecting
from chaoskit.core.errors import ScheduleError, UsageError
from chaoskit.core.operation import Operation
from chaoskit.inject.inprocess import bindings
from chaoskit.inject.inprocess.wrapping import Interception

_keep_write = os.write


def by_default(path: Path, opened: Any = open) -> None:
    """The function is bound in a default."""
    with opened(path, "w") as file:
        file.write("x")


def by_closure() -> Any:
    unlink = os.unlink

    def inner(path: Path) -> None:
        unlink(path)

    return inner


closed_over = by_closure()


class Holder:
    """The functions are bound in a class, and in an instance."""

    remove = os.remove

    def __init__(self) -> None:
        self.make = os.mkdir


class Static:
    """Bound in a static method, and in a slot."""

    rename = staticmethod(os.rename)
    __slots__ = ("unlink",)

    def __init__(self) -> None:
        self.unlink = os.unlink


holder = Holder()
static = Static()
applied = functools.partial(os.rename)
queue = deque([os.rmdir])
table = {"link": os.link}


def done(seen: Injected) -> list[str]:
    return [str(one).partition(" = ")[0] for one in seen.operations]


def test_an_error_is_raised_and_the_call_has_no_effect(tmp_path: Path) -> None:
    """As the platform raises it: the right class, number, text and name; the receipt proves it."""
    with injecting("mkdir(made)#1=ENOSPC", path=tmp_path) as seen, pytest.raises(OSError) as caught:
        os.mkdir(tmp_path / "made")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "made"))
    assert caught.value.strerror == os.strerror(errno.ENOSPC)
    assert not (tmp_path / "made").exists()
    assert [one.strike for one in seen.faults] == ["mkdir(made)#1=ENOSPC"]


def test_what_a_program_has_frozen_is_struck(tmp_path: Path) -> None:
    """A server that calls gc.freeze before it forks hides its names from the collector; it stays frozen."""
    (tmp_path / "a").write_text("text")
    bindings.forget()
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with injecting("open(a)#1=EIO", path=tmp_path) as seen, pytest.raises(OSError):
            by_default(tmp_path / "a")
        assert seen.faults
        assert gc.get_freeze_count() > frozen // 2
    finally:
        bindings.forget()


@pytest.mark.parametrize(
    ("schedule", "call"),
    [
        ("rename(a -> b)#1=EIO", lambda path: move(path / "a", path / "b")),
        ("open(a)#1=EIO", lambda path: by_default(path / "a")),
        ("unlink(a)#1=EIO", lambda path: closed_over(path / "a")),
        ("unlink(a)#1=EIO", lambda path: holder.remove(path / "a")),
        ("mkdir(d)#1=EIO", lambda path: holder.make(path / "d")),
        ("rename(a -> b)#1=EIO", lambda path: static.rename(path / "a", path / "b")),
        ("rename(a -> b)#1=EIO", lambda path: Static.rename(path / "a", path / "b")),
        ("unlink(a)#1=EIO", lambda path: static.unlink(path / "a")),
        ("rename(a -> b)#1=EIO", lambda path: applied(path / "a", path / "b")),
        ("rmdir(d)#1=EIO", lambda path: queue[0](path / "d")),
        ("link(a -> b)#1=EIO", lambda path: table["link"](path / "a", path / "b")),
        ("write(a)#1=EIO", lambda path: write_by_descriptor(path / "a")),
        ("open(a)#1=EIO", lambda path: pathlib.Path(path / "a").read_text()),
        ("open(a)#1=EIO", lambda path: open(path / "a", "rb").close()),
        ("open(z)#1=EIO", lambda path: gzip.open(path / "z", "wb").close()),
        ("write(z)#1=EIO", lambda path: zip_up(path / "z")),
        ("open(log)#1=EIO", lambda path: logging.FileHandler(path / "log").close()),
        ("rename(a -> b)#1=EIO", lambda path: (path / "a").rename(path / "b")),
        ("getdents(.)#1=EIO", lambda path: os.listdir(path)),
        ("stat(a)#1=EIO", lambda path: os.stat(path / "a")),
        ("truncate(a)#1=EIO", lambda path: os.truncate(path / "a", 1)),
    ],
)
def test_names_bound_before_are_struck(tmp_path: Path, schedule: str, call: Any) -> None:
    """In modules, defaults, closures, classes, instances and tables, and inside the standard library."""
    (tmp_path / "a").write_text("abc")
    with injecting(schedule, path=tmp_path) as seen, pytest.raises(OSError) as caught:
        call(tmp_path)
    assert caught.value.errno == errno.EIO
    assert (len(seen.faults), seen.around) == (1, ())


def write_by_descriptor(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        _keep_write(fd, b"new")
    finally:
        os.close(fd)


def zip_up(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "text")


def fail(noted: list[bool]) -> None:
    noted.append(isinstance(os.rename, Interception))
    raise ZeroDivisionError


def test_everything_is_as_before_when_the_block_is_left(tmp_path: Path) -> None:
    """Also after an error: the functions are the interpreter's own again, wherever they were bound."""
    armed = []
    with pytest.raises(ZeroDivisionError), injecting(path=tmp_path):
        fail(armed)
    assert armed == [True]
    held = (os.rename, move, open, holder.make, Holder.remove, table["link"], _keep_write, io.open)
    held += (Static.rename, static.unlink, applied.func, queue[0])
    assert not any(isinstance(one, Interception) for one in held)
    assert not isinstance((by_default.__defaults__ or (None,))[0], Interception)


def test_faults_strike_where_buffers_are_written(tmp_path: Path) -> None:
    """Not at the write of the file object, which only fills a buffer: at the call that empties it."""
    with injecting("write(a)#1=ENOSPC", path=tmp_path):
        file = open(tmp_path / "a", "w")  # noqa: SIM115 - its close is part of the test
        assert file.write("x" * 10) == 10
        with pytest.raises(OSError, match="No space"):
            file.flush()
        file.close()


def test_a_short_write_is_made_good_by_the_buffers(tmp_path: Path) -> None:
    """As with a real one: the rest follows in another call."""
    with injecting("write(a)#1=short[3]", path=tmp_path) as seen, open(tmp_path / "a", "wb") as file:
        file.write(b"12345678")
    assert (tmp_path / "a").read_bytes() == b"12345678"
    assert done(seen) == ["open(a)#1", "write(a)#1", "write(a)#2", "close(a)#1"]


@pytest.mark.parametrize("mode", ["r", "rb", "w", "wb", "a", "ab", "x", "r+", "rb+", "w+", "a+b", "x+b"])
@pytest.mark.parametrize("buffering", [-1, 0, 16])
def test_files_are_what_open_would_have_made(tmp_path: Path, mode: str, buffering: int) -> None:
    """The same kind of object with the same attributes, content and errors, for every mode."""

    def used(path: Path) -> tuple[Any, ...]:
        if "x" not in mode:
            path.write_bytes(b"one\ntwo\n")
        try:
            with open(path, mode, buffering) as file:
                seen: list[Any] = [type(file), file.mode, file.readable(), file.writable(), file.tell()]
                if file.readable():
                    seen += [file.readline(), file.read()]
                if file.writable():
                    seen += [file.seek(0, 2), file.write("é\n" if "b" not in mode else b"more"), file.tell()]
                    seen += [file.truncate(), file.seekable(), file.name == path, file.closed]
        except (OSError, ValueError) as error:
            return type(error), str(error)
        return (*seen, file.closed, path.read_bytes())

    expected = used(tmp_path / "real")
    with injecting(path=tmp_path / "."):
        found = used(tmp_path / "real2")
    kinds = {io.FileIO: "raw"}
    assert str([kinds.get(one, one) for one in expected]) == str(
        ["raw" if getattr(one, "__name__", "") == "RawFile" else one for one in found]
    )


def test_a_killed_block_runs_no_further(tmp_path: Path) -> None:
    """Every later call raises, those of finally, except and __exit__ too; what is in buffers is lost."""
    steps = []
    with injecting("rename(a.tmp -> a)#1=kill", path=tmp_path) as seen:
        log = open(tmp_path / "log", "w")  # noqa: SIM115 - it is left open on purpose
        log.write("never written")
        try:
            with open(tmp_path / "a.tmp", "w") as file:
                file.write("new")
            os.replace(tmp_path / "a.tmp", tmp_path / "a")
        except BaseException:
            steps.append("except")
            try:
                os.unlink(tmp_path / "a.tmp")
                steps.append("unlinked")
            finally:
                (tmp_path / "mark").write_text("")
        steps.append("after")
    assert (seen.killed, steps) == (True, ["except"])
    assert sorted(os.listdir(tmp_path)) == ["a.tmp", "log"]
    del log
    assert (tmp_path / "log").read_text() == ""
    assert (tmp_path / "a.tmp").read_text() == "new"


def test_a_killed_block_lets_its_files_and_locks_go(tmp_path: Path) -> None:
    """As a process that ends: no descriptor of it is open, and another may have the lock."""
    fcntl = pytest.importorskip("fcntl")
    kept: list[int] = []
    with injecting("mkdir(d)#1=kill", path=tmp_path):
        kept.append(os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR))
        fcntl.flock(kept[0], fcntl.LOCK_EX)
        os.mkdir(tmp_path / "d")
    with open(tmp_path / "lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_kill_reaches_the_other_threads(tmp_path: Path) -> None:
    """A process dies whole: a thread that goes on raises at its next call."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def other() -> None:
        begun.set()
        go_on.wait(10)
        try:
            (tmp_path / "late").write_text("x")
        except BaseException:
            ended.set()

    thread = threading.Thread(target=other)
    with injecting("mkdir(d)#1=kill", path=tmp_path):
        thread.start()
        begun.wait(10)
        try:
            os.mkdir(tmp_path / "d")
        finally:
            go_on.set()
            thread.join(10)
    assert ended.is_set()
    assert os.listdir(tmp_path) == []


def test_a_function_is_a_rule(tmp_path: Path) -> None:
    """It sees each operation before it takes effect; the first that answers decides."""

    def full_for_large_files(operation: Operation) -> str | None:
        large = operation.call == "write" and len(operation.file.data or b"") > 100
        return "ENOSPC" if large else None

    with injecting(full_for_large_files, path=tmp_path) as seen:
        (tmp_path / "small").write_text("x")
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "large").write_text("x" * 101)
    # Closing the file tries to write the buffer once more.
    assert [one.strike for one in seen.faults] == ["write(large)#1=ENOSPC", "write(large)#2=ENOSPC"]


@pytest.mark.parametrize(
    ("rule", "error", "text"),
    [
        ("write(a)#1=EFOO", ScheduleError, "'EFOO' is not known"),
        ("wirte(a)#1=EIO", UsageError, "wirte"),
        ("write(a)#1", ScheduleError, "does not parse"),
        ("connect(a:1)#1=down[3]", ScheduleError, "not known to the inprocess backend"),
        ("write(a)#1=NXDOMAIN", UsageError, "a fault that write can meet"),
        ("write(a)#1=step[1]", UsageError, "a fault that write can meet"),
        ("write(a)#1=damage[file.empty]", UsageError, "a fault that write can meet"),
        (7, UsageError, "a schedule such as"),
    ],
)
def test_what_does_not_exist_is_refused_when_it_is_armed(
    tmp_path: Path, rule: Any, error: type[Exception], text: str
) -> None:
    """Before a line of the block has run: ignored, it would pass for tolerated."""
    ran = []
    with pytest.raises(error, match=text), injecting(rule, path=tmp_path):
        ran.append(1)
    assert ran == []


def test_a_fault_that_did_not_strike_is_an_error(tmp_path: Path) -> None:
    """With what was done instead; unless it need not be reached."""
    text = r"'mkdir\(e\)#1=EIO' did not strike.*mkdir\(d\)#1"
    with pytest.raises(NotInjected, match=text), injecting("mkdir(e)#1=EIO", path=tmp_path):
        os.mkdir(tmp_path / "d")
    with injecting("mkdir(e)#1=EIO", path=tmp_path, must_strike=False) as seen:
        pass
    assert seen.faults == ()


def test_a_call_of_another_thread_is_told_as_a_rule_names_it(tmp_path: Path) -> None:
    """The rule that is printed strikes there; the one without the thread does not, and says so."""

    def work() -> None:
        thread = threading.Thread(target=move, args=(tmp_path / "a", tmp_path / "b"))
        thread.start()
        thread.join()

    (tmp_path / "a").touch()
    text = r"the operations of that kind were t1:rename\(a -> b\)#1\."
    with pytest.raises(NotInjected, match=text), injecting("rename(a -> b)#1=EIO", path=tmp_path):
        work()
    (tmp_path / "b").rename(tmp_path / "a")
    with (
        injecting("t1:rename(a -> b)#1=EIO", path=tmp_path) as seen,
        pytest.MonkeyPatch.context() as hushed,
    ):
        hushed.setattr(threading, "excepthook", lambda _: None)
        work()
    assert [one.strike for one in seen.faults] == ["t1:rename(a -> b)#1=EIO"]
    assert (tmp_path / "a").exists()


def test_an_error_of_the_block_is_not_hidden(tmp_path: Path) -> None:
    """What the code raises comes first, also if a fault has not struck."""
    with pytest.raises(KeyError), injecting("mkdir(e)#1=EIO", path=tmp_path):
        raise KeyError


def test_blocks_do_not_nest(tmp_path: Path) -> None:
    """The second is refused, and the first goes on."""
    with injecting("mkdir(d)#1=EIO", path=tmp_path):
        with pytest.raises(UsageError, match="one block at a time"), injecting(path=tmp_path):
            pass
        with pytest.raises(OSError, match="Input/output"):
            os.mkdir(tmp_path / "d")


def test_what_lies_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """No operation, no fault, and the file object is the ordinary one."""
    (tmp_path / "in").mkdir()
    with injecting(path=tmp_path / "in") as seen, open(tmp_path / "out", "wb", buffering=0) as file:
        assert type(file) is io.FileIO
    assert seen.operations == ()


def test_a_link_into_the_directory_counts(tmp_path: Path) -> None:
    """Names are followed as the system follows them."""
    (tmp_path / "in").mkdir()
    os.symlink(tmp_path / "in", tmp_path / "way")
    with injecting(path=tmp_path / "in") as seen:
        (tmp_path / "way" / "a").write_text("x")
        os.rename(tmp_path / "way" / "a", tmp_path / "out")
    assert done(seen)[-1] == f"rename(a -> {tmp_path}/out)#1"


def test_what_went_around_is_named(tmp_path: Path) -> None:
    """A C library and a raw file of its own open files unseen: each is said, with the line that did it."""
    with injecting(path=tmp_path) as seen:
        sqlite3.connect(tmp_path / "db").close()
        sqlite3.connect(f"{(tmp_path / 'b c').as_uri()}?mode=rwc", uri=True).close()
        io.FileIO(tmp_path / "raw", "w").close()
    assert [one.target for one in seen.around] == ["sqlite3.connect(db)", "sqlite3.connect(b c)", "open(raw)"]
    assert all("test_inprocess_injecting.py" in one.text for one in seen.around)


def test_a_local_name_goes_around_and_is_named(tmp_path: Path) -> None:
    """A variable of a running frame cannot be replaced."""
    make = os.mkdir
    with injecting(path=tmp_path) as seen:
        make(tmp_path / "d")
    assert [one.target for one in seen.around] == ["os.mkdir(d)"]


def test_a_child_is_told(tmp_path: Path) -> None:
    """What another process does is not seen here."""
    with injecting(path=tmp_path) as seen:
        subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    assert {one.kind for one in seen.around} == {"child"}


def test_a_clean_block_has_nothing_around_it(tmp_path: Path) -> None:
    """The twin of the tests above: what the standard library does by Python is seen."""
    with injecting(path=tmp_path) as seen:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "f").write_text("x")
        shutil.copytree(tmp_path / "a", tmp_path / "c")
        shutil.rmtree(tmp_path / "a")
    assert seen.around == ()
    assert os.listdir(tmp_path) == ["c"]


def test_a_forked_child_is_left_alone(tmp_path: Path) -> None:
    """Its calls are its own, and are not operations of this process."""
    with injecting("mkdir(d)#1=EIO", path=tmp_path, must_strike=False) as seen:
        pid = os.fork()
        if pid == 0:
            os.mkdir(tmp_path / "d")
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert (tmp_path / "d").is_dir()
    assert seen.operations == ()


def test_a_disk_that_is_full_stays_full_until_something_is_removed(tmp_path: Path) -> None:
    """Room is counted: what fits goes through, what does not fails, and removing gives back."""
    (tmp_path / "old").write_bytes(b"x" * 50)
    with injecting("write(a)#1=full[5]", path=tmp_path):
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "a").write_bytes(b"12345678")
        os.unlink(tmp_path / "old")
        (tmp_path / "b").write_bytes(b"12345678")
    assert (tmp_path / "a").read_bytes() == b"12345"


def test_an_interrupted_call_is_made_again_where_python_does_so(tmp_path: Path) -> None:
    """PEP 475: no Python program sees EINTR from a write, so raising it would be a false alarm."""
    with injecting("write(a)#1=EINTR", path=tmp_path) as seen:
        (tmp_path / "a").write_text("text")
    assert (tmp_path / "a").read_text() == "text"
    assert len(seen.faults) == 1
