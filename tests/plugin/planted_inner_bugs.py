"""Programs with bugs that memory, Ctrl-C or a cancellation brings out, each with its corrected twin.

Run by test_planted_inner_bugs.py in a pytest of its own, where the bugs fail: that is what is tested. A
program is a function of a state and of the directory; an application goes on after it, so what it leaves in
memory counts as well as what it leaves on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaoskit import Chaos, Outcome, faults, scenario


class State:
    """What an application keeps in memory."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.Lock()
        self.index: dict[str, int] = {}
        self.cache: dict[str, Any] = {}
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.depth = 0
        self.waiting = [1, 2, 3]
        self.done: list[int] = []
        self.claimed = 0
        self.database: Any = None
        self.stopped = False

    def seen(self) -> dict[str, Any]:
        """All that a check asks for, as plain data."""
        return {
            "locked": self.lock.locked(),
            "index": self.index,
            "cache": self.cache,
            "pairs": (len(self.names), len(self.sizes)),
            "depth": self.depth,
            "items": sorted(self.waiting + self.done),
            "claimed": self.claimed,
            "done": self.done,
            "open": self.database is not None and self.database.in_transaction,
            "stopped": self.stopped,
        }


Program = Callable[[State, Path], Any]


@dataclass(frozen=True)
class Planted:
    """A bug, its twin, the faults that find it, and what must hold of what was left."""

    faults: faults.FaultSet
    bug: Program
    twin: Program
    check: Callable[[dict[str, Any], Path, Outcome], bool]
    finds: str
    setup: Callable[[Path], Any] = field(default=bool)


def attempt(program: Program, path: Path) -> dict[str, Any]:
    """Run a program in an application that goes on afterwards."""
    state = State(path)
    with contextlib.suppress(MemoryError, KeyboardInterrupt, asyncio.CancelledError):
        program(state, path)
        state.stopped = True
    return state.seen()


# --- memory -------------------------------------------------------------------------------------


def half_built(state: State, path: Path) -> None:
    state.index.clear()
    for number in range(3):
        state.index[str(number) * 20] = number


def swapped(state: State, path: Path) -> None:
    fresh = {}
    for number in range(3):
        fresh[str(number) * 20] = number
    state.index = fresh


def poisoned(state: State, path: Path) -> None:
    state.cache["answer"] = None
    state.cache["answer"] = "x".join(map(str, range(50)))


def computed_first(state: State, path: Path) -> None:
    answer = "x".join(map(str, range(50)))
    state.cache["answer"] = answer


def lock_without_finally(state: State, path: Path) -> None:
    state.lock.acquire()
    bytearray(1000)
    state.lock.release()


def lock_in_with(state: State, path: Path) -> None:
    with state.lock:
        bytearray(1000)


def swallowed(state: State, path: Path) -> None:
    for item in list(state.waiting):
        try:
            state.cache[str(item)] = str(item) * 100
        except:  # noqa: E722 - the bug
            pass
        state.claimed += 1


def only_expected(state: State, path: Path) -> None:
    for item in list(state.waiting):
        try:
            state.cache[str(item)] = str(item) * 100
        except ValueError:
            continue
        state.claimed += 1


def two_lists(state: State, path: Path) -> None:
    state.names.append("name")
    state.sizes.append(len("x" * 100))


def one_list(state: State, path: Path) -> None:
    row = ("name", len("x" * 100))
    state.cache["rows"] = [row]


def depth_left(state: State, path: Path) -> None:
    state.depth += 1
    bytearray(1000)
    state.depth -= 1


def depth_restored(state: State, path: Path) -> None:
    state.depth += 1
    try:
        bytearray(1000)
    finally:
        # A number that exists: even a subtraction may have to allocate.
        state.depth = 0


def database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path / "db")) as made:
        made.execute("CREATE TABLE IF NOT EXISTS t (x)")
        made.commit()


