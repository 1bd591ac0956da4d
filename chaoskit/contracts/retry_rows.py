"""The R rows for synchronous functions: each a strategy for examples, and a check of one example."""

from __future__ import annotations

import gc
import inspect
import itertools
import logging
import math
import pickle
import random
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_ulong, py_object, pythonapi
from functools import partial
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.breaker_size import deep_size
from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.retry_adapter import RetryAdapter, RetryPlan

__all__ = ["SYNCHRONOUS"]

SECONDS = st.floats(0.001, 5.0)
LIMITS = st.integers(1, 6)
STEPS = st.sampled_from([-86_400.0, -1.0, 1.0, 86_400.0, 1e9])


class Failing:
    """A function that raises ``error(n)`` for the first ``failures`` calls, then returns its argument."""

    def __init__(self, failures: float, error: Callable[[int], BaseException] = ConnectionError) -> None:
        self.failures, self.error = failures, error
        self.calls = 0

    def __call__(self, value: Any = None) -> Any:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(self.calls)
        return value


def function(work: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function around ``work``: some libraries take nothing else."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return work(*args, **kwargs)

    return call


def outcome(fn: Callable[..., Any], *args: Any) -> tuple[str, Any]:
    """``("value", v)`` or ``("error", e)``; Ctrl-C and the like count as errors here."""
    try:
        return "value", fn(*args)
    except BaseException as error:
        return "error", error


def shows(raised: BaseException, original: BaseException) -> bool:
    """Whether whoever catches ``raised`` gets to ``original``: it is the same, or a cause of it."""
    seen: set[int] = set()
    link: BaseException | None = raised
    while link is not None and id(link) not in seen:
        if link is original:
            return True
        seen.add(id(link))
        link = link.__cause__
    return False


# -- R1, R2, R3: waits ---------------------------------------------------------------------------


@st.composite
def backoffs(draw: st.DrawFn) -> RetryPlan:
    """Waits of every size, with a cap."""
    initial = draw(st.floats(0.0, 10.0))
    return RetryPlan(
        initial=initial,
        factor=draw(st.sampled_from([1.0, 1.5, 2.0, 3.0, 10.0])),
        cap=draw(st.floats(initial, 100_000.0)),
        attempts=draw(st.sampled_from([2, 7, 70, 1100, 5001])),
    )


def finite(adapter: RetryAdapter, plan: RetryPlan) -> None:
    """R1: the sleeper accepts every wait, also the five-thousandth."""
    with adapter.world() as clock:
        backend = Failing(math.inf)
        kind, error = outcome(adapter.wrap(function(backend), plan))
        demand(kind == "error" and shows(error, error), "no error at the end")
        demand(
            isinstance(error, Exception) and not isinstance(error, ArithmeticError | ValueError), repr(error)
        )
        demand(backend.calls == plan.attempts, f"{backend.calls} calls of {plan.attempts}: {error!r}")
        for number, wait in enumerate(clock.calls, 1):
            demand(
                math.isfinite(wait) and 0 <= wait <= plan.cap, f"wait {number} is {wait!r}, cap {plan.cap!r}"
            )


def within(adapter: RetryAdapter, example: tuple[RetryPlan, int, int]) -> None:
    """R2: every draw lies in the declared band; a negative wait is refused, or not waited."""
    plan, which, seed = example
    low, high = adapter.jitters[which % len(adapter.jitters)]
    plan = _changed(plan, jitter=(low, high), seed=seed, attempts=min(plan.attempts, 70))
    with adapter.world() as clock:
        outcome(adapter.wrap(function(Failing(math.inf)), plan))
        for number, wait in enumerate(_all_waits(clock.calls, plan)):
            base = _base(plan, number)
            least, most = min(base * low, plan.cap), min(base * high, plan.cap)
            slack = 1e-9 + most * 1e-9
            demand(
                least - slack <= wait <= most + slack,
                f"wait {number + 1} is {wait!r}, not {least!r} to {most!r}",
            )
        negative = _changed(plan, initial=-1.0, jitter=(1.0, 1.0), attempts=2)
        try:
            wrapped = adapter.wrap(function(Failing(1)), negative)
        except Exception:
            return
        clock.calls.clear()
        kind, got = outcome(wrapped)
        demand(kind == "value", f"a negative wait was accepted, and raised {got!r} when it was due")
        demand(all(wait >= 0 for wait in clock.calls), f"the sleeper was called with {clock.calls}")


def spread(adapter: RetryAdapter, example: tuple[float, int]) -> None:
    """R3: clients that fail together do not come back together, at the cap and at the first wait."""
    initial, which = example
    jitters = [j for j in adapter.jitters if j[0] < j[1]]
    plan = RetryPlan(initial=initial, cap=initial * 8, jitter=jitters[which % len(jitters)], attempts=120)
    with adapter.world() as clock:
        outcome(adapter.wrap(function(Failing(math.inf)), plan))
        _spread("at the cap", clock.calls[-100:])
        clock.calls.clear()
        single = _changed(plan, attempts=2)
        for _ in range(40):
            outcome(adapter.wrap(function(Failing(1)), single))
        _spread("at the floor", clock.calls)


def _spread(where: str, waits: list[float]) -> None:
    (wait, most), *_ = Counter(round(w, 9) for w in waits).most_common(1) or [(0.0, 99)]
    demand(most <= len(waits) * 0.2, f"{most} of {len(waits)} waits {where} are {wait!r}")


def _base(plan: RetryPlan, number: int) -> float:
    try:
        return min(float(plan.initial) * plan.factor**number, plan.cap)
    except OverflowError:
        return plan.cap


def _all_waits(calls: list[float], plan: RetryPlan) -> list[float]:
    # A wait of zero may be left out (R20), and only with full jitter or no wait at all is there one.
    return calls if plan.initial > 0 and plan.jitter[0] > 0 else []


# -- R4, R5, R7, R8 ------------------------------------------------------------------------------


def bounded(adapter: RetryAdapter, attempts: int) -> None:
    """R4: never more calls than attempts; zero and less are refused, or mean one."""
    with adapter.world():
        backend = Failing(60)
        try:
            wrapped = adapter.wrap(function(backend), RetryPlan(attempts=attempts))
        except Exception:
            demand(attempts < 1, f"attempts={attempts} was refused")
            return
        outcome(wrapped)
        demand(backend.calls <= max(1, attempts), f"{backend.calls} calls with attempts={attempts}")
        demand(attempts < 1 or backend.calls == attempts, f"{backend.calls} calls with attempts={attempts}")


STOPS = (KeyboardInterrupt, SystemExit, GeneratorExit)


def stops(adapter: RetryAdapter, example: tuple[int, bool, int]) -> None:
    """R5: whoever wants to stop the program is obeyed, by conditions that name Exception or take anything."""
    which, by_predicate, failures = example
    by_predicate = by_predicate and "predicate" in adapter.features
    plan = RetryPlan(
        on=(Exception,), predicate=(lambda error: True) if by_predicate else None, attempts=failures + 3
    )

    def error(number: int) -> BaseException:
        return STOPS[which](number) if number == failures + 1 else ConnectionError(number)

    with adapter.world():
        backend = Failing(math.inf, error)
        kind, raised = outcome(adapter.wrap(function(backend), plan))
        demand(
            kind == "error" and type(raised) is STOPS[which], f"{raised!r} instead of {STOPS[which].__name__}"
        )
        demand(backend.calls == failures + 1, f"called again after {STOPS[which].__name__}")


def original(adapter: RetryAdapter, attempts: int) -> None:
    """R7: the caller sees the last error, with its cause; earlier errors do not pile up behind it."""
    errors: list[BaseException] = []

    def backend() -> None:
        cause = LookupError(len(errors))
        errors.append(ConnectionError(len(errors)))
        raise errors[-1] from cause

    with adapter.world():
        _, raised = outcome(adapter.wrap(backend, RetryPlan(attempts=attempts)))
        demand(
            isinstance(raised, BaseException) and shows(raised, errors[-1]),
            f"{raised!r} hides {errors[-1]!r}",
        )
        demand(isinstance(errors[-1].__cause__, LookupError), f"the cause became {errors[-1].__cause__!r}")
        links = _context(errors[-1])
        demand(not links & {id(e) for e in errors[:-1]}, f"error {attempts} has the earlier ones as context")


def _context(error: BaseException) -> set[int]:
    found: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if id(link) not in found:
            found.add(id(link))
            waiting += [e for e in (link.__context__, link.__cause__) if e is not None]
    return found - {id(error)}


class Argument:
    """Something that can be watched while it dies."""


def released(adapter: RetryAdapter, example: tuple[int, int]) -> None:
    """R8: reference counts alone free the arguments when a call has ended, whichever way."""
    failures, attempts = example
    with adapter.world():
        wrapped = adapter.wrap(function(Failing(failures)), RetryPlan(attempts=attempts, initial=0.0))
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            argument = Argument()
            watch = weakref.ref(argument)
            # Nobody may keep what this returns: a failed call's error holds the arguments rightly.
            outcome(wrapped, argument)
            del argument
            alive = watch() is not None
        finally:
            if was_enabled:
                gc.enable()
        demand(not alive, "an argument waits for the collector: a cycle holds it")


# -- R10: threads --------------------------------------------------------------------------------


def threads(adapter: RetryAdapter, failures: list[int]) -> None:
    """R10: threads that share one decorated function get their own results, and only the user's errors."""
    with adapter.world():
        left = dict(enumerate(failures))
        lock = threading.Lock()

        def backend(who: int) -> int:
            with lock:
                left[who] -= 1
                fail = left[who] >= 0
            if fail:
                raise ConnectionError(who)
            return who

        wrapped = adapter.wrap(backend, RetryPlan(attempts=3, initial=0.0))
        barrier = threading.Barrier(len(failures))
        got: dict[int, tuple[str, Any]] = {}

        def body(who: int) -> None:
            barrier.wait()
            got[who] = outcome(wrapped, who)

        workers = [threading.Thread(target=body, args=(who,), daemon=True) for who in left]
        with eager():
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(20)
        for who, count in enumerate(failures):
            kind, what = got.get(who, ("hangs", None))
            if count < 3:
                demand(
                    (kind, what) == ("value", who), f"thread {who} with {count} failures got {kind} {what!r}"
                )
            else:
                demand(kind == "error" and _from(what) == who, f"thread {who} got {kind} {what!r}")


@contextmanager
def eager() -> Iterator[None]:
    """Threads change as often as the interpreter can, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _from(error: BaseException) -> object:
    """The argument of the ConnectionError that ``error`` is, or shows."""
    while not isinstance(error, ConnectionError):
        if error.__cause__ is None:
            return error
        error = error.__cause__
    return error.args[0]


# -- R11, R12: deadline --------------------------------------------------------------------------


def in_time(adapter: RetryAdapter, example: tuple[float, list[float], float]) -> None:
    """R11, R12: no attempt starts after the deadline, and no wait begins that would not end before it."""
    deadline, costs, initial = example
    with adapter.world() as clock:
        begun = clock.monotonic()
        starts: list[float] = []

        def backend() -> None:
            starts.append(clock.monotonic() - begun)
            if starts[-1] < deadline * 10:
                clock.advance(costs[(len(starts) - 1) % len(costs)])
            raise ConnectionError

        plan = RetryPlan(attempts=50, deadline=deadline, initial=initial, factor=1.0, cap=initial)
        outcome(adapter.wrap(backend, plan))
        late = [start for start in starts if start > deadline + 1e-5]
        demand(not late, f"an attempt started at {late[:1]} s, the deadline was {deadline} s")
        ended = starts[-1] + costs[(len(starts) - 1) % len(costs)]
        waited = clock.monotonic() - begun - ended
        demand(waited <= 1e-6, f"it waited {waited} s at the end for an attempt that never came")


# -- R13, R21, R22: listeners and hooks ----------------------------------------------------------


def harmless(adapter: RetryAdapter, example: tuple[int, int, int]) -> None:
    """R13: with a listener that raises, the call goes as without it, and somebody is told."""
    failures, attempts, which = example
    error = (ValueError, ConnectionError, LookupError)[which]

    def listener() -> None:
        raise error("the listener")

    with adapter.world():
        plain, noisy = Failing(failures), Failing(failures)
        expected = outcome(adapter.wrap(function(plain), RetryPlan(attempts=attempts)), "v")
        with reports() as told:
            wrapped = adapter.wrap(function(noisy), RetryPlan(attempts=attempts, listener=listener))
            got = outcome(wrapped, "v")
        demand(noisy.calls == plain.calls, f"{noisy.calls} calls instead of {plain.calls}")
        demand(got[0] == expected[0] and repr(got[1]) == repr(expected[1]), f"{got} instead of {expected}")
        demand(told or failures == 0 or attempts == 1, "nobody was told that the listener failed")


@contextmanager
def reports() -> Iterator[list[object]]:
    """What is logged as a warning or worse, by anybody."""
    told: list[object] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record)

    handler = Handler(logging.WARNING)
    loggers = [logging.getLogger(), logging.getLogger("chaoskit")]
    before = [(logger.propagate, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.disabled = False
    loggers[1].propagate = False
    try:
        yield told
    finally:
        for logger, (propagate, disabled) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate, logger.disabled = propagate, disabled


def nested(adapter: RetryAdapter, example: tuple[int, int, bool]) -> None:
    """R21: one policy used inside itself, also from its listener, counts for each call apart."""
    outer, inner, from_listener = example
    from_listener = from_listener and "listeners" in adapter.features
    with adapter.world():
        backend = Failing(math.inf)
        depth = 0

        def again() -> None:
            nonlocal depth
            if depth == 0:
                depth += 1
                try:
                    outcome(adapter.wrap(function(backend), _changed(plan, attempts=inner)))
                finally:
                    depth -= 1

        plan = RetryPlan(attempts=outer, initial=0.0, listener=again if from_listener else None)
        count = itertools.count(1)

        def body() -> None:
            number = next(count)
            if not from_listener:
                again()
            raise ConnectionError(number)

        outcome(adapter.wrap(body, plan))
        rounds = outer - 1 if from_listener else outer
        demand(next(count) == outer + 1, f"the outer call was not made {outer} times")
        demand(backend.calls == rounds * inner, f"{backend.calls} inner calls instead of {rounds * inner}")


def hooks(adapter: RetryAdapter, example: tuple[int, int]) -> None:
    """R22: what a hook opens is closed once, before the next opens, in each call; nothing grows."""
    failures, attempts = example
    log: list[str] = []

    # Not a generator: the collector would close one that the library leaves open.
    class resource:
        def __enter__(self) -> None:
            log.append("open")

        def __exit__(self, *exc: object) -> None:
            log.append("close")

    with adapter.world() as clock:
        listener = resource if "hooks" in adapter.features else None
        wrapped = adapter.wrap(
            _cycling(failures), RetryPlan(attempts=attempts, initial=0.01, listener=listener)
        )
        outcome(wrapped)
        waits = min(failures, attempts - 1)
        if listener is not None:
            demand(log == ["open", "close"] * waits, f"{log} for {waits} waits")
        for _ in range(30):
            outcome(wrapped)
        clock.calls.clear()
        clock.sleeps.clear()
        log.clear()
        before = deep_size(wrapped)
        for _ in range(300):
            outcome(wrapped)
        clock.calls.clear()
        clock.sleeps.clear()
        log.clear()
        grown = deep_size(wrapped) - before
        demand(grown < 2000, f"300 calls left {grown} bytes behind")


def _cycling(failures: int) -> Callable[[], None]:
    calls = itertools.count()

    def body() -> None:
        if next(calls) % (failures + 1) != failures:
            raise ConnectionError

    return body


# -- R14: Retry-After ----------------------------------------------------------------------------


class Answer:
    """A response with headers."""

    status_code = 429

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


class Refused(ConnectionError):
    """An error with a response, as HTTP clients raise it."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("429")
        self.response = Answer(headers)


HEADERS = st.one_of(
    st.none(),
    st.integers(-10, 100_000).map(str),
    st.integers(10**15, 10**400).map(str),
    st.floats(0, 1e6).map(repr),
    st.text(max_size=30),
    st.sampled_from(
        [
            "",
            "nan",
            "inf",
            "-inf",
            "1e3",
            "²",
            "0x10",
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ]
    ),
    st.sampled_from(
        ["Sun, 06 Nov 1994 08:49:37 -0000", "Mon, 32 Foo 20 99:99:99 GMT", "31 Dec 99999 23:59:59"]
    ),
    st.integers(1_700_000_000, 1_700_001_000).map(
        lambda seconds: time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))
    ),
)


