"""The classifier against errors of real libraries, with the category that an operator would give them."""

from __future__ import annotations

import errno
import http
import sys
from collections import Counter

import pytest
from known_errors import cases
from known_errors.case import found, made

from chaoskit.runtime import classify
from chaoskit.runtime.failures.index import HOMES, load
from chaoskit.runtime.failures.library import Library

ALL = cases()
TABLES = [load(module) for module in dict.fromkeys(HOMES.values())]
# What cannot be had from a package alone, or is the same under another name; judged by the classes' names.
NOT_INSTALLED = {
    *("boto3", "s3transfer", "psycopg2", "psycopg_pool", "MySQLdb", "mysql", "asyncmy", "valkey", "aiokafka"),
    *("cimpl", "opensearchpy", "aiosmtplib", "joblib", "loky", "h2"),
}


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_the_category_is_the_operators(case):
    """An error gets the category that a person would give it, for the reason that is written beside it."""
    decision = classify(case.build())
    assert decision.category == case.category, f"{decision.rule}, but {case.why}"


def test_there_are_cases_for_every_category():
    """The table is large, and no category is left to chance."""
    count = Counter(case.category for case in ALL)
    assert len(ALL) >= 800
    assert len(count) == 8
    assert min(count.values()) >= 10


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_class_that_a_rule_names_is_there(table: Library):
    """A rule for a class that the library does not have would never be asked: a typing error shows here."""
    named = {one for rule in (*table.rules, *table.vague) for one in rule.types if isinstance(one, str)}
    missing = {one for one in named if one.partition(".")[0] not in NOT_INSTALLED and not found(one)}
    packages = {one.partition(".")[0] for one in missing}
    absent = {name for name in packages if not _importable(name)}
    if absent and sys.version_info >= (3, 15):
        pytest.skip(f"not to be had on this Python: {', '.join(sorted(absent))}")
    # Older and newer versions of one library, or of Python.
    assert missing - OTHER_VERSIONS == set()


# Both spellings of a Kafka class are named, since its clients differ; and what newer Pythons bring.
OTHER_VERSIONS = {
    one
    for table in TABLES
    for rule in (*table.rules, *table.vague)
    for one in rule.types
    if isinstance(one, str)
    and (
        one.startswith(
            ("kafka.", "queue.ShutDown", "asyncio.queues.QueueShutDown", "concurrent.futures.interpreter")
        )
        or one in {"httpcore.UnsupportedProtocol", "pickle.PicklingError"}
    )
}


def _importable(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def test_every_errno_has_a_rule_of_its_own():
    """No errno of this platform is left to the rule for what is not known."""
    left = {
        name
        for number, name in errno.errorcode.items()
        if classify(OSError(number, "x")).rule == "filesystem"
    }
    assert left == set()
    assert classify(OSError(99_999, "x")).rule == "filesystem"


def test_every_registered_status_is_judged():
    """Each HTTP status of an error has a category; only those that a client may repeat are retried."""
    retryable = {
        int(status)
        for status in http.HTTPStatus
        if status >= 400 and classify(made("x.E", status=int(status))).retryable
    }
    assert retryable == {408, 421, 423, 425, 429, 500, 502, 503, 504, 507}


def test_botocores_own_retries_are_retried():
    """Every code that botocore repeats, by its data and by its code, is retryable here."""
    pytest.importorskip("botocore")
    import json
    from importlib.resources import files

    from botocore.exceptions import ClientError
    from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

    codes = {
        *ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
        *TransientRetryableChecker._TRANSIENT_ERROR_CODES,
    }
    data = json.loads(files("botocore").joinpath("data/_retry.json").read_text())
    for policy in (*data["definitions"].values(), *_policies(data["retry"])):
        codes.add(policy.get("applies_when", {}).get("response", {}).get("service_error_code"))
    # A wrong checksum is repeated by botocore, since it knows that it was its own upload; here it is data.
    codes -= {None, "BadDigest"}
    assert len(codes) > 15
    left = {
        code
        for code in codes
        if not classify(
            ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "x")
        ).retryable
    }
    assert left == set()


def _policies(retry):
    services = [service.get("__default__", service) for service in retry.values()]
    return [policy for service in services for policy in service.get("policies", {}).values()]


