"""The classifier: which rule decides, in which order, on what evidence."""

from __future__ import annotations

import errno
import pickle
import re
import socket
import sqlite3
import ssl
import subprocess
import tarfile
import time
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Classifier, Decision, Rule, classify
from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.built_in import BUILT_IN, INTERRUPTS
from chaoskit.runtime.failures.index import HOMES, load
from chaoskit.runtime.failures.rules import Proven
from chaoskit.runtime.failures.symptoms import Symptoms, leaves, links, parse_retry_after


def os_error(name: str) -> OSError:
    return OSError(getattr(errno, name), "x")


class Response:
    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        self.headers = headers or {}


class HTTPError(Exception):
    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.response = Response(status, headers)


class ClientError(Exception):
    """As botocore raises it."""

    __module__ = "botocore.exceptions"

    def __init__(self, code: str, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        meta = {"HTTPStatusCode": status, "HTTPHeaders": headers or {}}
        self.response = {"Error": {"Code": code}, "ResponseMetadata": meta}


def named(module: str, name: str, *bases: type[BaseException]) -> type[BaseException]:
    """A class that looks like a library's, without the library."""
    return type(name, bases or (Exception,), {"__module__": module})


CASES = [
    (os_error("ENOSPC"), t.DiskFull, "disk-full"),
    (os_error("EDQUOT"), t.QuotaExceeded, "quota"),
    (os_error("EACCES"), t.PermissionRefused, "permission"),
    (os_error("EPERM"), t.PermissionRefused, "permission"),
    (os_error("EROFS"), t.ReadOnlyFilesystem, "read-only"),
    (os_error("ESTALE"), t.StaleHandle, "stale-handle"),
    (os_error("EMFILE"), t.TooManyFiles, "too-many-files"),
    (os_error("ENOENT"), t.FileMissing, "not-found"),
    (os_error("EISDIR"), t.FilesystemError, "kind-of-file"),
    (os_error("EIO"), t.FilesystemError, "device.errno"),
    (os_error("EAGAIN"), t.TransientError, "busy"),
    (os_error("ECONNREFUSED"), t.Unreachable, "network.unreachable"),
    (os_error("ECONNRESET"), t.TransientError, "network.reset"),
    (ConnectionRefusedError(), t.Unreachable, "connection.refused"),
    (ConnectionError(), t.TransientError, "connection"),
    (TimeoutError(), t.Overloaded, "timeout"),
    (PermissionError(), t.PermissionRefused, "permission.type"),
    (FileNotFoundError(), t.FileMissing, "not-found.type"),
    (MemoryError(), t.OutOfMemory, "memory"),
    (socket.gaierror(-2, "unknown"), t.Unreachable, "dns"),
    (ssl.SSLCertVerificationError(1, "x"), t.SecurityError, "tls.certificate"),
    (ssl.SSLError(1, "x"), t.TransientError, "tls"),
    (sqlite3.OperationalError("database is locked"), t.TransientError, "sqlite.locked"),
    (sqlite3.OperationalError("database or disk is full"), t.DiskFull, "sqlite.full"),
    (sqlite3.DatabaseError("file is not a database"), t.DataIntegrityError, "sqlite.corrupt"),
    (
        sqlite3.OperationalError("attempt to write a readonly database"),
        t.ReadOnlyFilesystem,
        "sqlite.read-only",
    ),
    (sqlite3.IntegrityError("UNIQUE constraint failed"), t.ValidationError, "sqlite.constraint"),
    (zipfile.BadZipFile(), t.CorruptArchive, "archive.corrupt"),
    (tarfile.ReadError(), t.CorruptArchive, "archive.corrupt"),
    (EOFError(), t.TransientError, "connection.ended"),
    (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), t.MalformedData, "data.encoding"),
    (pickle.UnpicklingError(), t.DataIntegrityError, "data.pickle"),
    (ImportError(), t.ConfigurationError, "import"),
    (ValueError(), t.ValidationError, "value"),
    (KeyError(), t.PermanentError, "programming"),
    (RuntimeError(), t.PermanentError, "unknown"),
    (KeyboardInterrupt(), t.PermanentError, "interrupt"),
    (HTTPError(400), t.ValidationError, "http.invalid"),
    (HTTPError(401), t.RecoverableError, "http.unauthorized"),
    (HTTPError(403), t.PermanentError, "http.client-error"),
    (HTTPError(404), t.PermanentError, "http.client-error"),
    (HTTPError(408), t.Overloaded, "http.overloaded"),
    (HTTPError(429), t.RateLimited, "http.rate-limited"),
    (HTTPError(500), t.TransientError, "http.server-error"),
    (HTTPError(501), t.PermanentError, "http.unsupported"),
    (HTTPError(503), t.Overloaded, "http.overloaded"),
    (HTTPError(503, {"Retry-After": "1"}), t.RateLimited, "http.retry-after"),
    (HTTPError(505), t.ServiceVersionMismatch, "http.version"),
    (HTTPError(507), t.ResourceError, "http.storage-full"),
    (ClientError("SlowDown", 503), t.RateLimited, "aws.throttled"),
    (ClientError("SignatureDoesNotMatch", 403), t.ConfigurationError, "aws.credentials"),
    (ClientError("ExpiredToken", 400), t.RecoverableError, "aws.expired"),
    (ClientError("NoSuchKey", 404), t.PermanentError, "http.client-error"),
    (named("requests.exceptions", "ConnectTimeout")(), t.Unreachable, "requests.connect"),
    (named("requests.exceptions", "ReadTimeout")(), t.Overloaded, "requests.read"),
    (named("requests.exceptions", "ConnectionError")(), t.Unreachable, "requests.connection"),
    (named("httpx", "ConnectError")(), t.Unreachable, "httpx.connect"),
    (named("httpx", "ReadTimeout")(), t.Overloaded, "httpx.read"),
    (named("aiohttp.client_exceptions", "ServerDisconnectedError")(), t.TransientError, "aiohttp.broken"),
    (named("botocore.exceptions", "NoCredentialsError")(), t.ConfigurationError, "botocore.credentials"),
    (named("mine", "Sub", named("httpx", "ReadTimeout"))(), t.Overloaded, "httpx.read"),
    (subprocess.CalledProcessError(137, "x"), t.OutOfMemory, "exit.killed"),
    (subprocess.CalledProcessError(-9, "x"), t.OutOfMemory, "exit.killed"),
    (subprocess.CalledProcessError(124, "x"), t.Overloaded, "exit.timeout"),
    (subprocess.CalledProcessError(1, "x"), t.ConfigurationError, "exit.usage"),
    (subprocess.CalledProcessError(2, "x"), t.ConfigurationError, "exit.usage"),
    (subprocess.CalledProcessError(143, "x"), t.TransientError, "exit.terminated"),
    (subprocess.CalledProcessError(-11, "x"), t.PermanentError, "exit.crashed"),
    (subprocess.CalledProcessError(42, "x"), t.PermanentError, "exit.other"),
    (subprocess.CalledProcessError(1, "x", stderr="No space left on device"), t.DiskFull, "stderr.disk-full"),
    (
        subprocess.CalledProcessError(1, "x", stderr=b"\xff Connection refused"),
        t.Unreachable,
        "stderr.unreachable",
    ),
    (subprocess.TimeoutExpired("x", 3), t.Overloaded, "process.timeout"),
    (t.CorruptArchive("x"), t.CorruptArchive, "taxonomy"),
]


