"""The durable half and the settings refuse what can never work where it is given, as the policies do.

A store, a log or a checkpoint is opened once and used for hours, and a settings record that code has made is
turned into its strategy later: the error has to come before that, and name the parameter.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from test_wrong_kinds import ELSEWHERE, NUMBERS, _names, told, wrong_ones

from chaoskit import runtime
from chaoskit.runtime import (
    BudgetSettings,
    Category,
    Checkpoints,
    DeadLetterSettings,
    EmailSettings,
    Event,
    QualityMetric,
    RecoverySettings,
    RecoveryStep,
    RetrySettings,
    RuntimeSettings,
    Store,
    UsageError,
    WaitSettings,
    write_file,
)
from chaoskit.runtime.exports import EXPORTS

SETTINGS: dict[str, dict[str, Any]] = {
    "BudgetSettings": {},
    "BulkheadSettings": {"limit": 1},
    "CelerySettings": {},
    "DeadLetterSettings": {},
    "DeadlineSettings": {"seconds": 1},
    "DiskNeed": {"path": "x", "size": 1},
    "EmailSettings": {"host": "h", "sender": "a@b.c", "recipients": ("d@e.f",)},
    "FallbackSettings": {},
    "GateSettings": {"metrics": (QualityMetric("a", minimum=1),)},
    "HealthSettings": {},
    "LastGoodSettings": {"max_age": 1},
    "LogSettings": {},
    "ManagerSettings": {},
    "MemorySettings": {"batch": 5},
    "MonitorSettings": {},
    "NotificationSettings": {},
    "PreflightSettings": {},
    "QueueAgeSettings": {},
    "QuotaSettings": {"concurrency": 1},
    "RateLimitSettings": {"calls": 1},
    "RateSettings": {"calls": 1},
    "RecoverySettings": {},
    "RetrySettings": {"on": (OSError,)},
    "RuntimeSettings": {},
    "StagingNeed": {"path": "x", "size": 1},
    "ThrottleSettings": {},
    "TimeoutSettings": {"seconds": 1},
    "WaitSettings": {},
    "WebhookSettings": {"url": "http://x/"},
    "live_settings": {},
    "read_settings": {},
}
"""The least arguments of each record of settings, and of what reads them."""


STORE, CHECKPOINTS = object(), object()
"""Stand for what is open while a test runs."""

MADE: dict[str, dict[str, Any]] = {
    "AppendLog": {"path": "log"},
    "AtomicStage": {"name": "n", "store": STORE},
    "Checkpoints": {"target": STORE},
    "Checksum": {"text": "sha256:x"},
    "DeadLetters": {"store": STORE},
    "Flag": {"path": "flag"},
    "Kind": {"name": "k"},
    "Outbox": {"store": STORE},
    "S3Target": {"client": object(), "bucket": "b", "prefix": "p"},
    "SignedPickle": {"key": b"k" * 32},
    "Snapshots": {"directory": "snapshots"},
    "Stages": {"checkpoints": CHECKPOINTS, "job": "j", "names": ["a"]},
    "StateCodec": {},
    "StoredBreakers": {"store": STORE},
    "StoredRetries": {"store": STORE},
    "TransactionReader": {"target": "target"},
    "clean_leftovers": {"directory": "."},
    "database_transaction": {"connection": object()},
    "make_directories": {"path": "made"},
    "open_atomic": {"path": "opened"},
    "publish_directory": {"target": "published"},
    "read_log": {"path": "log"},
    "recover_transactions": {"target": "target"},
    "write_file": {"path": "written", "data": b"x"},
    "Store.open": {"target": "other.db"},
    "Transaction.local": {"target": "target"},
    "Transaction.s3": {"client": object(), "bucket": "b", "prefix": "p"},
}
"""What users make of the durable half, and its least arguments."""


PATHS = (None, object(), 3, Path)
ALSO: dict[str, tuple[object, ...]] = {
    "Checkpoints.target": (None, object(), 3, [], Store),
    "Checkpoints.base": (object(), 3, [], Path),
    "Store.open.target": PATHS,
    "RetrySettings.attempts": ("x", 0, True, 1.5),
    "S3Target.client": (),
    "Transaction.s3.client": (),
    "open_atomic.validate": (object(), "x", 3),
    "publish_directory.validate": (object(), "x", 3),
    "write_file.validate": (object(), "x", 3),
    "write_file.data": (None, object(), 3, [], False),
    "read_settings.file": PATHS[1:],
    "live_settings.file": PATHS[1:],
    "read_settings.code": (object(), "x", 3, ["x"]),
    "read_settings.environment": (object(), "x", 3, ["x"]),
    "database_transaction.attempts": (None, 0, *NUMBERS),
}
"""Parameters that take more, or less, than their annotation says."""

HANDED_OUT = _names(
    "Artefact CheckpointBatch CheckpointRecord CheckpointStatistics CheckpointVerification Claim Fingerprint "
    "DeadLetter DeadLetterStatistics RedrivePlan FlagInfo OutboxMessage SnapshotInfo DamagedRecord Page "
    "Record Statistics VerifyReport TransactionFiles TransactionRecovery TransactionMember "
    "TransactionReceipt ConfiguredStrategies Durability"
)
"""Records of what is stored, and what other objects make: users get them, and make none."""


def use(made: Callable[..., Any], kwargs: dict[str, Any]) -> str:
    """The message of the error that it gives; a block or a generator checks its arguments when it begins."""
    try:
        found = made(**kwargs)
        if isinstance(found, contextlib._GeneratorContextManager):
            found.__enter__()
        elif inspect.isgenerator(found):
            next(found, None)
    except UsageError as error:
        return str(error)
    return "it was accepted"


def parameters(made: Callable[..., Any], name: str) -> Iterator[tuple[inspect.Parameter, tuple[object, ...]]]:
    for one in inspect.signature(made).parameters.values():
        if one.kind is not one.VAR_KEYWORD:
            said = f"{name}.{one.name}"
            yield one, ALSO[said] if said in ALSO else wrong_ones(said, str(one.annotation))


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_settings_of_the_wrong_kind_are_refused(name: str) -> None:
    """Also where code makes the record, and not a file."""
    made = getattr(runtime, name)
    made(**SETTINGS[name])
    for one, bad in parameters(made, name):
        for wrong in bad:
            kwargs = {**SETTINGS[name], one.name: wrong}
            assert "; expected " in told(lambda: made(**kwargs)), f"{one}: {wrong!r}"  # noqa: B023


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("store") / "s.db", durability="memory") as opened:
        yield opened


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_value_of_the_wrong_kind_is_refused(
    name: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an error of wrong use that says what was expected, before anything is written."""
    monkeypatch.chdir(tmp_path)
    opened = {id(STORE): store, id(CHECKPOINTS): Checkpoints(store)}
    least = {key: opened.get(id(value), value) for key, value in MADE[name].items()}
    made: Any = runtime
    for part in name.split("."):
        made = getattr(made, part)
    for one, bad in parameters(made, name):
        for wrong in bad:
            assert "; expected " in use(made, {**least, one.name: wrong}), f"{one}: {wrong!r}"
    assert list(tmp_path.iterdir()) == []


