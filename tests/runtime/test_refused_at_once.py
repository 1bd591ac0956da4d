"""What a newcomer gets wrong is told at once, before anything was changed, lost or called a success."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.runtime import (
    Agree,
    Checkpoints,
    Consistency,
    CorruptArchive,
    DeadLetters,
    FileExists,
    NoOrphans,
    NotStuck,
    Outbox,
    Preflight,
    QualityGate,
    QualityMetric,
    Quota,
    RecoveryManager,
    SetColumns,
    Stages,
    Store,
    Transaction,
    UsageError,
    extract,
    inspect_archive,
)
from chaoskit.runtime.durable.store.protocol import Kind, Tx

ROWS = {"rows": lambda: [{"id": 1, "status": "running", "updated": 0}]}


async def later(*_: object) -> bool:
    """Does nothing until it is awaited, which these callers never do."""
    raise AssertionError("it was run")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s.db", durability="memory", reserve=0) as store:
        yield store


def run_stage(store: Store) -> None:
    with Checkpoints(store) as checkpoints:
        Stages(checkpoints, "job", ["a"]).run("a", later)


def bury_a_text(store: Store) -> None:
    DeadLetters(store).add(pipeline="p", run_id="r", error="text", payload=1, attempts=1, history=[])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda store: Outbox(store).relay(later), "send is"),
        (lambda store: Outbox(store).relay(None), "send is"),
        (lambda store: store.write(later), "work is .* returned a coroutine"),
        (run_stage, "the function of a stage is"),
        (lambda store: Stages(Checkpoints(store), "job", "abc"), "names is 'abc'"),
        (lambda store: Checkpoints(store).batch("abc"), r"keys is 'abc' .* \['abc'\]"),
        (bury_a_text, "error is 'text' .* expected an exception"),
    ],
    ids=["relay", "no relay", "write", "stage", "stages in a text", "batch of a text", "letter of a text"],
)
def test_what_would_be_taken_for_done_is_refused(
    store: Store, use: Callable[[Store], object], said: str
) -> None:
    """An async function whose call does nothing, and a text where several names are expected."""
    with store.transaction() as tx:
        Outbox(store).put("topic", 1, key="k", tx=tx)
    with pytest.raises(UsageError, match=said):
        use(store)
    assert [one.key for one in Outbox(store).pending()] == ["k"]
    assert Checkpoints(store).statistics().by_status == {}


def test_a_send_that_turns_out_to_be_async_loses_no_message(store: Store) -> None:
    """A lambda around an async function is known when it is called: the message stays, with the reason."""
    with store.transaction() as tx:
        Outbox(store).put("topic", 1, key="k", tx=tx)
    assert Outbox(store).relay(lambda message: later(message)) == 0
    [waiting] = Outbox(store).pending()
    assert "expected a synchronous function" in waiting.error


def test_work_that_turns_out_to_be_async_changes_nothing(store: Store) -> None:
    """Neither what it would have done nor what it did before."""

    def work(tx: Tx) -> object:
        tx.put(Kind("job"), "a", 1, status="done")
        return later()

    with pytest.raises(UsageError, match="returned a coroutine"):
        store.write(work)
    assert store.count(Kind("job")) == {}


def test_a_claim_goes_on_after_a_wrong_end(store: Store) -> None:
    """A single path instead of a list, and a text instead of an error: the step is as it was."""
    with Checkpoints(store) as checkpoints:
        claim = checkpoints.claim("a")
        assert claim is not None
        with pytest.raises(UsageError, match=r"artefacts is 'out.txt' .* \['out.txt'\]"):
            claim.complete(artefacts="out.txt")
        with pytest.raises(UsageError, match="expected an exception"):
            claim.fail("text")  # type: ignore[arg-type]
        claim.complete(1)
        assert checkpoints.load("a") == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NoOrphans("rows", of=[]), "at least one pair"),
        (lambda: NotStuck("rows", longer_than=-1), "at least 0"),
        (lambda: NotStuck("rows", longer_than=1, statuses="running"), r"such as \['running'\]"),
        (lambda: SetColumns({}), "at least one column"),
        (lambda: Consistency(ROWS, ["rows"]), "expected a rule"),
        (lambda: Consistency(ROWS, [NotStuck("rows", longer_than=1, remedy=later)]), "remedy is"),
        (lambda: Quota(1, budgets={"image": 5}), "expected a StageBudget"),
        (lambda: Preflight(disk={"out": "2GB"}), "expected zero or more. Bytes are a number"),
        (lambda: Preflight(disk=["out"]), "a mapping of paths to bytes"),
        (lambda: QualityGate("gate", "noise"), "expected QualityMetrics in a list"),
        (lambda: RecoveryManager({"transient": print}), "a Category or a class of exceptions"),
        (lambda: extract("a.zip", "out", limits={"members": 1}), "expected ArchiveLimits"),
        (lambda: extract("a.zip", "out", manifest="a"), "expected a Manifest"),
    ],
)
def test_what_could_not_work_is_refused_when_it_is_made(make: Callable[[], object], said: str) -> None:
    """And says what was expected."""
    with pytest.raises(UsageError, match=said):
        make()


@pytest.mark.parametrize(
    "rule",
    [
        NotStuck("rows", longer_than=1, status="state"),
        NotStuck("rows", longer_than=1, since="changed"),
        NoOrphans("files", of=[("rows", "file")], remedy=lambda found: True),
        NoOrphans("files", of=[("rows", "id")], column="name"),
        Agree("rows", "files", columns=[("state", "path")], on=("id", "id")),
        FileExists("rows", "."),
    ],
    ids=lambda rule: f"{type(rule).__name__}",
)
def test_a_column_that_no_row_has_gives_no_verdict(rule: Any) -> None:
    """A slip in its name would find nothing, or call every file an orphan and put it into quarantine."""
    subject = Consistency({**ROWS, "files": lambda: [{"id": 1, "path": "a"}]}, [rule])
    report = subject.check()
    assert report.disagreements == () or rule.source in report.unread
    assert "no row has the column" in str(report.unread)
    assert not report.ok
    assert subject.repair(report, dry_run=False).repaired == ()


def test_rows_may_differ_in_their_columns() -> None:
    """It is enough that one of them has it; and where there are no rows nothing is missing."""
    rows = [{"id": 1}, {"id": 2, "status": "running", "updated": 0}]
    found = Consistency({"rows": lambda: rows}, [NotStuck("rows", longer_than=1)]).check()
    assert (found.counts(), found.unread) == ({"stuck": 1}, {})
    assert Consistency({"rows": list}, [NotStuck("rows", longer_than=1)]).check().ok


def test_a_repair_of_nothing_known_is_refused() -> None:
    """Chosen by a name with a slip in it nothing would be repaired, which looks like success."""
    subject = Consistency(ROWS, [NotStuck("rows", longer_than=1, remedy=lambda found: True)])
    report = subject.check()
    for only in (["stuk"], "stuck"):
        with pytest.raises(UsageError, match="names in a list, of NotStuck, mismatched, missing"):
            subject.repair(report, only=only)
    for name in ("stuck", "rows", "NotStuck"):
        assert len(subject.repair(report, only=[name]).repaired) == 1


def test_a_metric_that_is_no_number_fails_alone() -> None:
    """Whatever a tool has written: it is a finding of the gate, and the others are judged."""
    gate = QualityGate("gate", [QualityMetric("a", minimum=1), QualityMetric("b", minimum=1)])
    result = gate.judge({"a": "5", "b": 0.5})  # type: ignore[dict-item]
    assert [str(one) for one in result.failures] == [
        "a: '5' (str) is not a number",
        "b: 0.5; expected at least 1",
    ]


def test_an_archive_that_is_refused_is_named(tmp_path: Path) -> None:
    """One of thousands: the message alone says which."""
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"no archive")
    for use in (lambda: extract(bad, tmp_path / "out"), lambda: inspect_archive(bad)):
        with pytest.raises(CorruptArchive, match=r"bad\.zip: it is neither a zip nor a tar"):
            use()
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("../outside", "1")
    with pytest.raises(Exception, match=r"bad\.zip: .*outside"):
        extract(bad, tmp_path / "out")


def test_a_transaction_completes_claims_only(tmp_path: Path) -> None:
    """What is none is told before the decision: nothing was committed."""
    with Transaction.local(tmp_path / "out", id="a") as tx:
        tx.add("a", "1")
        with pytest.raises(UsageError, match="complete is 'claim'"):
            tx.commit(complete="claim")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_everything_can_be_imported_at_once_without_the_extras(tmp_path: Path) -> None:
    """A star leaves out what needs a package that is not there; its name says which."""
    code = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'httpx' else find(name, *a)\n"
        "sys.modules['httpx'] = None\n"
        "from chaoskit.runtime import *\n"
        "assert 'retry' in globals() and 'RetryingAdapter' in globals()\n"
        "assert 'RetryingTransport' not in globals()\n"
        "import chaoskit.runtime as r\n"
        "assert 'RetryingTransport' in dir(r)\n"
        "try: r.RetryingTransport\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "chaoskit[httpx]" in done.stdout