@pytest.mark.parametrize(("error", "verdict", "rule"), CASES, ids=lambda c: c if isinstance(c, str) else "")
def test_the_built_in_rules(error, verdict, rule):
    """What the field's errors are, and which rule says so."""
    decision = classify(error)
    assert (decision.verdict, decision.rule) == (verdict, rule)
    assert decision.category is verdict.category
    assert decision.retryable is verdict.category.retryable
    assert decision.error_type == type(error).__qualname__


@pytest.mark.parametrize(
    ("evidence", "rule"),
    [
        ({"exit_code": 137}, "exit.killed"),
        ({"exit_code": 124}, "exit.timeout"),
        ({"exit_code": 75}, "exit.try-again"),
        ({"stderr": "slurmstepd: error: Detected 1 oom-kill event"}, "stderr.memory"),
        ({"stderr": "x", "exit_code": 2}, "exit.usage"),
        ({"stderr": "Usage: tool [options]"}, "stderr.usage"),
        ({"exit_code": 0}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_process_without_an_exception(evidence, rule):
    """Exit code and standard error are enough."""
    assert classify(**evidence).rule == rule


def test_the_cause_decides_where_the_error_itself_says_nothing():
    """A vague wrapper around a clear cause is what its cause is; a clear wrapper stays."""
    vague = RuntimeError("upload failed")
    vague.__cause__ = os_error("ENOSPC")
    assert classify(vague).verdict is t.DiskFull
    clear = ValueError("bad")
    clear.__cause__ = ConnectionError()
    assert classify(clear).rule == "value"
    outer = named("requests.exceptions", "ConnectionError")()
    outer.reason = named("urllib3.exceptions", "ReadTimeoutError")()
    assert classify(outer).rule == "urllib3.read"


def test_the_context_counts_unless_it_is_suppressed():
    """``raise … from None`` hides what was there before."""
    outer = RuntimeError()
    outer.__context__ = ConnectionError()
    assert classify(outer).rule == "connection"
    outer.__suppress_context__ = True
    assert classify(outer).rule == "unknown"


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ([ConnectionError(), MemoryError()], t.OutOfMemory),
        ([ConnectionError(), ValueError()], t.ValidationError),
        ([ConnectionError(), RuntimeError()], t.PermanentError),
        ([ConnectionError(), ExceptionGroup("g", [zipfile.BadZipFile()])], t.CorruptArchive),
        ([ConnectionError(), ConnectionError()], t.TransientError),
    ],
)
def test_the_worst_of_a_group_decides(members, verdict):
    """Repeating the call would repeat it."""
    assert classify(ExceptionGroup("g", members)).verdict is verdict


def test_cycles_come_to_an_end():
    """Of causes, and of groups that hang on their own members."""
    one, other = RuntimeError(), RuntimeError()
    one.__cause__, other.__cause__ = other, one
    group = ExceptionGroup("g", [one, other, ConnectionError()])
    other.__cause__ = group
    assert classify(one).rule == "unknown"
    assert len(list(links(one))) == 3
    assert len(leaves(group)) == 3


def test_a_group_shared_by_two_causes_is_judged_for_both():
    """What is known of it counts the second time as well."""
    shared = ExceptionGroup("g", [ConnectionError()])
    one, other = RuntimeError(), RuntimeError()
    one.__cause__ = other.__cause__ = shared
    assert classify(ExceptionGroup("g", [one, other])).verdict is t.TransientError


def test_users_rules_come_first_in_their_order():
    """Before the built-in ones, before the taxonomy, on causes too."""
    mine = Rule(name="mine", verdict=t.RecoverableError, types=(ConnectionError,))
    later = Rule(name="later", verdict=t.SecurityError, types=(OSError,))
    classifier = Classifier([mine, later])
    assert classifier.classify(ConnectionError()).rule == "mine"
    assert classifier.classify(t.DiskFull("x")).rule == "later"
    outer = ValueError()
    outer.__cause__ = ConnectionError()
    assert classifier.classify(outer).rule == "mine"
    first = Rule(name="first", verdict=t.PermanentError, message="busy")
    wider = classifier.with_rules(first)
    assert wider.classify(ConnectionError("Busy now")).rule == "first"
    assert classifier.classify(ConnectionError("Busy now")).rule == "mine"


@pytest.mark.parametrize(
    ("conditions", "error", "more", "matches"),
    [
        ({"errnos": ("ENOSPC",)}, os_error("ENOSPC"), {}, True),
        ({"errnos": ("ENOSPC",)}, os_error("EIO"), {}, False),
        ({"errnos": ("ENOSPC",), "stages": ("copy",)}, os_error("ENOSPC"), {"stage": "copy"}, True),
        ({"errnos": ("ENOSPC",), "stages": ("copy",)}, os_error("ENOSPC"), {"stage": "read"}, False),
        ({"message": "^no licen[cs]e"}, RuntimeError("No license left"), {}, True),
        ({"stderr": "segfault"}, RuntimeError(), {"stderr": "SEGFAULT at 0"}, True),
        ({"exit_codes": (3,)}, RuntimeError(), {"exit_code": 3}, True),
        ({"statuses": (418, range(520, 530))}, HTTPError(525), {}, True),
        ({"statuses": (418, range(520, 530))}, HTTPError(418), {}, True),
        ({"statuses": (418, range(520, 530))}, HTTPError(530), {}, False),
        ({"codes": ("Mine",)}, ClientError("Mine", 400), {}, True),
        ({"types": ("mine.Err",)}, named("mine", "Err")(), {}, True),
        ({"when": lambda e: e.stage == "x"}, RuntimeError(), {"stage": "x"}, True),
        ({"when": lambda e: e.stage == "x"}, RuntimeError(), {}, False),
    ],
)
def test_every_condition_of_a_rule(conditions, error, more, matches):
    """All that are given must hold."""
    classifier = Classifier([Rule(name="mine", verdict=t.RecoverableError, **conditions)])
    assert (classifier.classify(error, **more).rule == "mine") is matches


def test_patterns_that_are_compiled_late_do_compile():
    """The words of programs are compiled at the first text; a slip there would be seen by users only."""
    late = [rule.stderr for rule in BUILT_IN if isinstance(rule.stderr, Proven)]
    assert len(late) > 30
    assert all(re.compile(pattern, re.IGNORECASE) for pattern in late)
    rule = Rule(name="x", verdict=t.DiskFull, stderr=Proven("("))
    with pytest.raises(re.error):
        Classifier([rule]).classify(subprocess.CalledProcessError(1, "x", stderr="some"))


def test_windows_errors():
    """``winerror`` is looked at where there is one."""
    error = OSError("x")
    error.winerror = 112
    assert classify(error).verdict is t.DiskFull
    mine = Classifier([Rule(name="mine", verdict=t.TransientError, winerrors=(112,))])
    assert mine.classify(error).rule == "mine"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rule(name="x", verdict=t.DiskFull), "at least one condition"),
        (lambda: Rule(name="x", verdict=ValueError, message="y"), "verdict is"),
        (lambda: Rule(name="x", verdict=t.DiskFull, errnos=("ENOSPCE",)), "errno is 'ENOSPCE'"),
        (lambda: Rule(name="x", verdict=t.DiskFull, message="("), "does not compile"),
        (lambda: Rule(name="x", verdict=t.DiskFull, types=(int,)), "types is"),
        (lambda: Classifier(unknown=ValueError), "unknown is"),
        (lambda: Classifier(["x"]), "rule is 'x'"),
    ],
)
def test_rules_that_cannot_be_are_refused(make, message):
    """When they are made, not when the house is on fire."""
    with pytest.raises(UsageError, match=message):
        make()