def asked(adapter: RetryAdapter, value: str | None) -> None:
    """R14: whatever the header says, the call goes on, and waits no longer than the cap."""
    headers = {} if value is None else {"Retry-After": value}
    cap = 30.0
    with adapter.world() as clock:
        backend = Failing(1, lambda number: Refused(headers))
        plan = RetryPlan(initial=0.5, cap=2.0, retry_after_cap=cap)
        kind, got = outcome(adapter.wrap(function(backend), plan), "v")
        demand((kind, got) == ("value", "v"), f"Retry-After: {value!r} made it end with {got!r}")
        for wait in clock.calls:
            demand(
                math.isfinite(wait) and 0 <= wait <= cap, f"Retry-After: {value!r} made it wait {wait!r} s"
            )
        if value is not None and value.isascii() and value.isdigit() and len(value) < 12:
            least = min(float(value), cap)
            demand(sum(clock.calls) >= least, f"asked for {value} s, waited {sum(clock.calls)} s")


# -- R15, R16: kinds of functions ----------------------------------------------------------------


def generators(adapter: RetryAdapter, example: tuple[int, bool]) -> None:
    """R15: a generator function is refused, or restarted; its failure never just comes through."""
    items, hidden = example
    fails = iter([True])

    def produce() -> Iterator[int]:
        yield from range(items)
        if next(fails, False):
            raise ConnectionError("in the middle")
        yield items

    fn = partial(produce) if hidden else produce
    with adapter.world():
        try:
            wrapped = adapter.wrap(fn, RetryPlan())
            produced = wrapped()
        except Exception:
            return
        kind, got = outcome(list, produced)
        demand(kind == "value", f"the retry was never in force: {got!r} came through at its first occurrence")