def test_kafkas_own_flag_is_obeyed():
    """What kafka-python calls retriable is retryable here, and what it does not is so only with a reason."""
    if not found("kafka.errors.KafkaError"):
        pytest.skip("kafka-python is not installed")
    import kafka.errors as errors

    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.KafkaError)
    ]
    assert len(kinds) > 100
    assert {
        kind.__name__ for kind in kinds if kind.retriable and not classify(kind.__new__(kind)).retryable
    } == set()
    more = {kind.__name__ for kind in kinds if not kind.retriable and classify(kind.__new__(kind)).retryable}
    # The consumer itself answers the first by joining again; the others say that something is away or full.
    joins = {
        "RebalanceInProgressError",
        "IllegalGenerationError",
        "UnknownMemberIdError",
        "MemberIdRequiredError",
    }
    assert more <= joins | {"StaleMemberEpochError", "BrokerNotAvailableError", "QuotaViolationError"}


def test_pymongos_own_codes_are_retried():
    """Every code that PyMongo repeats is retryable here."""
    shared = pytest.importorskip("pymongo.helpers_shared")
    from pymongo.errors import OperationFailure

    codes = shared._RETRYABLE_ERROR_CODES
    assert len(codes) > 10
    assert {code for code in codes if not classify(OperationFailure("x", code)).retryable} == set()


def test_every_sqlstate_has_a_rule():
    """No code that psycopg knows is left to the vague rules, in either driver's classes."""
    errors = pytest.importorskip("psycopg.errors")
    codes = errors._sqlcodes
    rules = {code: classify(kind("x")).rule for code, kind in codes.items()}
    assert len(rules) > 200
    assert {code for code, rule in rules.items() if not rule.startswith("postgres.")} == set()
    asyncpg = pytest.importorskip("asyncpg.exceptions")
    kinds = [
        kind
        for kind in vars(asyncpg).values()
        if isinstance(kind, type)
        and issubclass(kind, asyncpg.PostgresError)
        and len(kind.sqlstate or "") == 5
    ]
    assert len(kinds) > 200
    assert {kind.__name__ for kind in kinds if classify(kind("x")).rule == "unknown"} == set()


def test_amqps_own_classes_are_obeyed():
    """What py-amqp calls irrecoverable is never retried; what it calls recoverable is, unless too large."""
    errors = pytest.importorskip("amqp.exceptions")
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.AMQPError)
    ]
    final = (errors.IrrecoverableConnectionError, errors.IrrecoverableChannelError)
    assert {
        kind.__name__ for kind in kinds if issubclass(kind, final) and classify(kind()).retryable
    } == set()
    passing = (errors.RecoverableConnectionError, errors.RecoverableChannelError)
    kept = {kind.__name__ for kind in kinds if issubclass(kind, passing) and not classify(kind()).retryable}
    assert kept == {"ContentTooLarge"}


def test_every_status_of_grpc_is_judged():
    """Each code but OK has a rule, and only those that mean a passing trouble are retried."""
    grpc = pytest.importorskip("grpc")

    class Call(grpc.RpcError):
        def __init__(self, status):
            self.status = status

        def code(self):
            return self.status

    decisions = {status.name: classify(Call(status)) for status in grpc.StatusCode if status.name != "OK"}
    assert {name for name, decision in decisions.items() if decision.rule == "unknown"} == set()
    retried = {name for name, decision in decisions.items() if decision.retryable}
    assert retried == {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}


@pytest.mark.parametrize("library", ["trio", "anyio", "h11", "httpcore"])
def test_no_error_of_an_event_loop_or_protocol_is_unknown(library):
    """Whatever these libraries raise has a rule; what a later version adds shows here."""
    module = pytest.importorskip(library)
    kinds = [
        kind
        for name in dir(module)
        if isinstance(kind := getattr(module, name), type)
        and issubclass(kind, BaseException)
        # A base that h11 never raises.
        and not (issubclass(kind, Warning) or (library, name) == ("h11", "ProtocolError"))
    ]
    assert kinds
    left = {
        kind.__name__ for kind in kinds if classify(kind.__new__(kind)).rule in ("unknown", "programming")
    }
    assert left == set()


def test_every_rule_says_why():
    """The table in the documents has a reason in every row."""
    from chaoskit.runtime.failures.built_in import BUILT_IN, INTERRUPTS

    rules = [*INTERRUPTS, *BUILT_IN, *(rule for table in TABLES for rule in (*table.rules, *table.vague))]
    assert [rule.name for rule in rules if not rule.why] == []
    assert all(table.source for table in TABLES)
