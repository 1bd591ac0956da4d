"""One whole file per error, with what is needed to understand it, and without secrets."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import context
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.failures.taxonomy import DiskFull
from chaoskit.runtime.observing.details import DetailOptions, ErrorDetails, describe_error

# Not literally in a source line, which the file quotes, nor used by any other test, whose names and
# values may stand in the frames of pytest that are part of the stack.
SECRET = "".join(map(chr, range(ord("k"), ord("z"))))


def read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def fail(sample: str, password: str) -> None:
    counts = {"ok": 3, "token": SECRET}
    if counts:
        raise DiskFull(f"no room for {sample}, password={password}")


def caught(sample: str, password: str) -> BaseException:
    try:
        fail(sample, password)
    except DiskFull as error:
        return error
    raise AssertionError


def test_the_file_tells_the_whole_story(tmp_path: Path) -> None:
    """Context, message, hint, every frame with its locals; the secrets are hidden."""
    with context.operation("upload", correlation_id="mine", sample="S1"):
        path = ErrorDetails(tmp_path).write(caught("S1", SECRET))
    record = read(path)
    error = record["errors"][0]
    assert record["format"] == 1
    assert record["context"]["correlation_id"] == "mine"
    assert error["type"] == "chaoskit.runtime.failures.taxonomy.DiskFull"
    assert error["hint"] == "Free space on the device or write elsewhere."
    innermost = error["stack"][-1]
    assert innermost["function"] == "fail"
    assert innermost["locals"]["sample"] == "S1"
    assert innermost["locals"]["counts"] == {"ok": 3, "token": "[redacted]"}
    assert innermost["source"].startswith("raise DiskFull")
    assert SECRET not in path.read_text()


def test_the_frames_above_the_handler_are_there(tmp_path: Path) -> None:
    """The stack does not end at the try statement: who called is part of the story."""

    def outermost() -> Path:
        return ErrorDetails(tmp_path).write(caught("S1", "x"))

    functions = [frame.get("function", "") for frame in read(outermost())["errors"][0]["stack"]]
    here = "test_the_frames_above_the_handler_are_there"
    assert here in functions
    assert functions.index(here) < functions.index("caught") < functions.index("fail")


def test_causes_contexts_and_groups_are_followed(tmp_path: Path) -> None:
    """Every error that led to this one is described once, and linked by its index."""
    try:
        try:
            try:
                raise KeyError("first")
            except KeyError as first:
                raise ValueError("second") from first
        except ValueError as second:
            raise ExceptionGroup("both", [second, OSError("third")])  # noqa: B904 - the context is wanted
    except ExceptionGroup as error:
        errors = describe_error(error)
    assert [e["type"].rpartition(".")[2] for e in errors] == [
        "ExceptionGroup",
        "ValueError",
        "OSError",
        "KeyError",
    ]
    assert errors[0]["context"] == 1
    assert errors[0]["members"] == [1, 2]
    assert errors[1]["cause"] == 3


def test_cyclic_chains_end() -> None:
    """Errors that are one another's cause are described once each."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert [e["cause"] for e in describe_error(one)] == [1, 0]


def test_long_chains_and_deep_stacks_are_bounded(tmp_path: Path) -> None:
    """A thousand causes and a thousand frames give a file of moderate size."""
    last: BaseException | None = None
    for number in range(1000):
        error = ValueError(number)
        error.__cause__ = last
        last = error
    assert last is not None
    assert len(describe_error(last)) == 50

    def recurse() -> None:
        recurse()

    try:
        recurse()
    except RecursionError as error:
        path = ErrorDetails(tmp_path).write(error)
    stack = read(path)["errors"][0]["stack"]
    assert any("skipped" in frame for frame in stack)
    assert len(stack) == 81


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def test_a_hostile_error_is_written_all_the_same(tmp_path: Path) -> None:
    """An error whose message, attributes and locals cannot be shown still gets its file."""
    try:
        hostile = Hostile()
        hostile.loop = hostile  # type: ignore[attr-defined]
        raise hostile
    except Hostile as error:
        record = read(ErrorDetails(tmp_path).write(error))
    assert record["errors"][0]["message"] == "<Hostile, which cannot be shown: RuntimeError>"


def test_an_error_never_raised_has_an_empty_stack(tmp_path: Path) -> None:
    """An error without a traceback is described too."""
    assert read(ErrorDetails(tmp_path).write(ValueError("x")))["errors"][0]["stack"] == []


def test_one_error_is_one_file(tmp_path: Path) -> None:
    """An error that passes two captures is written once, and notes its file once."""
    details = ErrorDetails(tmp_path)
    with pytest.raises(ValueError) as caught_error, details.capture(), details.capture():
        raise ValueError("x")
    (file,) = tmp_path.iterdir()
    assert caught_error.value.__notes__ == [f"Details: {file}"]