def test_unknown_errors_are_what_you_say():
    """Permanent by default; whatever you say, a wish to stop the program is not unknown."""
    lenient = Classifier(unknown=t.TransientError)
    assert classify(RuntimeError()) == Decision(t.PermanentError, "unknown", "RuntimeError")
    assert lenient.classify(RuntimeError()).verdict is t.TransientError
    assert lenient.classify(ExceptionGroup("g", [RuntimeError()])).verdict is t.TransientError

    class Stop(BaseException):
        pass

    assert lenient.classify(Stop()).verdict is t.PermanentError


def test_wrap_keeps_the_cause_and_what_is_known():
    """errno, file name and Retry-After go along; an error of the taxonomy stays itself."""
    error = OSError(errno.ENOSPC, "no space", "/data/a")
    wrapped = Classifier().wrap(error, stage="copy", context={"run": 7})
    assert isinstance(wrapped, t.DiskFull)
    assert wrapped.__cause__ is error
    assert (wrapped.errno, wrapped.filename, wrapped.stage) == (errno.ENOSPC, "/data/a", "copy")
    assert wrapped.context == {"run": 7, "rule": "disk-full"}
    assert "no space" in str(wrapped)
    assert Classifier().wrap(wrapped) is wrapped
    limited = Classifier().wrap(HTTPError(429, {"retry-after": "7"}), "slow down")
    assert isinstance(limited, t.RateLimited)
    assert (str(limited), limited.retry_after) == ("slow down", 7.0)