def transaction_left(state: State, path: Path) -> None:
    state.database = sqlite3.connect(path / "db")
    state.database.execute("INSERT INTO t VALUES (1)")
    str(state.database) * 10
    state.database.commit()


def transaction_in_with(state: State, path: Path) -> None:
    state.database = sqlite3.connect(path / "db")
    with state.database:
        state.database.execute("INSERT INTO t VALUES (1)")
        str(state.database) * 10


def settings(path: Path) -> None:
    (path / "settings").write_text('{"a": 1}')


def truncated_first(state: State, path: Path) -> None:
    with open(path / "settings", "w") as file:
        file.write(json.dumps({"a": list(range(50))}))


def replaced_whole(state: State, path: Path) -> None:
    text = json.dumps({"a": list(range(50))})
    with open(path / "settings.new", "w") as file:
        file.write(text)
    os.replace(path / "settings.new", path / "settings")


def popped_first(state: State, path: Path) -> None:
    while state.waiting:
        item = state.waiting.pop()
        bytearray(item * 1000)
        state.done.append(item)


def popped_last(state: State, path: Path) -> None:
    while state.waiting:
        item = state.waiting[-1]
        bytearray(item * 1000)
        # Both, and nothing in between that could fail: the longer list is made first.
        longer = [*state.done, item]
        state.waiting.pop()
        state.done = longer


def default_for_anything(state: State, path: Path) -> None:
    try:
        known = json.loads((path / "settings").read_text())
    except Exception:
        known = {}
    (path / "settings.new").write_text(json.dumps({**known, "b": 2}))
    os.replace(path / "settings.new", path / "settings")


def default_for_nothing_there(state: State, path: Path) -> None:
    try:
        known = json.loads((path / "settings").read_text())
    except FileNotFoundError:
        known = {}
    (path / "settings.new").write_text(json.dumps({**known, "b": 2}))
    os.replace(path / "settings.new", path / "settings")


def whole_settings(seen: dict[str, Any], path: Path, outcome: Outcome) -> bool:
    return "a" in json.loads((path / "settings").read_text())


NUMBERS = (1, 2, 3)


def same(value: Any) -> Any:
    return value


def rest_of_a_line(state: State, path: Path) -> None:
    same(1)
    state.cache["answer"] = None
    state.cache["answer"] = json.dumps(same(NUMBERS))
    same(2)


def rest_before(state: State, path: Path) -> None:
    answer = json.dumps(same(NUMBERS))
    state.cache["answer"] = answer


class Once:
    """An awaitable that waits once."""

    def __await__(self) -> Any:
        yield
        return NUMBERS


def driven(work: Callable[[State], Any]) -> Program:
    """Run a coroutine without an event loop, which allocates for itself."""

    def drive(state: State, path: Path) -> None:
        running = work(state)
        with contextlib.suppress(StopIteration):
            while True:
                running.send(None)

    return drive


async def answered_late(state: State) -> None:
    state.cache["answer"] = None
    state.cache["answer"] = json.dumps(await Once())


async def answered_at_once(state: State) -> None:
    answer = json.dumps(await Once())
    state.cache["answer"] = answer


def no_empty_answer(seen: dict[str, Any], path: Path, outcome: Outcome) -> bool:
    return seen["cache"].get("answer", "") is not None


def updated_in_steps(state: State, path: Path) -> None:
    state.index.update((str(number) * 20, number) for number in range(3))


LARGE = 32 * 1024 * 1024


def nothing_when_short(state: State, path: Path) -> None:
    (path / "settings").read_text()
    try:
        state.cache["size"] = len(bytearray(LARGE))
    except MemoryError:
        state.cache["size"] = 0


def told_when_short(state: State, path: Path) -> None:
    (path / "settings").read_text()
    state.cache["size"] = len(bytearray(LARGE))


def compute(path: Path) -> None:
    """In a child: hold much, and write what comes of it."""
    held = bytearray(b"x") * LARGE
    (path / "result").write_text(str(len(held)))


