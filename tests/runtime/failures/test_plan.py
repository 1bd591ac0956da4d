"""What is decided beforehand for a class is what would have been decided for the error."""

from __future__ import annotations

import errno
import gc
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest
from known_errors import cases

from chaoskit.runtime import Classifier, Rule, Symptoms, TransientError, VirtualClock, classify
from chaoskit.runtime.failures.allowances import is_used_up
from chaoskit.runtime.failures.classifier import Classifier as Plain
from chaoskit.runtime.failures.plan import plan_of
from chaoskit.runtime.failures.symptoms import asked_to_wait

ALL = cases()


def test_the_short_way_and_the_long_one_agree(monkeypatch):
    """For every known error, asked twice, with what was kept and without, the decision is the same."""
    short = [(classify(case.build()), classify(case.build())) for case in ALL]
    monkeypatch.setattr(Plain, "_at_once", lambda self, error: None)
    for case, (first, second) in zip(ALL, short, strict=True):
        assert first == second == classify(case.build()), case.name


def test_evidence_on_one_error_does_not_count_for_the_next():
    """A status, a cause or an exit code that one error of a class has does not decide about another."""

    class Plainly(Exception):
        pass

    assert classify(Plainly()).rule == "unknown"
    with_status = Plainly()
    with_status.status_code = 503
    assert classify(with_status).rule == "http.overloaded"
    caused = Plainly()
    caused.__cause__ = ConnectionRefusedError()
    assert classify(caused).rule == "connection.refused"
    reason = Plainly()
    reason.reason = TimeoutError()
    assert classify(reason).rule == "timeout"
    assert classify(Plainly()).rule == "unknown"


def test_errno_and_file_name_are_told_apart():
    """One class of error, several errnos, with a path and without: each has its own decision."""
    assert classify(OSError(errno.ENOTCONN, "x")).rule == "network.reset"
    assert classify(OSError(errno.ENOTCONN, "x", "/mnt/a")).rule == "lost-mount"
    assert classify(OSError(errno.ENOTCONN, "x")).rule == "network.reset"
    assert classify(OSError("only text")).rule == "unknown"
    assert classify(OSError(["no", "number"], "x")).rule == "unknown"


def test_kept_decisions_are_bounded():
    """Numbers that TLS libraries put in errno do not fill the memory."""
    for number in range(10_000, 11_000):
        classify(OSError(number, "x"))
    assert len(plan_of(OSError).kept) <= 200


def test_classes_can_go_again():
    """A class that a program made while it ran is not kept alive by having been classified."""

    def made() -> weakref.ref[type]:
        kind = type("Passing", (Exception,), {})
        classify(kind())
        return weakref.ref(kind)

    seen = made()
    gc.collect()
    assert seen() is None


def test_users_rules_are_asked_on_both_ways():
    """A rule of the user's decides although the class was seen and decided before."""
    classify(KeyError("x"))
    mine = Classifier([Rule(name="mine", verdict=TransientError, types=(KeyError,))])
    assert mine.classify(KeyError("x")).rule == "mine"
    assert classify(KeyError("x")).rule == "programming"


@pytest.mark.parametrize("unknown", [TransientError, None])
def test_unknown_is_each_classifiers_own(unknown):
    """What one classifier calls unknown errors is not kept for another."""

    class Odd(Exception):
        pass

    classifier = Classifier(unknown=unknown) if unknown else Classifier()
    for _ in range(2):
        assert classifier.classify(Odd()).retryable is (unknown is TransientError)


