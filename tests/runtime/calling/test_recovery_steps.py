"""One object that answers each kind of failure: again, in another way, not at all, or with the error."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    Category,
    Classifier,
    Constant,
    DiskFull,
    RecoveredCall,
    Recovery,
    RecoveryStep,
    RetryPolicy,
    Rule,
    SecurityError,
    UnsafeArchive,
    ValidationError,
    ready_policies,
)
from chaoskit.runtime.failures.taxonomy import RecoverableError

QUICK = RetryPolicy(on=Category.TRANSIENT, attempts=3, wait=Constant(0.0))


class Work:
    """Fails with its errors, one after the other, then returns its argument."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self, item: str = "value") -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return item


def test_each_category_has_its_step() -> None:
    """Transient is tried again, recoverable goes another way, validation is left out, the rest is raised."""
    recovery = Recovery(policy=QUICK, alternative=lambda item: f"another {item}")
    again = Work(ConnectionError(), ConnectionError())
    assert recovery.run(again, "a") == RecoveredCall("a")
    assert again.calls == 3
    other, left_out = RecoverableError("no"), ValidationError("this one")
    assert recovery.run(Work(other), "b") == RecoveredCall("another b", RecoveryStep.ALTERNATIVE, other)
    assert recovery.run(Work(left_out), "c") == RecoveredCall(None, RecoveryStep.SKIP, left_out)
    for error in (PermissionError("denied"), SecurityError("attack"), TypeError("a bug")):
        work = Work(error)
        with pytest.raises(type(error)) as caught:
            recovery.run(work, "d")
        assert (caught.value, work.calls) == (error, 1)


def test_the_nearest_class_decides_before_the_category() -> None:
    """A full disk is given up although resources are tried again; a classifier of the user's takes part."""
    recovery = Recovery(
        by={DiskFull: RecoveryStep.GIVE_UP, Category.PERMANENT: RecoveryStep.SKIP}, policy=QUICK
    )
    assert recovery.step_for(DiskFull("full")) is RecoveryStep.GIVE_UP
    assert recovery.step_for(MemoryError()) is RecoveryStep.RETRY
    assert recovery.run(Work(TypeError("a bug"))).skipped
    rules = Classifier([Rule(name="ours", verdict=ValidationError, types=(KeyError,))])
    assert Recovery(classifier=rules).step_for(KeyError("k")) is RecoveryStep.SKIP


def test_what_follows_the_last_attempt() -> None:
    """By default the error; else another way, or nothing."""
    errors = [ConnectionError(str(n)) for n in range(9)]
    with pytest.raises(ConnectionError, match="2"):
        Recovery(policy=QUICK).run(Work(*errors[:3]))
    skipping = Recovery(policy=QUICK, then=RecoveryStep.SKIP, skipped="nothing")
    assert skipping.call(Work(*errors[3:6])) == "nothing"
    other = Recovery(policy=QUICK, then=RecoveryStep.ALTERNATIVE, alternative=lambda: "another")
    assert other.call(Work(*errors[6:9])) == "another"


def test_async_functions_and_alternatives() -> None:
    """The decorator keeps a coroutine function one; an alternative may be of either kind there."""
    told: list[Any] = []

    async def other(item: str) -> str:
        await asyncio.sleep(0)
        return f"another {item}"

    for alternative in (other, lambda item: f"another {item}"):
        recovery = Recovery(policy=QUICK, alternative=alternative, listeners=[told.append])
        work = Work(ConnectionError(), RecoverableError("no"))

        @recovery
        async def fetch(item: str, work: Work = work) -> str:
            return work(item)

        assert asyncio.run(fetch("a")) == "another a"
        assert work.calls == 2
    assert [(one.step, one.category, one.rule) for one in told] == [
        ("alternative", "recoverable", "taxonomy")
    ] * 2
    recovery = Recovery(policy=QUICK, skipped="nothing")

    async def fail(error: Exception) -> str:
        raise error

    assert asyncio.run(recovery.call(fail, ValidationError("this one"))) == "nothing"
    with pytest.raises(RecoverableError, match="no other way"):
        asyncio.run(recovery.call(fail, RecoverableError("no other way")))
    with pytest.raises(UsageError, match="a synchronous function, since the call is one"):
        Recovery(alternative=other).run(Work())


def test_an_alternative_that_fails_raises_its_error_with_the_first_in_its_context() -> None:
    """Nothing is lost, and neither error keeps the arguments alive."""
    first = RecoverableError("first")

    class Item:
        """Something that can be watched."""

    def other(item: Item) -> None:
        raise LookupError("second")

    def work(item: Item) -> None:
        raise first

    item = Item()
    watch = weakref.ref(item)
    with pytest.raises(LookupError, match="second") as caught:
        Recovery(alternative=other).call(work, item)
    assert caught.value.__context__ is first
    del item, caught
    first.__traceback__ = None
    gc.collect()
    assert watch() is None


