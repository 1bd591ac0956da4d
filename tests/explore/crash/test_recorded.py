"""Crash states of what the kernel backend has recorded: facts that a trace made by hand would assume."""

from __future__ import annotations

import mmap
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.explore.crash import CrashStates, Snapshot, crash_states, script
from chaoskit.explore.crash.materialise import Writer, state_tree
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend

pytestmark = pytest.mark.skipif(
    KernelBackend().unavailable() is not None, reason="the kernel backend does not work here"
)


def recorded(
    path: Path, work: Callable[[], object], models: object = ("ext4", "xfs", "btrfs")
) -> CrashStates:
    """The crash states of ``work``, which acts below ``path``."""
    before = Snapshot.take(path)
    ran = KernelBackend().run(work, Plan(str(path), record=True))
    assert ran.ok
    return crash_states(script(ran.trace, before), models)  # type: ignore[arg-type]


def modes(states: CrashStates, name: str) -> set[str]:
    """Every mode that ``name`` has in one of the states."""
    writer = Writer(states.tables)
    trees = [writer.described(state.persisted) for state in states]
    return {oct(tree[name][1]) for tree in trees if name in tree}  # type: ignore[index]


@pytest.mark.parametrize("mask", [0o077, 0o002, 0])
def test_what_the_workload_makes_has_the_mode_that_its_own_umask_leaves(tmp_path: Path, mask: int) -> None:
    """``umask 077; printf secret > key`` never leaves a key that others may read, nor the other way round."""

    def work() -> None:
        os.umask(mask)
        (tmp_path / "key").write_bytes(b"secret")
        (tmp_path / "keys").mkdir()
        os.mkfifo(tmp_path / "pipe")

    states = recorded(tmp_path, work)
    for name, given in (("key", 0o666), ("keys", 0o777), ("pipe", 0o666)):
        assert modes(states, name) == {oct(given & ~mask)}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_the_umask_of_another_user_counts_too(tmp_path: Path) -> None:
    """After setuid the calls are left to the kernel and nobody looks at what they made."""

    def work() -> None:
        os.setuid(65534)
        os.umask(0o077)
        os.close(os.open("key", os.O_CREAT | os.O_WRONLY, 0o644))

    tmp_path.chmod(0o777)
    here = os.getcwd()
    os.chdir(tmp_path)  # Its parents may not let that user in.
    try:
        states = recorded(tmp_path, work)
    finally:
        os.chdir(here)
    assert modes(states, "key") == {"0o600"}


def test_a_directory_inherits_the_bit_that_passes_on_the_group(tmp_path: Path) -> None:
    """mkdir(2): the new directory has S_ISGID if its parent has it."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)
    states = recorded(tmp_path, (tmp_path / "shared" / "new").mkdir)
    now = (tmp_path / "shared" / "new").stat().st_mode & 0o7777
    assert now & 0o2000
    assert modes(states, "shared/new") == {oct(now)}


def _rewritten(path: Path, hold: Callable[[int], object]) -> CrashStates:
    """``a`` is emptied and written; ``hold`` sees the descriptor before it is closed."""
    (path / "a").write_bytes(b"old")
    (path / "other").write_bytes(b"x")

    def work() -> None:
        fd = os.open(path / "a", os.O_RDWR | os.O_TRUNC)
        held = hold(fd)
        os.write(fd, b"new")
        os.close(fd)
        other = os.open(path / "other", os.O_WRONLY)
        os.write(other, b"y" * 5000)
        os.fsync(other)
        del held

    return recorded(path, work, "ext4")


def _may_be_empty(states: CrashStates) -> bool:
    """Data synced after a close may survive without the data that the close left behind."""
    return {"a": b"", "other": b"y" * 5000} in [state_tree(states, s) for s in states]


def test_closing_a_file_that_was_emptied_saves_its_content_on_ext4(tmp_path: Path) -> None:
    """The one descriptor is closed: the kernel writes the data out with the next transaction."""
    assert not _may_be_empty(_rewritten(tmp_path, lambda fd: None))


def test_closing_one_of_several_openings_saves_it_too(tmp_path: Path) -> None:
    """Seen on a mounted ext4: any opening of the file that ends will do, a reader's too."""

    def reader(fd: int) -> int:
        return os.open(tmp_path / "a", os.O_RDONLY)

    assert not _may_be_empty(_rewritten(tmp_path, reader))


def _sent(fd: int) -> object:
    ends = socket.socketpair()
    socket.send_fds(ends[0], [b"x"], [fd])
    return ends


def _mapped(fd: int) -> object:
    os.ftruncate(fd, 4096)
    return mmap.mmap(fd, 4096, mmap.MAP_PRIVATE)


class _Killed:
    """A child process that lives as long as this object."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __del__(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _inherited(fd: int) -> object:
    child = os.fork()
    if child == 0:
        signal.pause()
    return _Killed(child)


@pytest.mark.parametrize(
    "hold", [os.dup, lambda fd: os.dup2(fd, 200), _inherited, _sent], ids=["dup", "dup2", "fork", "message"]
)
def test_closing_a_duplicate_does_not(tmp_path: Path, hold: Callable[[int], object]) -> None:
    """Seen on a mounted ext4: the file is empty as long as somebody holds the descriptor."""
    assert _may_be_empty(_rewritten(tmp_path, hold))


def test_a_mapping_holds_a_file_as_a_descriptor_does(tmp_path: Path) -> None:
    """mmap(2): closing the descriptor does not unmap; the file is released with the mapping."""
    trace = _rewritten(tmp_path, _mapped).script.trace
    closes = [(o.target, o.file.released) for o in trace if o.call == "close"]
    assert closes[0] == ("a", False)


def test_the_last_of_two_descriptors_saves_it(tmp_path: Path) -> None:
    """When the duplicate is closed as well, the data goes out."""
    (tmp_path / "a").write_bytes(b"old")

    def work() -> None:
        fd = os.open(tmp_path / "a", os.O_WRONLY)
        os.ftruncate(fd, 0)
        copy = os.dup(fd)
        os.write(fd, b"new")
        os.close(fd)
        os.close(copy)

    trace = recorded(tmp_path, work, "ext4").script.trace
    assert [o.file.released for o in trace if o.call == "close"] == [False, True]