class Hostile(Exception):
    """Everything about it raises."""

    def __str__(self) -> str:
        raise RuntimeError

    response = errno = winerror = status = headers = code = returncode = stderr = reason = retry_after = (
        property(lambda self: 1 / 0)
    )


def test_hostile_errors_are_just_unknown():
    """Properties and texts that raise count as absent."""
    assert classify(Hostile()).rule == "unknown"
    assert Classifier().wrap(Hostile()).message == ""


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("9" * 400, 1e12),
        ("3, 5", 5.0),
        ("5,1.5 , 2", 5.0),
        ("3, soon", None),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 23:13:30 +0100", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        *[
            (text, None)
            for text in ("", "soon", "nan", "inf", "1e3", "²", "Foo, 99 Nov 2023 22:13:30 GMT", None)
        ],
    ],
)
def test_retry_after_headers(header, seconds):
    """Digits, dates with any zone, the past, nonsense."""
    assert parse_retry_after(header, 1_700_000_000.0) == seconds


def test_a_date_is_compared_with_the_servers_own():
    """A clock that is wrong on this side does not matter then."""
    later, sent = "Tue, 14 Nov 2023 22:13:30 GMT", "Tue, 14 Nov 2023 22:13:25 GMT"
    assert parse_retry_after(later, 0.0, sent) == 5.0
    assert classify(HTTPError(429, {"Retry-After": later, "Date": sent})).retry_after == 5.0
    moment = {"X-RateLimit-Reset": "1700000010", "Date": sent}
    assert classify(HTTPError(429, moment)).retry_after == 5.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit": '"default";r=0;t=25'}, 25.0),
        ({"RateLimit": "default;r=0;t=25"}, 25.0),
        ({"RateLimit": "default;t=25"}, 25.0),
        ({"RateLimit": "default; t=25 ; r=0; pk=:cGE=:"}, 25.0),
        # Of several limits the one that is used up; of several of those, the one that takes longest.
        ({"RateLimit": '"day";r=90;t=9000, "hour";r=0;t=40'}, 40.0),
        ({"RateLimit": '"day";r=0;t=9000,"hour";r=0;t=40'}, 9000.0),
        ({"RateLimit": '"a";r=3;t=7'}, 7.0),
        ({"RateLimit": '"a,b;t=3";r=0;t=7'}, 7.0),
        # When is not said: no longer than the window of its policy.
        ({"RateLimit": '"burst";r=0', "RateLimit-Policy": '"burst";q=10;w=60, "day";q=1000;w=86400'}, 60.0),
        ({"RateLimit": '"burst";r=4', "RateLimit-Policy": '"burst";q=10;w=60'}, None),
        ({"RateLimit-Policy": '"burst";q=10;w=60'}, None),
        # The draft's older form, in one field and in three.
        ({"RateLimit": "limit=100, remaining=0, reset=50"}, 50.0),
        ({"RateLimit-Limit": "100", "RateLimit-Remaining": "0", "RateLimit-Reset": "50"}, 50.0),
        # What it does not understand it leaves alone.
        ({"RateLimit": '"open;r=0;t=25'}, None),
        ({"RateLimit": '"a";r=0;t=soon'}, None),
        ({"RateLimit": ";;;;,,,,"}, None),
        ({"RateLimit": '"a";r=0;t=7', "Retry-After": "3"}, 3.0),
    ],
)
def test_the_fields_of_the_draft_on_rate_limits_are_read(headers, seconds):
    """With a 429 or 403, in each of their forms; ``Retry-After`` says it better where it stands."""
    assert classify(HTTPError(429, headers)).retry_after == seconds
    if "Retry-After" not in headers:
        assert classify(HTTPError(500, headers)).retry_after is None


