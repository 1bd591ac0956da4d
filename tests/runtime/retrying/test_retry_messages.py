"""What the retry says, word for word: every refusal, every event, and the reference policies.

The text is in ``golden/retry.txt``. After an intended change, write it again with
``python tests/runtime/retrying/test_retry_messages.py`` and read the difference.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chaoskit.contracts.virtual import RecordingClock, run
from chaoskit.runtime import (
    AdaptiveThrottle,
    Classifier,
    Constant,
    Decorrelated,
    Exponential,
    Linear,
    PolicyRegistry,
    RetryBudget,
    band,
    hedge,
    reference_policies,
    retry,
)
from chaoskit.runtime.deadlines import check, deadline
from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.retrying.backoff import Jitter

GOLDEN = Path(__file__).parent / "golden" / "retry.txt"

POLICY = retry(on=ConnectionError, wait=Constant(1.0))


def plain() -> None:
    """Does nothing."""


def produce() -> Iterator[int]:
    yield 1


async def work() -> None:
    """Does nothing, later."""


def lazy() -> Any:
    return work()


def refused() -> Iterator[Callable[[], Any]]:
    """What is refused when it is made or called."""
    yield lambda: retry()
    yield lambda: retry(plain)  # type: ignore[arg-type]
    for on in (None, (), "ConnectionError", (int,), (Classifier(), Classifier())):
        yield functools.partial(retry, on=on)
    for options in (
        {"attempts": 0},
        {"quiet": -1},
        {"deadline": 0},
        {"attempt_timeout": math.inf},
        {"retry_after_cap": -1},
        {"wait": 5},
        {"waits": {t.Category.TRANSIENT: 5}},
        {"generators": "x"},
        {"on_result": 1},
        {"repair": 1},
    ):
        yield functools.partial(retry, on=ConnectionError, **options)  # type: ignore[arg-type]
    yield lambda: POLICY(3)  # type: ignore[type-var]
    yield lambda: POLICY(produce)
    yield lambda: POLICY.call(work)
    yield lambda: POLICY.call(produce)
    yield lambda: POLICY.call(lazy)
    yield lambda: POLICY.call(lambda: produce())
    yield lambda: asyncio.run(POLICY.acall(plain))  # type: ignore[arg-type]
    yield lambda: asyncio.run(POLICY.acall(produce))  # type: ignore[arg-type]
    yield lambda: retry(POLICY, attempt_timeout=1.0)(plain)
    yield lambda: retry(POLICY, repair=lambda error: work())(plain) and retry(POLICY, repair=work)(plain)
    yield lambda: [attempt.number for attempt in POLICY]
    yield lambda: _entered_twice()
    yield lambda: Constant(-1.0)
    yield lambda: Exponential(9.0, cap=1.0)
    yield lambda: Exponential(1.0, cap=-1.0)
    yield lambda: Exponential(1.0, cap=9.0, factor=0.5)
    yield lambda: Linear(1.0, -1.0, cap=9.0)
    yield lambda: Decorrelated(9.0, cap=9.0)
    yield lambda: Jitter(0.5, 0.4)
    yield lambda: band(2.0)
    yield lambda: RetryBudget(floor=-1)
    yield lambda: RetryBudget(ratio=-1)
    yield lambda: RetryBudget(window=0)
    yield lambda: AdaptiveThrottle(k=0)
    yield lambda: AdaptiveThrottle(window=0)
    yield lambda: PolicyRegistry({"x": 3})  # type: ignore[dict-item]
    yield lambda: PolicyRegistry({})["x"]
    yield lambda: PolicyRegistry({"b": POLICY, "a": POLICY})["x"]
    yield lambda: hedge(after=0)
    yield lambda: hedge(after=1, extra=0)
    yield lambda: hedge(after=1)(plain)  # type: ignore[arg-type]
    yield lambda: _passed()
    yield lambda: _late()


def _entered_twice() -> None:
    for attempt in POLICY:
        with attempt, attempt:
            pass


def _passed() -> None:
    with deadline(0.0):
        check()


def _late() -> None:
    with deadline(0.0):
        POLICY.call(plain)


def given_up() -> Iterator[str]:
    """What the errors of a call's end say."""
    clock = RecordingClock()

    async def slow() -> None:
        await asyncio.sleep(50)

    for options in ({"deadline": 2.0}, {"attempt_timeout": 2.0, "attempts": 1}):
        try:
            run(clock, retry(POLICY, clock=clock, **options)(slow))  # type: ignore[arg-type]
        except t.ResilienceError as error:
            yield f"{type(error).__name__}: {error}"
    try:
        retry(POLICY, on_result=lambda v: True, attempts=1).call(plain)
    except t.ResultRejected as error:
        yield f"{type(error).__name__}: {error}, {error.value}"


def told() -> Iterator[str]:
    """The events of a few calls."""
    clock = RecordingClock()
    events: list[Any] = []

    class Hook:
        def __call__(self, event: Any) -> Any:
            raise ValueError("hook")

        def __enter__(self) -> None:
            """Nothing to begin."""

        def __exit__(self, *exc: object) -> None:
            raise ValueError("release")

    def hold(event: Any) -> Any:
        return Hook()

    def fails() -> None:
        raise ConnectionError("down")

    policy = retry(POLICY, name="p", clock=clock, listeners=(events.append,), attempts=2, quiet=1)
    for options in (
        {},
        {"on": t.Category.TRANSIENT},
        {"budget": RetryBudget(floor=0, ratio=0.0, clock=clock)},
        {"deadline": 0.5},
        {"on": LookupError},
        {"hooks": (Hook(), hold)},
        {"repair": lambda error: 1 / 0},
    ):
        try:
            retry(policy, **options).call(fails)  # type: ignore[arg-type]
        except ConnectionError as error:
            notes = getattr(error, "__notes__", [])
            yield from (str(event.to_dict()) for event in events)
            yield from (f"context: {e.context.to_dict()}" for e in events if hasattr(e, "context"))
            yield f"{error!r} {notes}"
            events.clear()


def everything() -> str:
    lines = [_said(make) for make in refused()]
    lines += ["", *given_up(), "", *told(), ""]
    lines += [repr(policy) for policy in reference_policies().values()]
    return "\n".join(lines) + "\n"


def _said(make: Callable[[], Any]) -> str:
    try:
        got = make()
    except Exception as error:
        text = " ".join(str(error).split())
        return f"{type(error).__name__}: {_without_addresses(text)}"
    return f"not refused: {got!r}"


def _without_addresses(text: str) -> str:
    import re

    return re.sub(r" at 0x[0-9a-f]+", "", text)


def test_every_word(caplog):
    """Nothing that the retry says changes without being noticed; nothing that is refused gets through."""
    said = _without_addresses(everything())
    assert "not refused" not in said
    assert said.replace("__main__", __name__) == GOLDEN.read_text()
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        f"retry hook {name} failed" for name in ("told.<locals>.Hook", "told.<locals>.hold", "repair")
    ]


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(_without_addresses(everything()).replace("__main__", "test_retry_messages"))
