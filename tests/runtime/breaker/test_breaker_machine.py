"""The pure state machine, against a plain model of what it promises, in any order of calls and times."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chaoskit.runtime.breaker.machine import LEGAL, PASS, BreakerReason, BreakerState, Machine, Permit
from chaoskit.runtime.breaker.options import BreakerOptions

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
FORCED_OPEN, DISABLED = BreakerState.FORCED_OPEN, BreakerState.DISABLED


class Model:
    """A breaker with one failure count and one window over calls, written as the documents say it."""

    def __init__(self, options: BreakerOptions) -> None:
        self.options = options
        self.state = CLOSED
        self.era = 0
        self.reasons: list[BreakerReason] = []
        self.begin()

    def begin(self) -> None:
        """Nothing counted, nothing open."""
        self.streak, self.seen = 0, []
        self.until, self.period = 0.0, self.options.open_for
        self.good, self.probes = 0, {}

    def enter(self, state: BreakerState, reason: BreakerReason) -> None:
        self.state, self.era = state, self.era + 1
        self.good, self.probes = 0, {}
        self.reasons.append(reason)

    def open(self, since: float, reason: BreakerReason) -> None:
        if self.state is HALF_OPEN:
            grown = self.period * self.options.growth
            self.period = grown if self.options.open_cap is None else min(grown, self.options.open_cap)
        else:
            self.period = self.options.open_for
        self.until = since + self.period
        self.enter(OPEN, reason)

    def close(self, reason: BreakerReason) -> None:
        self.enter(CLOSED, reason)
        self.begin()

    def settle(self, now: float) -> None:
        if self.probes and now >= min(self.probes.values()) + self.options.hang_limit:
            self.open(min(self.probes.values()) + self.options.hang_limit, BreakerReason.PROBE_HUNG)
        if self.state is OPEN and now >= self.until:
            self.enter(HALF_OPEN, BreakerReason.PERIOD_OVER)

    def count(self, failed: bool, slow: bool) -> None:
        self.streak = self.streak + 1 if failed else 0
        self.seen = [*self.seen, (failed, slow)][-(self.options.window_calls or 10**9) :]

    def tripped(self) -> BreakerReason | None:
        options, calls = self.options, len(self.seen)
        if options.failures is not None and self.streak >= options.failures:
            return BreakerReason.FAILURES
        if options.window_calls is None or calls < options.minimum_calls:
            return None
        if options.failure_rate is not None and sum(f for f, _ in self.seen) / calls >= options.failure_rate:
            return BreakerReason.FAILURE_RATE
        if options.slow_rate is not None and sum(s for _, s in self.seen) / calls >= options.slow_rate:
            return BreakerReason.SLOW_RATE
        return None

    def finish(self, call: Call, outcome: str, now: float, took: float) -> None:
        if self.state is CLOSED and call.era == self.era and not call.passed:
            slow = self.options.slow_after is not None and took >= self.options.slow_after
            if outcome != "neutral":
                self.count(outcome == "fail", slow)
                reason = self.tripped()
                if reason is not None:
                    self.open(now, reason)
        elif outcome == "neutral":
            self.probes.pop(call, None)
        elif call in self.probes:
            self.settle(now)
            if call in self.probes:
                self.probe_back(call, outcome, now, took)

    def probe_back(self, call: Call, outcome: str, now: float, took: float) -> None:
        del self.probes[call]
        if outcome == "fail":
            self.open(now, BreakerReason.PROBE_FAILED)
        elif self.options.slow_after is not None and took >= self.options.slow_after:
            self.open(now, BreakerReason.PROBE_SLOW)
        else:
            self.good += 1
            if self.good == self.options.probes:
                self.close(BreakerReason.PROBES_SUCCEEDED)


class Call:
    """A call in flight."""

    def __init__(self, permit: Permit, era: int, started: float) -> None:
        self.permit, self.era, self.started = permit, era, started
        self.passed = permit is PASS


@st.composite
def option_sets(draw: Any) -> BreakerOptions:
    """Settings of every kind, small enough to trip soon."""
    rate = draw(st.sampled_from([None, 0.25, 0.5, 1.0]))
    slow_rate = draw(st.sampled_from([None, 0.3, 1.0]))
    window = draw(st.integers(1, 8)) if rate is not None or slow_rate is not None else None
    growth = draw(st.sampled_from([1.0, 2.0]))
    return BreakerOptions(
        failures=draw(st.integers(1, 4) if window is None else st.sampled_from([None, 3])),
        failure_rate=rate,
        slow_rate=slow_rate,
        slow_after=2.0 if slow_rate is not None else draw(st.sampled_from([None, 2.0])),
        window_calls=window,
        minimum_calls=draw(st.integers(1, window or 1)),
        open_for=draw(st.sampled_from([0.0, 10.0])),
        probes=draw(st.integers(1, 3)),
        hang_limit=draw(st.sampled_from([3.0, 50.0])),
        growth=growth,
        open_cap=35.0 if growth > 1 else draw(st.sampled_from([None, 35.0])),
    )


class BreakerMachine(RuleBasedStateMachine):
    """Calls that overlap, time, and hands: the machine is where the model is after every step."""

    @initialize(options=option_sets())
    def start(self, options: BreakerOptions) -> None:
        self.machine, self.model = Machine(options), Model(options)
        self.now = 100.0
        self.flying: list[Call] = []
        self.told: list[Any] = []

    @rule()
    def call(self) -> None:
        """A call begins, if it is let through; the state that was announced is the one it meets."""
        announced = self.machine.peek(self.now)
        self.model.settle(self.now)
        permit = self.machine.admit(self.now)
        assert announced is self.model.state is self.machine.state
        room = self.model.good + len(self.model.probes) < self.model.options.probes
        may = self.model.state in (CLOSED, DISABLED) or (self.model.state is HALF_OPEN and room)
        assert (permit is not None) is may
        if permit is not None:
            call = Call(permit, self.model.era, self.now)
            self.flying.append(call)
            if self.model.state is HALF_OPEN:
                self.model.probes[call] = self.now

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "ok", "fail", "neutral"]))
    def back(self, data: st.DataObject, outcome: str) -> None:
        """One of the calls in flight comes back."""
        call = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        took = self.now - call.started
        if outcome == "neutral":
            self.machine.release(call.permit)
        else:
            (self.machine.succeed if outcome == "ok" else self.machine.fail)(call.permit, self.now, took)
        self.model.finish(call, outcome, self.now, took)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 5.0, 10.0, 40.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @rule(outcome=st.sampled_from(["ok", "fail", "fail"]), took=st.sampled_from([0.0, 0.0, 2.0]))
    def whole_call(self, outcome: str, took: float) -> None:
        """A call that nothing comes between, the usual case."""
        before = len(self.flying)
        self.call()
        if len(self.flying) > before:
            self.now += took
            call = self.flying.pop()
            (self.machine.succeed if outcome == "ok" else self.machine.fail)(call.permit, self.now, took)
            self.model.finish(call, outcome, self.now, took)

    @rule(hand=st.sampled_from(["reset", "reset", "force", "disable", "told_open", "told_closed"]))
    def interfere(self, hand: str) -> None:
        """Somebody, or another process, moves it: one rule for all, so that it is rare."""
        getattr(self, hand)()

    def reset(self) -> None:
        if self.model.state is CLOSED:
            self.model.begin()
            self.flying = [c for c in self.flying if c.passed or c.era != self.model.era]
        else:
            self.model.close(BreakerReason.MANUAL)
        self.machine.reset(self.now)

    def force(self, state: BreakerState = FORCED_OPEN) -> None:
        if self.model.state is not state:
            self.model.enter(state, BreakerReason.MANUAL)
        self.machine.force(state, self.now)

    def disable(self) -> None:
        self.force(DISABLED)

    def told_open(self) -> None:
        if self.model.state in (CLOSED, HALF_OPEN):
            self.model.until = self.now + 20.0
            self.model.enter(OPEN, BreakerReason.SHARED)
        elif self.model.state is OPEN:
            self.model.until = max(self.model.until, self.now + 20.0)
        self.machine.adopt_open(self.now, 20.0)

    def told_closed(self) -> None:
        if self.model.state in (OPEN, HALF_OPEN):
            self.model.close(BreakerReason.SHARED)
        self.machine.adopt_closed(self.now)

    @invariant()
    def same(self) -> None:
        """State, counts and edges are those of the model; edges are legal and each follows on the last."""
        if not hasattr(self, "machine"):
            return
        machine, model = self.machine, self.model
        assert machine.state is model.state
        assert (machine.fast is None) or (machine.fast is machine.permit and machine.window is None)
        assert (machine.permit is not None) is (machine.state is CLOSED)
        if model.state is CLOSED:
            assert machine.streak == model.streak
            if machine.window is not None:
                totals = (machine.window.calls, machine.window.failures, machine.window.slow)
                assert totals == (
                    len(model.seen),
                    sum(f for f, _ in model.seen),
                    sum(s for _, s in model.seen),
                )
        if model.state is OPEN:
            assert machine.retry_in(self.now) == max(0.0, model.until - self.now)
        else:
            assert machine.retry_in(self.now) is None
        self.check_edges()

    def check_edges(self) -> None:
        """Take out the new edges and hold them against the model's."""
        while self.machine.edges:
            self.told.append(self.machine.edges.popleft())
            # A whole call may have taken two seconds since the last look.
            assert self.now - 2.0 <= self.told[-1].at <= self.now
        assert [edge.reason for edge in self.told] == self.model.reasons
        assert [edge.era for edge in self.told] == list(range(1, len(self.told) + 1))
        at = CLOSED
        for edge in self.told:
            assert edge.before is at
            assert (edge.before, edge.after) in LEGAL
            assert (edge.open_for is not None) is (edge.after is OPEN)
            at = edge.after
        if self.told and self.told[-1].after is OPEN and self.model.state is OPEN:
            assert self.told[-1].open_for >= 0