def told_apart(adapter: RetryAdapter, example: tuple[int, int]) -> None:
    """R16: a coroutine function given to the sync interface is refused, or becomes a retried one."""
    which, failures = example
    calls = itertools.count(1)

    async def work() -> str:
        if next(calls) <= failures:
            raise ConnectionError
        return "done"

    class Callee:
        async def __call__(self) -> str:
            return await work()

        async def method(self) -> str:
            return await work()

    def plain() -> Any:
        return work()

    fn = (work, partial(work), Callee(), Callee().method, plain)[which]
    with adapter.world() as clock:
        try:
            wrapped = adapter.wrap(fn, RetryPlan(attempts=5, initial=0.0))
            result = wrapped()
        except Exception:
            return
        demand(inspect.isawaitable(result), f"{result!r} instead of an awaitable or a refusal")
        kind, got = outcome(_await, clock, result)
        demand((kind, got) == ("value", "done"), f"the retry was never in force: {got!r} came through")


def _await(clock: Any, awaitable: Any) -> Any:
    from chaoskit.contracts.virtual import run

    async def body() -> Any:
        return await awaitable

    return run(clock, body)


# -- R17, R19, R20 -------------------------------------------------------------------------------


def unmoved(adapter: RetryAdapter, example: tuple[list[float], int]) -> None:
    """R17: steps of the wall clock, either way and at any moment, change neither calls nor waits."""
    steps, attempts = example
    deadline = 40.0 if "deadline" in adapter.features else None

    def course(moved: bool) -> tuple[int, list[float]]:
        with adapter.world() as clock:
            count = itertools.count()

            def body() -> None:
                number = next(count)
                if moved:
                    clock.step(steps[number % len(steps)])
                clock.advance(0.5)
                raise ConnectionError

            outcome(adapter.wrap(body, RetryPlan(attempts=attempts, deadline=deadline)))
            return next(count), list(clock.calls)

    expected, got = course(False), course(True)
    demand(got == expected, f"with steps {steps}: (calls, waits) {got} instead of {expected}")


