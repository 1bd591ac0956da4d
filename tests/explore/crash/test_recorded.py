"""Crash states of what the kernel backend has recorded: facts that a trace made by hand would assume."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.explore.crash import CrashStates, Snapshot, crash_states, script
from chaoskit.explore.crash.materialise import Writer
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
