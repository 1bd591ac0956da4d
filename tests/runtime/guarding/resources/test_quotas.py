"""Quotas: never more at once than allowed, the right one next, and no room lost."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, suppress
from decimal import Decimal
from fractions import Fraction

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    BulkheadFull,
    Quota,
    QuotaUse,
    ShuttingDown,
    StageBudget,
    Stop,
    VirtualClock,
    deadline,
)


def queued(quota, count):
    """Wait until so many wait; a bounded wait for other threads."""
    for _ in range(30_000):
        if sum(one.waiting for one in quota.use().values()) == count:
            return
        threading.Event().wait(0.001)
    raise AssertionError(f"{count} never waited: {quota.use()}")


def order(quota, wanted):
    """The order in which ``wanted`` (stage, keywords) get their turn behind one that holds the only place."""
    done: list[int] = []
    threads = []

    def work(number, stage, given):
        with quota.hold(stage, **given):
            done.append(number)

    with quota.hold("first"):
        for number, (stage, given) in enumerate(wanted):
            threads.append(threading.Thread(target=work, args=(number, stage, given)))
            threads[-1].start()
            queued(quota, number + 1)
    for one in threads:
        one.join(30)
    return done


def test_the_highest_priority_goes_next_and_then_the_first():
    """By stage, unless the call says otherwise."""
    quota = Quota(1, priorities={"urgent": 5, "later": -1})
    wanted = [("later", {}), ("a", {}), ("urgent", {}), ("a", {}), ("a", {"priority": 9})]
    assert order(quota, wanted) == [4, 2, 1, 3, 0]


def test_a_used_up_budget_does_not_stand_in_the_way_of_others():
    """The stage waits, and the next one goes on."""
    quota = Quota(3, budgets={"image": StageBudget(concurrent=1)}, max_wait=0)
    with quota.hold("image"), quota.hold("convert"):
        with pytest.raises(BulkheadFull, match="no room for an operation of 'image'"), quota.hold("image"):
            pass
        assert quota.use()["image"] == QuotaUse(1, 0.0, 0)
    with quota.hold("image"):
        pass


def test_amounts_add_up_to_the_budget_and_no_further():
    """What is held is given back to the last unit, with an error as without."""
    quota = Quota(9, budgets={"load": StageBudget(amount=1.0)}, max_wait=0)
    with ExitStack() as held:
        for _ in range(9):
            held.enter_context(quota.hold("load", amount=0.1))
        with pytest.raises(BulkheadFull), quota.hold("load", amount=0.2):
            pass
    with pytest.raises(ValueError, match="the work"), quota.hold("load", amount=1.0):
        raise ValueError("the work")
    assert quota.use() == {"load": QuotaUse()}


def test_what_one_gives_back_another_may_take_while_a_third_works():
    """The stage never comes to rest, and its budget is not used up for good."""
    quota = Quota(3, budgets={"image": StageBudget(amount=8)}, max_wait=0.0)
    with quota.hold("image", amount=3):
        for _ in range(5):
            with quota.hold("image", amount=5):
                assert quota.use()["image"].amount == 8
            assert quota.use()["image"].amount == 3


def test_nothing_is_left_of_sums_that_no_float_holds():
    """Otherwise a budget would shrink a little with each stage of work."""
    quota = Quota(3, budgets={"load": StageBudget(amount=1.0)}, max_wait=0)
    with quota.hold("load", amount=0.1), quota.hold("load", amount=0.2), quota.hold("load", amount=0.3):
        pass
    assert quota.use() == {"load": QuotaUse()}


def test_what_can_never_fit_is_refused_at_once():
    """Waiting for it would be a hang."""
    quota = Quota(1, budgets={"load": StageBudget(amount=5)})
    with pytest.raises(UsageError, match="the budget of 'load', 5"), quota.hold("load", amount=6):
        pass


def test_a_large_one_is_not_kept_out_by_small_ones():
    """Within a stage and priority none overtakes it."""
    quota = Quota(9, budgets={"load": StageBudget(amount=10)})
    got = []

    def work(amount):
        with quota.hold("load", amount=amount):
            got.append(amount)

    with quota.hold("load", amount=5):
        large = threading.Thread(target=work, args=(10,))
        large.start()
        queued(quota, 1)
        small = threading.Thread(target=work, args=(1,))
        small.start()
        queued(quota, 2)
        assert got == []
    large.join(30)
    small.join(30)
    assert got == [10, 1]


def test_a_large_one_that_gives_up_stands_in_no_way():
    """Those that fit and stood behind it have their turn at once, not when the next one ends."""
    quota = Quota(9, budgets={"load": StageBudget(amount=10)})
    got = []

    def work(amount, seconds):
        with suppress(BulkheadFull), deadline(seconds), quota.hold("load", amount=amount):
            got.append(amount)

    with quota.hold("load", amount=5):
        large = threading.Thread(target=work, args=(10, 0.3))
        large.start()
        queued(quota, 1)
        small = threading.Thread(target=work, args=(5, 60))
        small.start()
        small.join(30)
        large.join(30)
        assert got == [5]


def test_never_more_at_once_than_allowed():
    """Under many threads, by the count that the work itself keeps."""
    quota = Quota(3, budgets={"a": StageBudget(concurrent=2)})
    now, most, lock = {"a": 0, "b": 0}, [0, 0], threading.Lock()

    def work(stage):
        for _ in range(30):
            with quota.hold(stage):
                with lock:
                    now[stage] += 1
                    most[0], most[1] = max(most[0], sum(now.values())), max(most[1], now["a"])
                with lock:
                    now[stage] -= 1

    threads = [threading.Thread(target=work, args=("ab"[n % 2],)) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert most[0] <= 3
    assert most[1] <= 2
    assert {name: use.running for name, use in quota.use().items()} == {"a": 0, "b": 0}


def test_a_wait_ends_with_the_program():
    """The stop signal ends it, and nothing is held afterwards."""
    stop = Stop()
    quota = Quota(1, wake=stop)
    with quota.hold("a"):
        stop.set()
        with pytest.raises(ShuttingDown), quota.hold("b"):
            pass
    assert quota.use() == {"a": QuotaUse()}


def test_a_wait_never_passes_the_deadline():
    """Of a deadline of two seconds two are waited, and no more."""
    clock = VirtualClock()
    quota = Quota(1, clock=clock)
    late = pytest.raises(BulkheadFull, match="within 2 s")
    with quota.hold("a"), deadline(2, clock=clock), late, quota.hold("b"):
        pass
    assert clock.sleeps == [2]


def test_an_interrupt_while_waiting_loses_no_room():
    """Ctrl-C at the moment of the grant passes it on."""

    class Interrupting(VirtualClock):
        def sleep(self, seconds, wake=None):
            outer.__exit__(None, None, None)
            assert wake.is_set()
            raise KeyboardInterrupt

    quota = Quota(1, clock=Interrupting())
    outer = quota.hold("a")
    outer.__enter__()
    with pytest.raises(KeyboardInterrupt), quota.hold("b"):
        pass
    with quota.hold("c"):
        assert {name: use.running for name, use in quota.use().items()} == {"a": 0, "b": 0, "c": 1}


def test_in_a_forked_child_everything_is_free():
    """What the parent's threads hold is held there."""
    quota = Quota(1, max_wait=0)
    with quota.hold("a"):
        child = os.fork()
        if child == 0:
            with quota.hold("a"):
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quota(0),
        lambda: Quota(1, max_wait=-1),
        lambda: StageBudget(concurrent=0),
        lambda: StageBudget(amount=0),
    ],
)
def test_limits_that_cannot_be_are_refused(make):
    """When they are given."""
    with pytest.raises(UsageError, match="expected"):
        make()


@pytest.mark.parametrize("amount", [Decimal(5), 10**400])
def test_an_amount_that_cannot_be_added_spoils_nothing(amount):
    """It stayed in the queue, and every operation after it failed by the same error."""
    quota = Quota(1, max_wait=0)
    with (
        pytest.raises(UsageError, match="expected a number between zero and"),
        quota.hold("a", amount=amount),
    ):
        pass
    with quota.hold("a", amount=Fraction(1, 2)):
        assert quota.use()["a"].amount == 0.5
    assert quota.use()["a"].waiting == 0


@pytest.mark.parametrize(
    "use",
    [
        lambda: Quota(1, budgets=[StageBudget(1)]),
        lambda: Quota(1, priorities=["a"]),
        lambda: Quota(1).hold(["a"]).__enter__(),
    ],
)
def test_stages_of_another_kind_are_refused(use):
    """With what was expected."""
    with pytest.raises(UsageError, match="expected"):
        use()