@pytest.mark.parametrize(
    ("headers", "category"),
    [
        ({"RateLimit": '"a";r=0;t=7'}, "transient"),
        ({"RateLimit": "limit=1, remaining=0"}, "transient"),
        ({"RateLimit-Remaining": "0"}, "transient"),
        ({"X-RateLimit-Remaining": "0"}, "transient"),
        ({"RateLimit": '"a";r=1;t=7'}, "permanent"),
        ({"RateLimit-Remaining": "10"}, "permanent"),
    ],
)
def test_a_refusal_with_nothing_left_is_a_limit(headers, category):
    """A 403 is for good, unless it says that the allowance is used up."""
    assert classify(HTTPError(403, headers)).category == category


def test_a_long_list_of_limits_costs_little():
    """Hostile headers are read in linear time, and only so far."""
    begun = time.monotonic()
    for text in ('"a";r=0;t=5,' * 50_000, '"' * 100_000, ";r=0" * 50_000, "a;" * 50_000):
        classify(HTTPError(429, {"RateLimit": text, "RateLimit-Policy": text}))
    assert time.monotonic() - begun < 2


def test_of_a_header_that_stands_twice_the_longest_wait_counts():
    """urllib3 lists both, and the last one must not hide the first."""
    headers = pytest.importorskip("urllib3").HTTPHeaderDict([("Retry-After", "9"), ("Retry-After", "3")])
    assert classify(HTTPError(429, headers)).retry_after == 9.0