def test_the_machine_is_where_the_model_is() -> None:
    """After any sequence of overlapping calls, times and hands the machine and a plain model agree."""
    profile = settings(max_examples=120, stateful_step_count=40, deadline=None, database=None)
    run_state_machine_as_test(BreakerMachine, settings=profile)


def machine(**settings: Any) -> Machine:
    """A machine that opens at the first failure unless told otherwise."""
    return Machine(BreakerOptions(**{"failures": 1, "open_for": 10.0, **settings}))


def test_a_machine_starts_closed_and_free_of_charge() -> None:
    """A new machine is closed, and without a window a healthy call needs nothing but its permit."""
    fresh = machine()
    assert (fresh.state, fresh.era, fresh.streak) == (CLOSED, 0, 0)
    assert fresh.fast is fresh.permit is fresh.admit(0.0)
    assert not fresh.edges


def test_a_measured_machine_has_no_fast_permit() -> None:
    """With a window, or when results are judged, every call goes the measured way, also after closing."""
    for one in (machine(failure_rate=0.5, window_calls=10), Machine(BreakerOptions(), unmeasured=False)):
        assert one.fast is None
        assert one.admit(0.0) is one.permit is not None
        assert one.fast is None


def test_an_edge_says_everything() -> None:
    """The edge of a trip has both states, the reason, its number, its time and the open period."""
    one = machine()
    one.fail(one.admit(5.0), 7.0, 2.0)  # type: ignore[arg-type]
    (edge,) = one.edges
    assert (edge.before, edge.after, edge.reason) == (CLOSED, OPEN, BreakerReason.FAILURES)
    assert (edge.era, edge.at, edge.open_for) == (1, 7.0, 10.0)
    assert one.retry_in(9.0) == 8.0
    assert one.retry_in(99.0) == 0.0


