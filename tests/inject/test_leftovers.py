"""What dead runs have left is removed by the next one, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.inject import answered, leftovers, processes, removal
from chaoskit.inject.answered import AnsweredFor
from chaoskit.inject.leftovers import RunDirectory

_KILLED = """
import os, signal, sys
from chaoskit.inject.leftovers import RunDirectory
place = RunDirectory(sys.argv[1]).path
os.mkdir(f"{place}/w00-000001")
print(place, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_swept", set())


def _killed(parent: Path) -> Path:
    """The directory of a run that was killed."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(parent)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Path(done.stdout.strip())


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    """Its directory is there until then, with all that is in it."""
    left = _killed(tmp_path)
    assert (left / "w00-000001").is_dir()
    mine = RunDirectory(str(tmp_path))
    assert [entry.path for entry in os.scandir(tmp_path)] == [mine.path]
    mine.close()
    assert os.listdir(tmp_path) == []


def test_a_run_that_goes_on_keeps_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while only a process that it has forked is left."""
    first = RunDirectory(str(tmp_path))
    monkeypatch.setattr(leftovers, "_swept", set())
    RunDirectory(str(tmp_path)).close()
    assert os.path.isdir(first.path)
    reading, writing = os.pipe()
    pid = processes.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(first._lock)
    monkeypatch.setattr(leftovers, "_swept", set())
    RunDirectory(str(tmp_path)).close()
    assert os.path.isdir(first.path)
    os.close(writing)
    os.waitpid(pid, 0)
    os.close(reading)
    monkeypatch.setattr(leftovers, "_swept", set())
    RunDirectory(str(tmp_path)).close()
    assert os.listdir(tmp_path) == []


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    """A directory of the user's, and a link to one that has the mark, are left alone."""
    (tmp_path / "chaoskit-notes").mkdir()
    (tmp_path / "chaoskit-notes" / "important").write_text("x")
    other = tmp_path / "other"
    other.mkdir()
    (other / ".chaoskit-run").write_text("")
    (tmp_path / "chaoskit-link").symlink_to(other)
    RunDirectory(str(tmp_path)).close()
    assert sorted(os.listdir(tmp_path)) == ["chaoskit-link", "chaoskit-notes", "other"]
    assert (tmp_path / "chaoskit-notes" / "important").read_text() == "x"
    assert (other / ".chaoskit-run").exists()


def test_a_removal_that_was_killed_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark is there until nothing else is, whatever the order in which a directory lists its names."""
    left = _killed(tmp_path)
    for number in range(50):
        (left / f"file{number}").touch()
    unlink = os.unlink

    def killed(name: str, **options: int) -> None:
        if len(os.listdir(left)) <= 10:
            raise KeyboardInterrupt
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        removal.remove(left)
    monkeypatch.undo()
    assert (left / removal.MARK).exists()
    RunDirectory(str(tmp_path)).close()
    assert os.listdir(tmp_path) == []


def test_a_mark_stays_beside_what_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the next run tries again."""
    left = _killed(tmp_path)
    (left / "busy").touch()
    unlink = os.unlink

    def refused(name: str, **options: int) -> None:
        if name == "busy":
            raise OSError
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", refused)
    removal.remove(left)
    assert sorted(os.listdir(left)) == [removal.MARK, "busy"]


def test_a_directory_without_a_mark_goes_only_if_it_is_empty(tmp_path: Path) -> None:
    """A run that is killed right after it has made its directory leaves that; other names are others'."""
    names = ("chaoskit-abcdefg1", "chaoskit-abcdefg2", "chaoskit-mine", "chaoskit-abcdefg3")
    for name in names:
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / names[1] / "important").touch()
    (tmp_path / names[3]).chmod(0o755)
    RunDirectory(str(tmp_path)).close()
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])