def test_everything_of_the_durable_half_and_of_the_settings_is_in_the_tables() -> None:
    """A new class or function belongs there, or says why it does not."""
    known = {*SETTINGS, *HANDED_OUT, *(name.partition(".")[0] for name in MADE)}
    untold = []
    for module, names in EXPORTS.items():
        if module.startswith(ELSEWHERE) and not module.startswith(("core", "failures")):
            for name in set(names.split()) - known:
                value = getattr(runtime, name)
                record = inspect.isclass(value) and issubclass(value, (Event, BaseException, enum.Enum))
                if not record and not getattr(value, "_is_protocol", False):
                    untold.append(name)
    assert untold == []


def test_a_record_that_code_makes_has_the_values_that_a_file_would_give_it() -> None:
    """Lists become tuples, names become members, units are read; infinity and other numbers are accepted."""
    assert DeadLetterSettings(keep="90d") == DeadLetterSettings(keep=90 * 86400.0)  # type: ignore[arg-type]
    assert EmailSettings("h", "a@b.c", ["d@e.f"]).recipients == ("d@e.f",)  # type: ignore[arg-type]
    step = RecoverySettings({"transient": "skip"}).by["transient"]  # type: ignore[dict-item]
    assert step is RecoveryStep.SKIP
    assert RetrySettings(["transient"]).on == (Category.TRANSIENT,)  # type: ignore[arg-type]
    assert DeadLetterSettings(keep=math.inf).keep == math.inf
    assert BudgetSettings(ratio=Fraction(1, 4)).ratio == 0.25  # type: ignore[arg-type]
    wait = WaitSettings(initial=1)
    assert RuntimeSettings(retry={"a": RetrySettings((OSError,), wait=wait)}).retry["a"].wait is wait


def test_the_error_says_where_in_a_table_the_value_stands_and_what_to_make() -> None:
    """A group has many entries, and a plain dict in the place of a record is the usual mistake."""
    with pytest.raises(
        UsageError, match=r"^retry\['a'\] is \{\}; expected .* Make one: RetrySettings\(\.\.\.\)"
    ):
        RuntimeSettings(retry={"a": {}})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match=r"a name in retry is 3 \(int\); expected a text"):
        RuntimeSettings(retry={3: RetrySettings((OSError,))})  # type: ignore[dict-item]


def test_a_secret_of_the_wrong_kind_is_not_shown() -> None:
    """Its error goes into logs."""
    with pytest.raises(UsageError, match="password is a value that is not shown; expected text") as refused:
        EmailSettings("h", "a@b.c", ("d@e.f",), password=b"hunter2")  # type: ignore[arg-type]
    assert "hunter2" not in str(refused.value)


def test_a_buffer_of_another_library_is_data(tmp_path: Path) -> None:
    """What has the bytes is asked of the object, not of its class."""
    array = pytest.importorskip("array").array("b", b"abc")
    write_file(tmp_path / "a", array, durability="memory")
    assert (tmp_path / "a").read_bytes() == b"abc"


@pytest.mark.parametrize("options", [{"max_redrives": math.inf}, {"keep": -math.inf}])
def test_infinity_is_no_count_and_has_a_sign(options: dict[str, Any]) -> None:
    """It is accepted only where it is a number within the bounds."""
    with pytest.raises(UsageError, match=r"inf; expected "):
        DeadLetterSettings(**options)


def test_what_a_group_holds_is_said() -> None:
    """In the words of a configuration."""
    with pytest.raises(
        UsageError, match=r"a dict whose values are each a table of options \(RetrySettings\)"
    ):
        RuntimeSettings(retry=[])  # type: ignore[arg-type]