def test_no_table_is_loaded_before_it_is_needed():
    """Classifying a plain error loads the table of no library, and no library itself."""
    code = (
        "import sys; from chaoskit.runtime import classify; classify(KeyError()); classify(OSError(2, 'x'));"
        "print([m for m in sys.modules if 'failures.libraries' in m or m in ('requests', 'redis', 'grpc')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


LOADS = """
import os, resource
from chaoskit.runtime import TRANSIENT_ERRORS, Constant, classify, retry

Throttled = type("ClientError", (Exception,), {"__module__": "botocore.exceptions"})
error = Throttled("slow down")
error.response = {"Error": {"Code": "RequestThrottled"}, "ResponseMetadata": {"HTTPStatusCode": 400}}

def call():
    raise error

resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
try:
    retry(on=TRANSIENT_ERRORS, wait=Constant(0.0))(call)()
except Exception as seen:
    caught = seen
for descriptor in held:
    os.close(descriptor)
assert caught is error, repr(caught)
assert classify(error).rule.startswith("aws."), classify(error)
"""


FIRST = """
import errno, os, resource
from chaoskit.runtime import CircuitBreaker, Constant, classify, observer_errors, retry

def use_up():
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return held, error

def call():
    os.open("/dev/null", os.O_RDONLY)

told = []
quiet = retry(on=OSError, attempts=2, wait=Constant(0.0))(call)
heard = retry(on=OSError, attempts=2, wait=Constant(0.0), listeners=[lambda e: told.append(e.name)])(call)
guarded = CircuitBreaker(failures=1, name="of descriptors")(call)
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
held, error = use_up()
verdicts = [
    classify(one) for one in (error, OSError(errno.ENFILE, "x"), MemoryError(), ValueError())
]
seen = []
for one in (quiet, heard, guarded):
    try:
        one()
    except OSError as raised:
        seen.append(raised.errno)
for descriptor in held:
    os.close(descriptor)
assert [v.verdict.__name__ for v in verdicts] == [
    "TooManyFiles", "TooManyFiles", "OutOfMemory", "PermanentError"
], verdicts
assert seen == [errno.EMFILE] * 3, seen
assert told == ["retry.scheduled", "retry.exhausted"], told
assert observer_errors() == 1, observer_errors()
assert classify(error).rule != verdicts[0].rule, "the rules are loaded once that can be done"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limit on descriptors to set")
def test_the_first_failure_of_a_program_may_be_that_nothing_can_be_opened() -> None:
    """What is loaded late changes no outcome: the call's own error comes out, judged right, and is told.

    Only an event that nothing was set up to hear is lost, and counted: here the edge of the breaker.
    """
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the rules of the classifier cannot be loaded" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limit on descriptors to set")
def test_a_table_that_cannot_be_loaded_hides_no_error() -> None:
    """With no descriptor left the caller sees the error of the call; later ones are judged by the table."""
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "is judged without the rules of its library" in done.stderr


def test_a_plan_keeps_decisions_up_to_its_bound():
    """The first ones are kept, and found again; later ones are decided each time."""
    plan = plan_of(OSError)
    kept = dict(plan.kept)
    try:
        plan.kept.clear()
        for number in range(300):
            plan.keep(number, "decided")
        assert list(plan.kept) == list(range(200))
    finally:
        plan.kept.clear()
        plan.kept.update(kept)


def test_an_error_raised_while_another_was_handled_is_judged_by_both():
    """Python's own context is a cause as well, for a class that no rule knows."""

    class Odd(Exception):
        pass

    def raised(first):
        try:
            try:
                raise first
            except Exception:
                raise Odd  # noqa: B904 - its context is what this is about
        except Odd as odd:
            return odd

    assert classify(raised(ConnectionResetError())).verdict is classify(ConnectionResetError()).verdict
    assert classify(Odd()).rule == "unknown"


def test_a_rule_of_errnos_suits_errors_of_the_system_alone():
    """It is left out of the plans of all other classes."""
    rule = Rule(name="r", verdict=TransientError, errnos=("EIO",))
    assert rule.suits(OSError)
    assert not rule.suits(ValueError)


def test_a_code_with_a_star_is_the_beginning_of_a_code():
    """All of what stands before the star."""
    rule = Rule(name="r", verdict=TransientError, codes=("08*",))

    found = [code for code in ("08", "08006", "0A000", "0") if rule.matches(SimpleNamespace(code=code))]
    assert found == ["08", "08006"]


@pytest.mark.parametrize("status", [100, 599])
def test_the_first_and_the_last_status_are_statuses(status):
    """And those beside them are other numbers."""
    error = Exception()
    error.status = status
    assert Symptoms(error).status == status
    error = Exception()
    error.status = 99 if status == 100 else 600
    assert Symptoms(error).status is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "0"}, 0.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
    ],
)
def test_the_wait_that_a_header_asks_for_is_in_seconds(headers, seconds):
    """Milliseconds are divided; zero means at once, and so does a date that has passed."""
    error = Exception()
    error.headers = headers
    assert asked_to_wait(error, VirtualClock(epoch=1e9)) == seconds


