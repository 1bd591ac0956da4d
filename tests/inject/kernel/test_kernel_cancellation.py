"""Tasks that are cancelled where they wait, with each library that has tasks."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from chaoskit.core.schedule import Schedule
from chaoskit.faults.inside import Inward
from chaoskit.inject.base import Plan, Ran
from chaoskit.inject.kernel import KernelBackend

INSIDE = Inward(frozenset({"await"}))


@pytest.fixture
def struck(root: str) -> Callable[..., Ran]:
    """Run a workload once, with a cancellation or recorded."""

    def run(work: Callable[[], Any], schedule: str = "") -> Ran:
        strikes = Schedule.parse(schedule).strikes if schedule else ()
        plan = Plan(root, strikes=strikes, record=not schedule, inside=INSIDE, timeout=20.0)
        return KernelBackend().run(work, plan)

    return run


async def turns(sleep: Callable[[float], Any]) -> None:
    """Let the loop turn so often that what was asked for has happened; no time is measured."""
    for _ in range(50):
        await sleep(0)


def with_asyncio() -> list[str]:
    """One task beside another; the library's cancellation is what it is told."""
    told: list[str] = []
    over = asyncio.Event()

    async def worker() -> None:
        try:
            await asyncio.sleep(0)
            await over.wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async def main() -> None:
        task = asyncio.create_task(worker())
        await turns(asyncio.sleep)
        over.set()
        await asyncio.gather(task, return_exceptions=True)
        told.append("over")

    asyncio.run(main())
    return told


def in_a_group(
    library: Any,
    cancelled: Callable[[], type[BaseException]],
    group: Callable[[], Any],
    run: Callable[..., Any],
) -> list[str]:
    """The same in a group of tasks, which ends with the last of them."""
    told: list[str] = []
    over: Any = None

    async def worker() -> None:
        try:
            await library.sleep(0)
            await over.wait()
        except cancelled():
            told.append("cancelled")
            raise

    async def main() -> None:
        nonlocal over
        over = library.Event()
        async with group() as tasks:
            tasks.start_soon(worker)
            await turns(library.sleep)
            over.set()
        told.append("over")

    run(main)
    return told


def with_anyio(backend: str) -> list[str]:
    anyio = importlib.import_module("anyio")
    run = partial(anyio.run, backend=backend)
    return in_a_group(anyio, anyio.get_cancelled_exc_class, anyio.create_task_group, run)


def with_trio() -> list[str]:
    trio = importlib.import_module("trio")
    return in_a_group(trio, lambda: trio.Cancelled, trio.open_nursery, trio.run)


LIBRARIES = {
    "asyncio": (("asyncio",), with_asyncio),
    "anyio on asyncio": (("anyio",), partial(with_anyio, "asyncio")),
    "trio": (("trio",), with_trio),
    "anyio on trio": (("anyio", "trio"), partial(with_anyio, "trio")),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_task_that_waits_is_cancelled_and_told(struck: Any, library: str) -> None:
    """At the second await of the worker: it meets its library's cancellation, and the program goes on."""
    needs, work = LIBRARIES[library]
    for name in needs:
        pytest.importorskip(name)
    recorded = struck(work)
    assert recorded.value == ["over"]
    points = [str(one).partition(" = ")[0] for one in recorded.trace if one.call == "await"]
    point = next(one for one in points if "worker,3" in one)
    ran = struck(work, f"{point}=cancel")
    assert ran.value == ["cancelled", "over"]
    assert [one.effect for one in ran.receipts] == ["the task was cancelled"]