def test_a_fresh_directory_that_another_run_took_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no mark yet, and looked like what a killed run leaves."""
    locked = leftovers._locked
    seen: list[str] = []

    def slow(path: str, *, wait: bool) -> int:
        fd = locked(path, wait=wait)
        if not seen:
            seen.append(path)
            os.rmdir(path)
        return fd

    monkeypatch.setattr(leftovers, "_locked", slow)
    before = processes.open_files()
    mine = RunDirectory(str(tmp_path))
    assert os.listdir(tmp_path) == [os.path.basename(mine.path)]
    assert mine.path not in seen
    mine.close()
    assert processes.open_files() == before


def test_the_end_of_a_dying_run_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pytest is dead, one of its processes is not yet: the directory goes all the same."""
    code = """
import os, sys
from chaoskit.inject.leftovers import RunDirectory
place = RunDirectory(sys.argv[1]).path
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print(place, flush=True)
os._exit(0)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        left = run.stdout.readline().decode().strip()
        run.wait()
        assert leftovers._locked(left, wait=False) == -1
        found = leftovers._locked

        def locked(path: str, *, wait: bool) -> int:
            """Let the last process end while the next run is already looking."""
            fd = found(path, wait=wait)
            if fd < 0 and run.stdin is not None:
                run.stdin.close()
            return fd

        monkeypatch.setattr(leftovers, "_locked", locked)
        RunDirectory(str(tmp_path)).close()
    assert os.listdir(tmp_path) == []


def _waiting() -> int:
    pid = processes.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid


def test_only_workloads_that_a_run_answered_for_are_ended(tmp_path: Path) -> None:
    """Spared are one without a filter, one that began later, and one of another start of the machine."""
    listed = AnsweredFor(str(tmp_path))
    pid = _waiting()
    try:
        listed.add(pid)
        assert listed.pids() == {pid}
        assert answered.survivors(str(tmp_path)) == []
        for found, expected in ((True, [pid]), (False, [])):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(answered, "_FILTERED", b"\nState:")
                if not found:
                    patch.setattr(answered, "_began", lambda _: answered._now() + 60)
                assert answered.survivors(str(tmp_path)) == expected
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(answered, "_FILTERED", b"\nState:")
            patch.setattr(answered, "_world", lambda: "another")
            assert answered.survivors(str(tmp_path)) == []
        listed.discard(pid)
        assert listed.pids() == frozenset()
        listed.remove()
        assert os.listdir(tmp_path) == []
    finally:
        listed.release()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_list_that_is_none_names_none(tmp_path: Path) -> None:
    """Links, FIFOs and damage under the name of a list end no process and no run."""
    name = f".chaoskit-answered-{{}}-{answered._world()}"
    (tmp_path / name.format(1)).write_bytes(b"x" * 33)
    (tmp_path / name.format(2)).symlink_to("/dev/zero")
    os.mkfifo(tmp_path / name.format(3))
    assert answered.survivors(str(tmp_path)) == []


_KILLED_IN_A_TRIAL = """
import os, signal
from chaoskit.inject.leftovers import scratch
with scratch() as place:
    open(f"{place}/seen", "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""

_KILLED_IN_A_WORLD = """
import os, signal
from chaoskit.strategies import world
one = world("data", "")
(one.path / "seen").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("source", [_KILLED_IN_A_TRIAL, _KILLED_IN_A_WORLD])
def test_what_was_made_beside_a_run_goes_as_well(tmp_path: Path, source: str) -> None:
    """A trial of the machine or a world of a property test leaves nothing for good when it is killed."""
    there = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", source], env=there, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob("seen"))) == 1
    RunDirectory(str(tmp_path)).close()
    assert os.listdir(tmp_path) == []


def test_a_trial_is_over_when_its_block_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is empty at the start, a real path, and gone at the end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with leftovers.scratch() as place:
        assert (os.path.realpath(place), os.listdir(place)) == (place, [])
        Path(place, "made").mkdir()
    assert os.listdir(tmp_path) == []