def test_every_error_has_a_file_of_its_own(tmp_path: Path) -> None:
    """Threads that fail at the same moment do not overwrite one another's files."""
    details = ErrorDetails(tmp_path, clock=VirtualClock())

    def work() -> None:
        for _ in range(10):
            details.write(ValueError("same"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.glob("error-*.json"))) == 40


def test_the_newest_files_are_kept(tmp_path: Path) -> None:
    """No more files than asked for stay; the oldest go first."""
    clock = VirtualClock()
    details = ErrorDetails(DetailOptions(tmp_path, keep=3), clock=clock)
    paths = []
    for number in range(5):
        paths.append(details.write(ValueError(number)))
        clock.advance(1)
    assert sorted(tmp_path.iterdir()) == paths[2:]


def test_old_files_that_cannot_be_removed_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the clean-up fails the new file is there all the same, and the trouble is logged."""

    def broken(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError("no")

    details = ErrorDetails(DetailOptions(tmp_path, keep=1))
    details.write(ValueError(1))
    monkeypatch.setattr(Path, "unlink", broken)
    assert details.write(ValueError(2)).exists()
    assert "cannot be removed" in caplog.text


def test_remains_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    """A half-written file of an hour ago is removed; a fresh one may be somebody's at work."""
    old, fresh = tmp_path / ".error-old.json.tmp", tmp_path / ".error-new.json.tmp"
    old.write_text("{")
    fresh.write_text("{")
    os.utime(old, (0, 0))
    ErrorDetails(tmp_path).write(ValueError())
    assert not old.exists()
    assert fresh.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_only_the_owner_can_read(tmp_path: Path) -> None:
    """Locals are private: the file's mode is 0600 whatever the umask."""
    old = os.umask(0)
    try:
        path = ErrorDetails(tmp_path / "made").write(ValueError())
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """If the disk fails in the middle, write() raises it and no part of a file stays."""

    def broken(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, broken)
    with pytest.raises(OSError, match="No space"):
        ErrorDetails(tmp_path).write(ValueError())
    assert list(tmp_path.iterdir()) == []


def test_capture_never_replaces_the_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the file cannot be written the original error passes, and the trouble is logged."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(KeyError, match="original"), ErrorDetails(blocked).capture():
        raise KeyError("original")
    assert "no detail file for KeyError" in caplog.text


def test_interrupts_pass_capture_unrecorded(tmp_path: Path) -> None:
    """Ctrl-C is not an error, and gets no file."""
    with pytest.raises(KeyboardInterrupt), ErrorDetails(tmp_path).capture():
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_error_stays_picklable_after_capture(tmp_path: Path) -> None:
    """The mark that capture() leaves on an error does not keep it from being sent elsewhere."""
    with pytest.raises(DiskFull) as caught_error, ErrorDetails(tmp_path).capture():
        raise DiskFull("x")
    assert isinstance(pickle.loads(pickle.dumps(caught_error.value)), DiskFull)


@pytest.mark.parametrize("type_name", ["../../etc/x", "a/b", "", "x" * 300])
def test_a_type_name_cannot_leave_the_directory(tmp_path: Path, type_name: str) -> None:
    """The file's name is made of harmless characters and is short enough, whatever the error's type."""
    kind = type(type_name or "E", (Exception,), {})
    kind.__name__ = type_name
    path = ErrorDetails(tmp_path).write(kind())
    assert path.parent == tmp_path
    assert len(path.name) < 150


def test_a_wrong_number_of_files_is_refused(tmp_path: Path) -> None:
    """keep must be a number of files."""
    with pytest.raises(UsageError, match="keep is -1"):
        DetailOptions(tmp_path, keep=-1)


@pytest.mark.skipif(sys.platform != "linux", reason="strace-free check of the order by a wrapper")
def test_the_file_is_synced_before_it_is_named(tmp_path: Path) -> None:
    """The order is write, fsync of the file, rename, fsync of the directory: a crash shows all or nothing."""
    program = f"""
import os
from chaoskit.runtime.observing.details import ErrorDetails
calls = []
sync, replace = os.fsync, os.replace
os.fsync = lambda fd: (calls.append("dir" if os.path.isdir(f"/proc/self/fd/{{fd}}") else "file"), sync(fd))
os.replace = lambda a, b: (calls.append("rename"), replace(a, b))
ErrorDetails({str(tmp_path)!r}).write(ValueError())
print(calls)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['file', 'rename', 'dir']"