def test_a_wait_of_zero_that_the_error_has_is_zero():
    """And a negative one, which some libraries compute from a date, is zero as well."""
    error = Exception()
    for own, seconds in ((0, 0.0), (-3.5, 0.0), (2, 2.0)):
        error.retry_after = own
        assert asked_to_wait(error, VirtualClock()) == seconds


def test_a_condition_that_raises_does_not_hold():
    """The rule is passed over, and the error is judged as if it were not there."""

    def raises(symptoms):
        raise ZeroDivisionError

    rule = Rule(name="r", verdict=TransientError, when=raises)
    assert not rule.matches(Symptoms(ValueError()))
    assert Classifier([rule]).classify(ValueError("x")).rule != "r"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "1700000040"}, 40.0),
        ({"anthropic-ratelimit-requests-reset": "2023-11-14T22:13:45Z"}, 25.0),
        ({"anthropic-ratelimit-input-tokens-reset": "2023-11-15T00:13:45.5+02:00"}, 25.5),
        ({"anthropic-ratelimit-tokens-reset": "2023-02-31T00:00:00Z"}, None),
        ({"x-ratelimit-reset": "1700000030000"}, 30.0),
        ({"x-ratelimit-reset": "99999999999"}, 98299999999.0),
        ({"x-ratelimit-reset-requests": "1m30s", "x-ratelimit-reset-tokens": "120ms"}, 90.0),
        ({"x-ratelimit-reset": "1600000000"}, 0.0),
        ({"x-ratelimit-reset": "-1"}, 0.0),
        ({"x-ratelimit-reset": "1000000000"}, 1e9),
        ({"x-ratelimit-reset": "1000000001"}, 0.0),
        ({"x-ratelimit-reset": "100000000000"}, 98300000000.0),
        ({"x-ratelimit-reset": "100000000001"}, 100000000.001),
        ({"anthropic-ratelimit-requests-reset": "2020-01-01T00:00:00Z"}, 0.0),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "500", "x-ms-retry-after-ms": "250"}, 0.5),
        ({"rate-limit-policy": "10"}, None),
    ],
)
def test_more_services_say_when_they_will_be_ready(headers, seconds):
    """X, Anthropic and Cosmos DB, and some that give the date in milliseconds."""
    error = Exception()
    error.status, error.headers = 429, headers
    assert asked_to_wait(error, VirtualClock(epoch=1_700_000_000)) == seconds


@pytest.mark.parametrize("name", ["ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining"])
def test_a_refusal_with_nothing_left_is_a_limit(name):
    """In each spelling of the header; with something left it is a refusal."""
    error = Exception()
    error.status, error.headers = 403, {name: "0"}
    assert classify(error).rule == "http.secondary-limit"
    error = Exception()
    error.status, error.headers = 403, {name: "5"}
    assert classify(error).rule != "http.secondary-limit"


@pytest.mark.parametrize(
    ("header", "used_up"),
    [
        ("limit=100, remaining=0, reset=50", True),
        ("limit=100, remaining=40, reset=50", False),
        ("limit=100, remaining=40, reset=0", False),
        ('"hour";r=0;t=40', True),
        ('"hour";r=3;t=40', False),
    ],
)
def test_an_allowance_is_used_up_when_nothing_remains(header, used_up):
    """A 403 is then repeated; the time of the reset does not count, whatever it is."""
    assert is_used_up({"ratelimit": header}) is used_up
