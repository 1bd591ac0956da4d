"""Memory that the kernel refuses, and the process that it takes memory back from."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from chaoskit.inject.base import Ran

Run = Callable[..., Ran]
MEBIBYTE = 1024 * 1024


def asked(root: str, *sizes: int) -> list[str]:
    """Make a file, ask for so many MiB one after the other, and tell of each if it was to be had."""
    told, kept = [], []
    os.close(os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY))
    for size in sizes:
        try:
            kept.append(bytearray(size * MEBIBYTE))
            told.append("had")
        except MemoryError:
            told.append("refused")
    return told


@pytest.mark.parametrize(
    ("limit", "told"),
    [(16, ["had", "refused", "had"]), (160, ["had", "had", "had"])],
)
def test_a_limit_leaves_so_much_and_no_more(run: Run, root: str, limit: int, told: list[str]) -> None:
    """4 MiB fit into 16, 64 do not, and what does not fit takes nothing away."""
    ran = run(lambda: asked(root, 4, 64, 4), f"open(a)#1=memory_limit[{limit}]")
    assert ran.value == told
    assert [one.strike for one in ran.receipts] == [f"open(a)#1=memory_limit[{limit}]"]
    assert "limited to" in ran.receipts[0].effect


def test_a_limit_reaches_into_the_arenas_of_threads(run: Run, root: str) -> None:
    """glibc has reserved address space for them, and would have 50 MiB there although 8 are left."""
    seen: list[str] = []

    def in_a_thread() -> None:
        # A thread that allocates by malloc(3) gets an arena.
        bytearray(1024)
        seen.extend(asked(root, 4, 50, 60))

    def work() -> list[str]:
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
        return seen

    ran = run(work, "t1:open(a)#1=memory_limit[8]")
    assert (ran.value, len(ran.receipts)) == (["had", "refused", "refused"], 1)


PIECE = 100 * 1024
"""Bytes of a block that glibc takes from a heap; from 128 KiB on it is mapped."""


@pytest.fixture(params=["pinned", "shrunk"])
def busy_before(request: pytest.FixtureRequest) -> Iterator[list[bytearray]]:
    """A test process that has freed a lot: 80 MiB in its heap, 48 MiB in the heap of each of three threads.

    Below a block that is still in use it stays in the heap. Else the heap shrinks, and that of a thread can
    be written to as before.
    """
    pins: list[bytearray] = []

    def work(pieces: int) -> None:
        blocks = [bytearray(PIECE) for _ in range(pieces)]
        if request.param == "pinned":
            pins.append(blocks[-1])

    everyone = threading.Barrier(3)

    def in_a_thread() -> None:
        everyone.wait()
        work(48 * MEBIBYTE // PIECE)
        # An arena of a thread that has ended would be the next one's, too.
        everyone.wait()

    threads = [threading.Thread(target=in_a_thread) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    work(80 * MEBIBYTE // PIECE)
    yield pins
    pins.clear()


@pytest.mark.parametrize("thread", [False, True])
def test_what_was_freed_before_the_run_is_not_to_be_had(
    run: Run, root: str, busy_before: list[bytearray], thread: bool
) -> None:
    """A limit means the same however busy the test process was, in a thread as well."""
    told: list[str] = []

    def work() -> list[str]:
        if not thread:
            return asked(root, 4, 40, 4)
        other = threading.Thread(target=lambda: told.extend(asked(root, 4, 40, 4)))
        other.start()
        other.join()
        return told

    ran = run(work, f"{'t1:' if thread else ''}open(a)#1=memory_limit[16]")
    assert (ran.value, len(ran.receipts)) == (["had", "refused", "had"], 1)


def test_small_blocks_that_were_freed_before_the_run_count_with_the_limit(
    run: Run, root: str, busy_before: list[bytearray]
) -> None:
    """Many blocks that glibc takes from its heap come to the limit, too, and to no more."""

    def work() -> int:
        os.close(os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY))
        kept = []
        try:
            while len(kept) < 1000:
                kept.append(bytearray(PIECE))
        except MemoryError:
            pass
        return len(kept) * PIECE // MEBIBYTE

    got = run(work, "open(a)#1=memory_limit[16]").value
    # What is in pieces below 64 KiB and what an arena begins with is not counted exactly.
    assert 14 <= got <= 18, got
    assert run(work).value == 1000 * PIECE // MEBIBYTE


def test_a_settled_heap_shows_in_nothing(run: Run, root: str, busy_before: list[bytearray]) -> None:
    """The threads that fill the arenas are gone before the workload begins, and have used up no name."""

    def work() -> tuple[list[str], int, str]:
        os.close(os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY))
        here = os.listdir("/proc/self/task")
        return [one.name for one in threading.enumerate()], len(here), threading.Thread().name

    limited = run(work, "open(a)#1=memory_limit[64]")
    assert limited.value == run(work).value
    assert limited.value[:2] == (["MainThread"], 1)


def test_without_the_limit_all_of_it_is_to_be_had(run: Run, root: str) -> None:
    """The twin: it is the fault that refuses."""
    assert run(lambda: asked(root, 4, 64, 4)).value == ["had"] * 3


@pytest.mark.parametrize(
    ("flags", "size", "told"),
    [
        (mmap.MAP_PRIVATE, 16, "Cannot allocate memory"),
        (mmap.MAP_PRIVATE, 4, "mapped"),
        # Shared memory is not data: for it there is the limit on address space, which leaves 1 GiB more.
        (mmap.MAP_SHARED, 16, "mapped"),
        (mmap.MAP_SHARED, 2048, "Cannot allocate memory"),
    ],
)
def test_a_limit_holds_for_what_python_does_not_allocate(
    run: Run, root: str, flags: int, size: int, told: str
) -> None:
    """A mapping is refused by the kernel, whatever library asks for it; the limit is seen by the program."""

    def work() -> tuple[str, bool]:
        before = resource.getrlimit(resource.RLIMIT_AS)
        os.close(os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY))
        limited = resource.getrlimit(resource.RLIMIT_AS)[0] != before[0]
        try:
            mmap.mmap(-1, size * MEBIBYTE, flags=flags).close()
        except OSError as error:
            return os.strerror(error.errno or 0), limited
        return "mapped", limited

    assert run(work, "open(a)#1=memory_limit[8]").value == (told, True)


def test_a_limit_is_inherited_by_children(run: Run, root: str) -> None:
    """What is forked after it has no more either, as on a machine without memory."""

    def work() -> int:
        os.close(os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY))
        pid = os.fork()
        if pid == 0:
            try:
                bytearray(64 * MEBIBYTE)
            except MemoryError:
                os._exit(7)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert run(work, "open(a)#1=memory_limit[8]").value == 7


def with_a_large_child(root: str) -> int:
    """Have a child hold 64 MiB while a file is made; returns how the child ended."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        held = bytearray(b"x") * (64 * MEBIBYTE)
        os.write(told, b"1")
        signal.pause()
        os._exit(len(held) % 2)
    os.close(told)
    os.read(ready, 1)
    os.close(ready)
    os.close(os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY))
    # Where nothing has ended it.
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_kernels_last_resort_is_the_largest_process(run: Run, root: str) -> None:
    """The child that holds the memory is killed, the parent that made the call goes on."""
    ran = run(lambda: with_a_large_child(root), "open(a)#1=oom")
    assert (ran.value, os.path.exists(f"{root}/a")) == (-signal.SIGKILL, True)
    assert [one.strike for one in ran.receipts] == ["open(a)#1=oom"]
    assert "which had the most memory" in ran.receipts[0].effect


def test_without_it_the_child_lives_until_its_parent_ends_it(run: Run, root: str) -> None:
    """The twin: nothing else kills it."""
    assert run(lambda: with_a_large_child(root)).value == -signal.SIGTERM


def test_a_process_alone_is_the_largest(run: Run, root: str) -> None:
    """It dies before the call has happened, and its death is the proof."""
    ran = run(lambda: asked(root), "open(a)#1=oom")
    assert (ran.signal, os.path.exists(f"{root}/a")) == (signal.SIGKILL, False)
    assert [one.strike for one in ran.receipts] == ["open(a)#1=oom"]