def test_the_open_period_grows_to_the_cap_and_starts_again_after_closing() -> None:
    """Each failed probe multiplies the period by growth up to open_cap; closing goes back to open_for."""
    one, now, periods = machine(growth=2.0, open_cap=35.0), 0.0, []
    for _ in range(5):
        one.fail(one.admit(now), now, 0.0)  # type: ignore[arg-type]
        periods.append(one.retry_in(now))
        now += 100.0
    assert periods == [10.0, 20.0, 35.0, 35.0, 35.0]
    one.succeed(one.admit(now), now, 0.0)  # type: ignore[arg-type]
    one.fail(one.admit(now), now, 0.0)  # type: ignore[arg-type]
    assert one.retry_in(now) == 10.0


def test_after_news_from_others_the_own_period_is_the_usual_one() -> None:
    """A probe that fails after another process's opening opens for ``open_for``, grown as usual."""
    one = machine(growth=2.0, open_cap=35.0)
    one.adopt_open(0.0, 3.0)
    one.fail(one.admit(3.0), 3.0, 0.0)  # type: ignore[arg-type]
    assert one.retry_in(3.0) == 20.0


def test_every_edge_has_its_time() -> None:
    """Whatever moves the machine, the edge says when."""
    one = machine()
    one.fail(one.admit(1.0), 2.0, 0.0)  # type: ignore[arg-type]
    one.succeed(one.admit(12.0), 13.0, 0.0)  # type: ignore[arg-type]
    one.adopt_open(14.0, 5.0)
    one.adopt_closed(15.0)
    one.force(FORCED_OPEN, 16.0)
    one.reset(17.0)
    assert [edge.at for edge in one.edges] == [2.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0]