@given(st.text())
def test_no_header_is_too_strange(text):
    """Whatever it is, the answer is a number of seconds or none."""
    seconds = parse_retry_after(text, 0.0)
    assert seconds is None or 0 <= seconds <= 1e12


def test_long_texts_are_read_from_their_end():
    """A program says at the end why it failed, and patterns must not crawl over megabytes."""
    begun = time.monotonic()
    text = "a" * 5_000_000 + " No space left on device"
    assert classify(stderr=text).rule == "stderr.disk-full"
    assert classify(stderr="No space left on device" + "a" * 20_000).rule == "unknown"
    assert time.monotonic() - begun < 2
    assert len(Symptoms(RuntimeError("x" * 50_000)).message) == 10_000


def test_rules_have_names_of_their_own_and_can_be_pickled():
    """A rule is found by its name, and travels to a worker with its policy."""
    tables = [load(module) for module in set(HOMES.values())]
    shared = {rule for rule in load("psycopg").rules if rule.name.startswith("postgres.")}
    own = [rule for table in tables for rule in (*table.rules, *table.vague) if rule not in shared]
    names = [rule.name for rule in (*INTERRUPTS, *BUILT_IN, *shared, *own)]
    assert len(set(names)) == len(names)
    rule = Rule(name="mine", verdict=t.DiskFull, errnos=("ENOSPC",), message="x")
    copy = pickle.loads(pickle.dumps(rule))
    assert copy == rule
    classifier = pickle.loads(pickle.dumps(Classifier([rule], unknown=t.TransientError)))
    assert classifier.classify(OSError(errno.ENOSPC, "x")).rule == "mine"