def seeded(adapter: RetryAdapter, example: tuple[int, int]) -> None:
    """R19: the global random state is left alone; the same seed gives the same waits."""
    seed, which = example
    plan = RetryPlan(attempts=6, jitter=adapter.jitters[which % len(adapter.jitters)], seed=seed)

    def waits() -> list[float]:
        with adapter.world() as clock:
            outcome(adapter.wrap(function(Failing(math.inf)), plan))
            return list(clock.calls)

    before = random.getstate()
    first = waits()
    demand(random.getstate() == before, "the global random state was used")
    if "seed" in adapter.features:
        second = waits()
        demand(first == second, f"seed {seed} gave {first}, then {second}")


def no_sleep(adapter: RetryAdapter, failures: int) -> None:
    """R20: where there is nothing to wait for, the sleeper is not called."""
    with adapter.world() as clock:
        plan = RetryPlan(attempts=failures + 1, initial=0.0, cap=0.0)
        outcome(adapter.wrap(function(Failing(failures)), plan))
        demand(not clock.calls, f"the sleeper was called with {clock.calls}")


# -- R18, R23, R24, R25 --------------------------------------------------------------------------


def pickled(adapter: RetryAdapter, protocol: int) -> None:
    """R18: every error of the library arrives on the other side of a pipe as what it was."""
    for error in adapter.errors():
        kind, got = outcome(lambda e=error: pickle.loads(pickle.dumps(e, protocol)))
        demand(kind == "value", f"{error!r} does not survive pickling: {got!r}")
        same = type(got) is type(error) and str(got) == str(error)
        demand(same, f"{error!r} arrives as {got!r}")