def in_a_child(state: State, path: Path, *, asks: bool) -> None:
    """Have a child compute; with ``asks`` its status counts."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            compute(path)
            os._exit(0)
        os._exit(1)
    status = os.waitpid(pid, 0)[1]
    state.claimed = 1 if not asks or status == 0 else 0
    # What is asked for later, when the directory is no longer what it was.
    state.cache["there"] = (path / "result").exists() and (path / "result").stat().st_size > 0


def child_not_asked(state: State, path: Path) -> None:
    in_a_child(state, path, asks=False)


def child_asked(state: State, path: Path) -> None:
    in_a_child(state, path, asks=True)


# --- interrupts ---------------------------------------------------------------------------------


def acquired_before_try(state: State, path: Path) -> None:
    state.lock.acquire()
    try:
        os.getpid()
    finally:
        state.lock.release()


def acquired_in_with(state: State, path: Path) -> None:
    with state.lock:
        os.getpid()


def file_left_open(state: State, path: Path) -> None:
    fd = os.open(path / "log", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"line\n")
    os.close(fd)


def file_in_with(state: State, path: Path) -> None:
    with open(path / "log", "wb", buffering=0) as file:
        file.write(b"line\n")


def temporary_left(state: State, path: Path) -> None:
    (path / "data.tmp").write_bytes(b"new")
    os.replace(path / "data.tmp", path / "data")


def temporary_removed(state: State, path: Path) -> None:
    try:
        (path / "data.tmp").write_bytes(b"new")
        os.replace(path / "data.tmp", path / "data")
    except BaseException:
        (path / "data.tmp").unlink(missing_ok=True)
        raise


def interrupt_swallowed(state: State, path: Path) -> None:
    for _ in range(2):
        try:
            os.getpid()
        except BaseException:
            continue


def interrupt_passed_on(state: State, path: Path) -> None:
    for _ in range(2):
        try:
            os.getpid()
        except Exception:
            continue


def stopped_by_interrupt(seen: dict[str, Any], path: Path, outcome: Outcome) -> bool:
    return not (outcome.faults and seen["stopped"])


def pair_in_halves(state: State, path: Path) -> None:
    state.names.append("name")
    state.sizes.append(4)


def pair_at_once(state: State, path: Path) -> None:
    names, sizes = [*state.names, "name"], [*state.sizes, 4]
    state.names, state.sizes = names, sizes


def rows(state: State) -> Any:
    state.depth += 1
    yield 1
    state.depth -= 1


def rows_in_try(state: State) -> Any:
    state.depth += 1
    try:
        yield 1
    finally:
        state.depth -= 1


def listed(state: State, path: Path) -> None:
    list(rows(state))


def listed_in_try(state: State, path: Path) -> None:
    list(rows_in_try(state))


# --- cancellation -------------------------------------------------------------------------------


async def part(state: State, work: Callable[[State], Any]) -> None:
    """Run a task beside another, and go on when it was cancelled, as a server does."""
    task = asyncio.create_task(work(state))
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(task, return_exceptions=True)


def in_a_task(work: Callable[[State], Any]) -> Program:
    return lambda state, path: asyncio.run(part(state, work))


async def lost_item(state: State) -> None:
    while state.waiting:
        item = state.waiting.pop()
        await asyncio.sleep(0)
        state.done.append(item)


async def returned_item(state: State) -> None:
    while state.waiting:
        item = state.waiting.pop()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            state.waiting.append(item)
            raise
        state.done.append(item)


async def release(state: State) -> None:
    await asyncio.sleep(0)
    state.depth -= 1


async def unshielded(state: State) -> None:
    state.depth += 1
    try:
        await asyncio.sleep(0)
    finally:
        await release(state)


async def released_before_waiting(state: State) -> None:
    state.depth += 1
    try:
        await asyncio.sleep(0)
    finally:
        state.depth -= 1
        await asyncio.sleep(0)


async def async_lock_left(state: State) -> None:
    state.cache["lock"] = lock = asyncio.Lock()
    await lock.acquire()
    await asyncio.sleep(0)
    lock.release()
    state.cache["lock"] = "free"


async def async_lock_in_with(state: State) -> None:
    state.cache["lock"] = lock = asyncio.Lock()
    try:
        async with lock:
            await asyncio.sleep(0)
    finally:
        state.cache["lock"] = "locked" if lock.locked() else "free"


def free(seen: dict[str, Any], path: Path, outcome: Outcome) -> bool:
    return seen["cache"].get("lock", "free") == "free"


async def cancellation_swallowed(state: State) -> None:
    for item in (1, 2):
        with contextlib.suppress(BaseException):
            await asyncio.sleep(0)
        state.claimed = item


async def cancellation_passed_on(state: State) -> None:
    for item in (1, 2):
        with contextlib.suppress(OSError):
            await asyncio.sleep(0)
        state.claimed = item


MEMORY, INTERRUPT = faults.memory(), faults.interrupt()
NO_LOCK = ("locked", False)


def holds(key: str, *allowed: Any) -> Callable[[dict[str, Any], Path, Outcome], bool]:
    return lambda seen, path, outcome: seen[key] in allowed


def plain_lock_cleared(program: Program) -> Program:
    """What a check is given must be plain data."""

    def cleared(state: State, path: Path) -> None:
        try:
            program(state, path)
        finally:
            if not isinstance(state.cache.get("lock"), str):
                state.cache["lock"] = "locked" if state.cache["lock"].locked() else "free"

    return cleared


WHOLE = {str(number) * 20: number for number in range(3)}
PLANTED = {
    "half_built_index": Planted(MEMORY, half_built, swapped, holds("index", {}, WHOLE), "half_built,3"),
    "poisoned_cache": Planted(
        MEMORY,
        poisoned,
        computed_first,
        lambda seen, *_: seen["cache"].get("answer", "") is not None,
        "poisoned,2",
    ),
    "lock_never_released": Planted(
        MEMORY, lock_without_finally, lock_in_with, holds("locked", False), "lock_without_finally,2"
    ),
    "swallowed_memory_error": Planted(
        MEMORY,
        swallowed,
        only_expected,
        lambda seen, *_: seen["claimed"] <= len(seen["cache"]),
        "swallowed,3",
    ),
    "partial_append": Planted(MEMORY, two_lists, one_list, holds("pairs", (0, 0), (1, 1)), "two_lists,2"),
    "counter_left": Planted(MEMORY, depth_left, depth_restored, holds("depth", 0), "depth_left,2"),
    "transaction_left_open": Planted(
        MEMORY, transaction_left, transaction_in_with, holds("open", False), "transaction_left,3", database
    ),
    "truncated_before_built": Planted(
        MEMORY, truncated_first, replaced_whole, whole_settings, "truncated_first,2", settings
    ),
    "popped_before_done": Planted(
        MEMORY, popped_first, popped_last, holds("items", [1, 2, 3]), "popped_first,3"
    ),
    "default_for_anything": Planted(
        MEMORY,
        default_for_anything,
        default_for_nothing_there,
        whole_settings,
        "default_for_anything,2",
        settings,
    ),
    "rest_of_a_line": Planted(MEMORY, rest_of_a_line, rest_before, no_empty_answer, "rest_of_a_line,3"),
    "answered_late": Planted(
        MEMORY, driven(answered_late), driven(answered_at_once), no_empty_answer, "answered_late,2"
    ),
    "updated_in_steps": Planted(
        MEMORY, updated_in_steps, swapped, holds("index", {}, WHOLE), "updated_in_steps.genexpr,0"
    ),
    "nothing_when_short": Planted(
        MEMORY.limited(8).only("memory_limit"),
        nothing_when_short,
        told_when_short,
        lambda seen, *_: seen["cache"].get("size", LARGE) == LARGE,
        "memory_limit",
        settings,
    ),
    "killed_child_not_asked": Planted(
        MEMORY.only("oom"),
        child_not_asked,
        child_asked,
        lambda seen, *_: not seen["claimed"] or seen["cache"]["there"],
        "oom",
    ),
    "acquired_before_try": Planted(
        INTERRUPT, acquired_before_try, acquired_in_with, holds("locked", False), "acquire"
    ),
    "file_left_open": Planted(INTERRUPT, file_left_open, file_in_with, lambda *_: True, "write"),
    "temporary_left": Planted(
        INTERRUPT,
        temporary_left,
        temporary_removed,
        lambda seen, path, outcome: not (path / "data.tmp").exists(),
        "SIGINT",
    ),
    "interrupt_swallowed": Planted(
        INTERRUPT, interrupt_swallowed, interrupt_passed_on, stopped_by_interrupt, "getpid"
    ),
    "pair_in_halves": Planted(
        INTERRUPT, pair_in_halves, pair_at_once, holds("pairs", (0, 0), (1, 1)), "pair_in_halves,append"
    ),
    "interrupted_counter": Planted(
        INTERRUPT,
        lambda state, path: counted(state),
        lambda state, path: counted_in_try(state),
        holds("depth", 0),
        "counted,getpid",
    ),
    "generator_goes_on": Planted(INTERRUPT, listed, listed_in_try, holds("depth", 0), "rows,2"),
    "interrupted_transaction": Planted(
        INTERRUPT,
        transaction_left,
        transaction_in_with,
        holds("open", False),
        "transaction_left,execute",
        database,
    ),
    "item_lost_by_cancellation": Planted(
        INTERRUPT.only("cancel"),
        in_a_task(lost_item),
        in_a_task(returned_item),
        holds("items", [1, 2, 3]),
        "lost_item",
    ),
    "shield_missing": Planted(
        INTERRUPT.only("cancel"),
        in_a_task(unshielded),
        in_a_task(released_before_waiting),
        holds("depth", 0),
        "release,1",
    ),
    "async_lock_left": Planted(
        INTERRUPT.only("cancel"),
        plain_lock_cleared(in_a_task(async_lock_left)),
        plain_lock_cleared(in_a_task(async_lock_in_with)),
        free,
        "async_lock_left",
    ),
    "cancellation_swallowed": Planted(
        INTERRUPT.only("cancel"),
        in_a_task(cancellation_swallowed),
        in_a_task(cancellation_passed_on),
        lambda seen, path, outcome: not (outcome.faults and seen["claimed"] == 2),
        "cancellation_swallowed,",
    ),
}


def counted(state: State) -> None:
    state.depth += 1
    os.getpid()
    state.depth -= 1


def counted_in_try(state: State) -> None:
    state.depth += 1
    try:
        os.getpid()
    finally:
        state.depth -= 1


def examine(chaos: Chaos, planted: Planted, program: Program) -> None:
    """One case: the program in its application, and what must hold of what it leaves."""
    planted.setup(chaos.path)
    outcome = chaos.run(attempt, program, chaos.path)
    seen = outcome.value if outcome.ok else None
    # An application that was itself interrupted leaves nothing in memory.
    assert seen is None or planted.check(seen, chaos.path, outcome)


def _marked(name: str) -> Any:
    planted = PLANTED[name]
    return pytest.param(planted, id=name, marks=scenario(planted.faults, timeout=20))


ALL = list(map(_marked, PLANTED))


@pytest.mark.parametrize("planted", ALL)
def test_bug(chaos: Chaos, planted: Planted) -> None:
    examine(chaos, planted, planted.bug)


@pytest.mark.parametrize("planted", ALL)
def test_twin(chaos: Chaos, planted: Planted) -> None:
    examine(chaos, planted, planted.twin)