def test_an_attack_is_neither_repeated_nor_left_out() -> None:
    """Such a rule is refused when it is made, for the category and for its classes."""
    for kind in (Category.SECURITY, UnsafeArchive):
        for step in (RecoveryStep.RETRY, RecoveryStep.SKIP):
            with pytest.raises(UsageError, match="it may be an attack"):
                Recovery(by={kind: step})
    assert Recovery(by={Category.SECURITY: RecoveryStep.ALTERNATIVE})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"by": {"transient": "jump"}},
            r"by\[transient\] is 'jump' \(str\); expected one of retry, alternative",
        ),
        ({"by": {int: RecoveryStep.SKIP}}, "a key of by is <class 'int'>"),
        ({"then": RecoveryStep.RETRY}, r"then is 'retry' \(str\); expected another step"),
        ({"alternative": 5}, "a recovery as its alternative is 5"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    """The message names the value and what was expected."""
    with pytest.raises(UsageError, match=said):
        Recovery(**options)


def test_ready_policies_retry_their_kind_of_error_and_no_open_breaker() -> None:
    """A refused connection, a deadlock and a full disk each have their policy; a rejection has none."""
    import sqlite3

    from chaoskit.runtime import BreakerOpen, RateLimited, retry

    def tried(name: str, error: Exception) -> int:
        work = Work(*[error] * 99)
        with pytest.raises(type(error)):
            retry(ready_policies()[name], wait=Constant(0.0), waits={}).call(work)
        return work.calls

    assert tried("network", ConnectionRefusedError()) == 5
    assert tried("network", RateLimited("later")) == 8
    assert tried("database", sqlite3.OperationalError("database is locked")) == 5
    assert tried("resource", OSError(28, "No space left on device")) == 5
    assert tried("network", OSError(28, "No space left on device")) == 1
    for name in ready_policies():
        assert tried(name, BreakerOpen("open")) == 1
        assert tried(name, TypeError("a bug")) == 1


def test_what_is_printed_says_the_steps() -> None:
    """A recovery shows its name and the steps that it was given, or that it goes by category."""
    assert repr(Recovery(name="store")) == "<Recovery 'store' by category>"
    shown = repr(Recovery(by={DiskFull: RecoveryStep.SKIP}, name="store"))
    assert shown == "<Recovery 'store' DiskFull: skip>"


def test_run_gives_an_async_function_its_awaitable() -> None:
    """What ``run`` returns for it is awaited, and then says how the call ended."""

    async def work() -> str:
        return "value"

    assert asyncio.run(Recovery(policy=QUICK).run(work)) == RecoveredCall("value")


def test_an_alternative_that_is_not_meant_is_not_taken() -> None:
    """An error that is given up is raised, though there is an alternative; and without one nothing is."""
    taken: list[str] = []
    with pytest.raises(SecurityError):
        Recovery(policy=QUICK, alternative=lambda: taken.append("it")).run(Work(SecurityError("no")), "a")
    with pytest.raises(RecoverableError):
        Recovery(policy=QUICK).run(Work(RecoverableError("another way")))
    assert taken == []


def test_a_decorated_function_is_of_the_kind_that_it_was() -> None:
    """Called, a synchronous function gives its value; an async one gives an awaitable of it."""

    async def awork(item: str) -> str:
        return item

    recovery = Recovery(policy=QUICK)
    assert recovery(Work())("a") == "a"
    assert asyncio.run(recovery(awork)("b")) == "b"


def test_an_async_call_that_is_given_up_takes_no_alternative() -> None:
    """The error is raised, though there is an alternative; and where there is none, nothing is tried."""
    taken: list[str] = []

    async def fails(error: Exception) -> None:
        raise error

    with pytest.raises(SecurityError):
        asyncio.run(Recovery(policy=QUICK, alternative=taken.append).call(fails, SecurityError("no")))
    with pytest.raises(RecoverableError):
        asyncio.run(Recovery(policy=QUICK).call(fails, RecoverableError("another way")))
    assert taken == []


def test_wrong_use_is_neither_left_out_nor_tried_again():
    """A lambda around an async function would be skipped forever, since our error is a ValueError, too."""

    async def convert(run):
        return run

    recovery = Recovery(policy=RetryPolicy(on=Exception, wait=Constant(0)))
    with pytest.raises(UsageError, match="async function"):
        recovery.call(lambda run: convert(run), "run 7")
    assert recovery.step_for(UsageError("x")) is RecoveryStep.GIVE_UP
