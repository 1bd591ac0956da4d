"""How users write it, as the type checkers have to understand it. Checked, never run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

from chaoskit import faults, scenario
from chaoskit.runtime import CircuitBreaker, Classifier, RetryPolicy, classify, hedge, retry
from chaoskit.runtime.failures.taxonomy import Category


@retry(on=ConnectionError)
def fetch(url: str, *, timeout: float = 1.0) -> bytes:
    return url.encode()


@retry(on=(ConnectionError, Category.TRANSIENT, lambda error: "busy" in str(error)), attempts=5, deadline=9.0)
async def afetch(url: str) -> int:
    return len(url)


@CircuitBreaker(failures=5, open_for=60.0)
def guarded(n: int) -> str:
    return str(n)


class Client:
    @retry(on=Classifier())
    def get(self, key: str) -> list[int]:
        return [len(key)]

    @retry(on=OSError)
    async def aget(self, key: str) -> int:
        return len(key)


@hedge(after=0.1)
async def hedged(n: int) -> str:
    return str(n)


assert_type(fetch("u", timeout=2.0), bytes)
assert_type(guarded(3), str)
assert_type(Client().get("k"), list[int])
later: Coroutine[Any, Any, int] = afetch("u")
assert_type(classify(ValueError()).retryable, bool)
assert_type(retry(on=ValueError), RetryPolicy)
assert_type(retry(on=ValueError).call(fetch, "u", timeout=1.0), bytes)

keeps_its_type: Callable[[str], bytes] = fetch


@scenario(faults.power_loss(), model="portable", backend="inprocess")
def test_one_model() -> None: ...


@scenario(model=("ext4-ordered", "strict"), backend="kernel")
def test_several_models() -> None: ...


async def main() -> None:
    assert_type(await afetch("u"), int)
    assert_type(await Client().aget("k"), int)
    assert_type(await hedged(3), str)
    assert_type(await retry(on=ValueError).acall(afetch, "u"), int)


for attempt in retry(on=ValueError):
    with attempt:
        assert_type(attempt.number, int)