@st.composite
def webs(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Edges between a few errors: causes, contexts and membership, cycles included."""
    edge = st.tuples(st.sampled_from(["cause", "context", "both"]), st.integers(0, 4), st.integers(0, 4))
    return draw(st.lists(edge, max_size=8))


def terminates(adapter: RetryAdapter, edges: list[tuple[str, int, int]]) -> None:
    """R23: a condition that looks through causes and groups comes to an end, on cycles too."""
    errors: list[Exception] = [RuntimeError(n) for n in range(4)]
    errors.append(ExceptionGroup("some", errors[:3]))
    for kind, source, target in edges:
        if kind != "context":
            errors[source].__cause__ = errors[target]
        if kind != "cause":
            errors[source].__context__ = errors[target]

    def backend() -> None:
        raise errors[(edges[0][1] if edges else 0)]

    with adapter.world():
        wrapped = adapter.wrap(backend, RetryPlan(through_causes=True, initial=0.0))
        demand(_ends(partial(outcome, wrapped)), f"the condition never ends on the edges {edges}")


def _ends(work: Callable[[], object], seconds: float = 3.0) -> bool:
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(seconds)
    if not worker.is_alive():
        return True
    # A thread cannot be stopped from outside, but an endless loop in Python can be made to raise.
    pythonapi.PyThreadState_SetAsyncExc(c_ulong(worker.ident or 0), py_object(SystemExit))
    worker.join(seconds)
    return False


def module_level(
    one: int, /, two: str = "2", *rest: int, three: bool = False, **more: Any
) -> tuple[Any, ...]:
    """A function with every kind of parameter."""
    return (one, two, rest, three, more)


def keeps(adapter: RetryAdapter, example: tuple[int, dict[str, int]]) -> None:
    """R24: name, documentation, signature, binding and kind stay; it pickles by its name."""
    one, more = example
    with adapter.world():
        wrapped = adapter.wrap(module_level, RetryPlan())
        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            same = getattr(wrapped, name, None) == getattr(module_level, name)
            demand(same, f"{name} is {getattr(wrapped, name, None)!r}")
        demand(inspect.signature(wrapped) == inspect.signature(module_level), "the signature changed")
        result = wrapped(one, "b", 3, three=True, **more)
        demand(result == (one, "b", (3,), True, more), f"the arguments arrive as {result!r}")
        demand(not inspect.iscoroutinefunction(wrapped), "it claims to be a coroutine function")

        class Owner:
            def method(self) -> object:
                return self

            method = adapter.wrap(method, RetryPlan())

        owner = Owner()
        _, got = outcome(owner.method)
        demand(got is owner, f"as a method it is not bound to its object: {got!r}")
        _pickles(wrapped)


def _pickles(wrapped: Any) -> None:
    """Put ``wrapped`` under its own name, as a decorator does, and pickle it."""
    original = module_level
    globals()["module_level"] = wrapped
    try:
        kind, got = outcome(lambda: pickle.loads(pickle.dumps(wrapped)))
    finally:
        globals()["module_level"] = original
    demand(kind == "value" and got is wrapped, f"it does not pickle by its name: {got!r}")


def interrupted(adapter: RetryAdapter, after: float) -> None:
    """R25: a request to shut down ends a long wait within 50 ms of real time."""
    took = min(_interruption(adapter, after) for _ in range(1))
    for _ in range(3):  # a busy machine may be late; a retry that does not listen is so every time
        if took <= 0.05:
            break
        took = min(took, _interruption(adapter, after))
    demand(took <= 0.05, f"the wait went on for {took:.3f} s after the request")


def _interruption(adapter: RetryAdapter, after: float) -> float:
    from chaoskit.runtime.clock import SystemClock

    with adapter.world():
        wake = threading.Event()
        began = threading.Event()

        def backend() -> None:
            began.set()
            raise ConnectionError

        plan = RetryPlan(initial=5.0, wake=wake, attempts=2)
        adapter.clock = SystemClock()  # type: ignore[attr-defined]
        wrapped = adapter.wrap(backend, plan)
        worker = threading.Thread(target=outcome, args=(wrapped,), daemon=True)
        worker.start()
        began.wait(5)
        time.sleep(after)
        asked_at = time.monotonic()
        wake.set()
        worker.join(1.0)
        return time.monotonic() - asked_at


def _changed(plan: RetryPlan, **fields: Any) -> RetryPlan:
    from dataclasses import replace

    return replace(plan, **fields)


def _needs(*features: str) -> frozenset[str]:
    return frozenset(features)


SMALL = st.integers(0, 4)

SYNCHRONOUS = (
    Row("R1", "every wait is finite, within the cap, and accepted by the sleeper", finite, backoffs()),
    Row(
        "R2",
        "draws lie in the declared band; negative waits are refused",
        within,
        st.tuples(backoffs(), SMALL, st.integers(0, 2**32)),
    ),
    Row(
        "R3",
        "jitter spreads at the cap and at the floor",
        spread,
        st.tuples(SECONDS, SMALL),
        _needs("jitter"),
    ),
    Row("R4", "never more calls than attempts", bounded, st.integers(-3, 12)),
    Row(
        "R5",
        "Ctrl-C, exit and close are never retried",
        stops,
        st.tuples(st.integers(0, 2), st.booleans(), SMALL),
    ),
    Row("R7", "the last original error is shown, and no chain grows", original, LIMITS),
    Row("R8", "no argument waits for the collector", released, st.tuples(SMALL, LIMITS)),
    Row(
        "R10",
        "threads sharing a function see only their own",
        threads,
        st.lists(SMALL, min_size=2, max_size=6),
    ),
    Row(
        "R11",
        "no attempt starts after the deadline, no wait is begun in vain",
        in_time,
        st.tuples(SECONDS, st.lists(SECONDS, min_size=1, max_size=4), SECONDS),
        _needs("deadline"),
    ),
    Row(
        "R13",
        "a raising listener changes nothing and is reported",
        harmless,
        st.tuples(SMALL, LIMITS, st.integers(0, 2)),
        _needs("listeners"),
    ),
    Row("R14", "Retry-After never crashes and obeys a cap", asked, HEADERS, _needs("retry-after")),
    Row("R15", "generators are not silently unprotected", generators, st.tuples(SMALL, st.booleans())),
    Row("R16", "coroutine functions are told apart", told_apart, st.tuples(SMALL, st.integers(1, 3))),
    Row(
        "R17",
        "steps of the wall clock change nothing",
        unmoved,
        st.tuples(st.lists(STEPS, min_size=1, max_size=4), LIMITS),
    ),
    Row(
        "R18",
        "the library's errors survive pickling",
        pickled,
        st.integers(3, pickle.HIGHEST_PROTOCOL),
        _needs("errors"),
    ),
    Row(
        "R19",
        "global randomness is untouched, a seed reproduces",
        seeded,
        st.tuples(st.integers(0, 2**32), SMALL),
    ),
    Row("R20", "no sleep without a delay", no_sleep, SMALL),
    Row("R21", "nested use of one policy is independent", nested, st.tuples(LIMITS, LIMITS, st.booleans())),
    Row("R22", "hooks release once, in order; nothing grows", hooks, st.tuples(SMALL, LIMITS)),
    Row("R23", "conditions terminate on cyclic chains", terminates, webs(), _needs("chains")),
    Row(
        "R24",
        "signature, name, binding, kind and pickling stay",
        keeps,
        st.tuples(st.integers(), st.dictionaries(st.sampled_from("abc"), st.integers())),
    ),
    Row("R25", "a shutdown ends a wait within 50 ms", interrupted, st.floats(0, 0.003), _needs("wake")),
)