def test_a_thousand_failed_probes_stay_finite() -> None:
    """The growing period never overflows, however long the other side stays down."""
    one, now = machine(growth=1e6, open_cap=86400.0), 0.0
    for _ in range(1000):
        one.fail(one.admit(now), now, 0.0)  # type: ignore[arg-type]
        assert one.retry_in(now) <= 86400.0  # type: ignore[operator]
        now += 86400.0


def test_the_oldest_probe_decides_when_it_hangs() -> None:
    """A hung probe opens for a period counted from its hang limit, not from when somebody noticed."""
    one = machine(probes=2, hang_limit=5.0)
    one.fail(one.admit(0.0), 0.0, 0.0)  # type: ignore[arg-type]
    first, second = one.admit(10.0), one.admit(12.0)
    assert first is not None
    assert second is not None
    assert one.peek(14.9) is HALF_OPEN
    assert one.peek(15.0) is OPEN
    assert one.peek(24.9) is OPEN
    assert one.peek(25.0) is HALF_OPEN
    assert one.admit(16.0) is None
    assert one.retry_in(16.0) == 9.0
    assert one.edges[-1].open_for == 9.0
    one.succeed(first, 16.0, 6.0)
    assert one.state is OPEN


def test_an_old_hang_is_over_when_noticed() -> None:
    """If the period after a hang has passed as well, the next call is a probe at once."""
    one = machine(hang_limit=5.0)
    one.fail(one.admit(0.0), 0.0, 0.0)  # type: ignore[arg-type]
    assert one.admit(10.0) is not None
    assert one.admit(1000.0) is not None
    assert [edge.reason for edge in one.edges][-2:] == [BreakerReason.PROBE_HUNG, BreakerReason.PERIOD_OVER]
    assert [edge.open_for for edge in one.edges][-2:] == [0.0, None]


def test_a_probe_that_comes_back_after_its_hang_limit_finds_it_open() -> None:
    """Nobody has to notice the hang first: the late probe itself is told, and changes nothing more."""
    for outcome in (Machine.succeed, Machine.fail):
        one = machine(hang_limit=5.0)
        one.fail(one.admit(0.0), 0.0, 0.0)  # type: ignore[arg-type]
        probe = one.admit(10.0)
        assert probe is not None
        outcome(one, probe, 15.0, 5.0)
        assert one.state is OPEN
        assert one.edges[-1].reason is BreakerReason.PROBE_HUNG
        assert one.retry_in(15.0) == 10.0


def test_all_probes_must_succeed() -> None:
    """With three probes, three good ones close, one at a time or together, and two do not."""
    one = machine(probes=3)
    one.fail(one.admit(0.0), 0.0, 0.0)  # type: ignore[arg-type]
    for n in range(3):
        assert one.state is (OPEN if n == 0 else HALF_OPEN)
        one.succeed(one.admit(10.0), 10.0, 0.0)  # type: ignore[arg-type]
    assert one.state is CLOSED
    one.fail(one.admit(10.0), 10.0, 0.0)  # type: ignore[arg-type]
    probes = [one.admit(20.0) for _ in range(4)]
    assert probes[3] is None
    for probe in probes[:3]:
        one.succeed(probe, 20.0, 0.0)  # type: ignore[arg-type]
    assert one.state is CLOSED


def test_a_slow_rate_counts_slow_calls_alone() -> None:
    """Quick failures are not slow, and the rate is a share: one slow call of four is a quarter."""
    for slow, state in ((1, CLOSED), (2, OPEN)):
        one = machine(failures=None, slow_rate=0.5, slow_after=2.0, window_calls=4, minimum_calls=4)
        for n in range(4):
            one.fail(one.admit(0.0), 0.0, 2.0 if n < slow else 1.9)  # type: ignore[arg-type]
        assert one.state is state
        assert [edge.reason for edge in one.edges] == ([BreakerReason.SLOW_RATE] if state is OPEN else [])


def test_disabled_lets_everybody_through_and_counts_nothing() -> None:
    """Outcomes of calls made while disabled change nothing, then or later."""
    one = machine()
    one.force(DISABLED, 0.0)
    permit = one.admit(0.0)
    assert permit is PASS
    one.fail(permit, 0.0, 0.0)
    assert one.state is DISABLED
    one.reset(0.0)
    one.fail(permit, 0.0, 0.0)
    assert one.state is CLOSED
    assert one.streak == 0


def test_after_a_fork_the_places_of_probes_are_free() -> None:
    """A child forgets the parent's calls in flight: probes get their places back, counts stay."""
    one = machine()
    one.fail(one.admit(0.0), 0.0, 0.0)  # type: ignore[arg-type]
    hung = one.admit(10.0)
    assert one.admit(10.0) is None
    one.forget_calls()
    assert one.state is HALF_OPEN
    assert one.admit(10.0) is not None
    one.fail(hung, 10.0, 0.0)  # type: ignore[arg-type]
    assert one.state is HALF_OPEN


def test_after_a_fork_a_closed_machine_keeps_its_count_but_not_its_calls() -> None:
    """A child goes on from the parent's streak; what the parent's calls bring counts nowhere."""
    one = machine(failures=3)
    old = one.admit(0.0)
    one.fail(old, 0.0, 0.0)  # type: ignore[arg-type]
    one.forget_calls()
    assert one.streak == 1
    one.fail(old, 0.0, 0.0)  # type: ignore[arg-type]
    assert one.streak == 1
    assert one.fast is one.permit is not old


def test_the_legal_edges_are_these() -> None:
    """No edge leads to half-open but from open, and none out of force but by reset."""
    by_itself = {(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, OPEN)}
    forced = {(a, b) for a in BreakerState for b in (FORCED_OPEN, DISABLED) if a is not b}
    reset = {(a, CLOSED) for a in BreakerState if a is not CLOSED}
    assert by_itself | forced | reset == LEGAL
