"""The ingest under everything that can go wrong around it; ``world.check`` has what must hold."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from amazon import SMALL, served
from budgets import at_length, bounded, planted
from planting import Planted, Shown, missed
from postgres import new_schema, running_postgres
from rare import breaker_states

pytest.importorskip("pyarrow")

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import (
    Checkpoints,
    PartialFailure,
    ResilienceError,
    Shutdown,
    Store,
    StoredBreakers,
    Transaction,
    classify,
)
from chaoskit.runtime.durable.transactions.objects import store as parts_of_s3
from scenarios.ingest import __main__ as command
from scenarios.ingest import program, settings, targets, world

TIMEOUT = 120
"""Seconds of the machine; those of the ingest cost nothing."""
# The check is one function: test_killed_at_any_point tries it on spoiled states, the others do without
# (oracle="off").
TRAFFIC = faults.network().on(call=["http", "connect"]) | faults.http().aws("s3")
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def amazon() -> Iterator[int]:
    """The port of a server that speaks as S3 does, for this module."""
    with served() as port:
        yield port


def ends_well(chaos: Chaos, port: int | None = None) -> None:
    """A round that is struck, and the next day, which brings everything to its end.

    The tables are in the bucket of the server at ``port``, or in a directory.
    """
    here = world.started(chaos, port)
    chaos.run(world.work, here)
    world.check(here)
    here.write(world.SECOND)
    chaos.recover(world.next_day, here)
    world.check(here, settled=world.SECOND)


@scenario(TRAFFIC, budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_the_object_store_is_in_trouble(chaos: Chaos, amazon: int) -> None:
    """Refused, timed out, reset, throttled, half an answer: every table is whole, at last the new one."""
    ends_well(chaos, amazon)


DOWN = faults.network().thorough().on(call="connect").only("ECONNREFUSED[persistent]")


@at_length
@scenario(DOWN, budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_the_object_store_is_down(chaos: Chaos, amazon: int) -> None:
    """Whatever the breaker rejects is held against no file: when the store is back everything is ingested."""
    ends_well(chaos, amazon)


@scenario(
    faults.network().only("reset", "eof").on(call="http"), budget=bounded(4), timeout=TIMEOUT, oracle="off"
)
def test_a_large_upload_breaks_off(chaos: Chaos, amazon: int, monkeypatch: Patch) -> None:
    """Between any two parts of it: what was uploaded is given up, and the table comes whole the next time."""
    monkeypatch.setattr(parts_of_s3, "PART", SMALL)
    monkeypatch.setattr(world, "FIRST", {**world.FIRST, "a": world.LARGE})
    ends_well(chaos, amazon)


@at_length
@scenario(faults.kill(), budget=bounded(4), timeout=TIMEOUT)
def test_killed_at_any_point(chaos: Chaos, amazon: int) -> None:
    """kill -9 around any request and any change of the disk: the next round finishes or undoes it."""
    here = world.started(chaos, amazon)
    chaos.run(world.work, here)
    world.check(here)
    left = world.interrupted(here)
    here.write(world.SECOND)
    chaos.recover(world.next_day, here)
    world.check(here, settled=world.SECOND)
    chaos.sometimes("what a dead process had claimed was brought to its end", left)


@at_length
@scenario(faults.signal("SIGTERM"), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_told_to_stop(chaos: Chaos, amazon: int) -> None:
    """SIGTERM at any call: the file in progress is published or given back, and the exit is in order."""
    here = world.started(chaos, amazon)
    outcome = chaos.run(world.work, here)
    assert outcome.ok, outcome
    world.check(here)
    assert not world.interrupted(here)
    here.write(world.SECOND)
    chaos.recover(world.next_day, here)
    world.check(here, settled=world.SECOND)


@at_length
@scenario(faults.clock(), budget=bounded(2), timeout=TIMEOUT, oracle="off")
def test_the_clock_is_set(chaos: Chaos) -> None:
    """An hour back or ahead, at each line that reads it: no file is lost, or given up, for that."""
    here = world.started(chaos)
    chaos.run(world.work, here)
    world.check(here)
    here.write(world.SECOND)
    chaos.recover(world.another_day, here)
    world.check(here, settled=world.SECOND)


@at_length
@scenario(faults.disk().on(path="state/**"), budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_staging_is_in_trouble(chaos: Chaos, amazon: int) -> None:
    """Full, read-only, broken, while parts are staged: nothing of them is in the bucket."""
    ends_well(chaos, amazon)


@at_length
@scenario(faults.power_loss(), model="strict", budget=bounded(5), timeout=TIMEOUT, oracle="off")
def test_the_power_goes(chaos: Chaos) -> None:
    """With tables in a directory: what is called completed is there, on whatever the disk kept."""
    ends_well(chaos)


@scenario(faults.kill() | faults.disk(), depth=2, budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_trouble_in_the_recovery(chaos: Chaos) -> None:
    """A crash, then another fault in the rounds that recover from it."""
    here = world.started(chaos)
    chaos.run(world.work, here)
    here.write(world.SECOND)
    chaos.run(world.next_day, here)
    chaos.recover(world.next_day, here)
    world.check(here, settled=world.SECOND)


# Two processes race: what one of them does at a point, the other may do in the next run.
@scenario(faults.kill(), budget=bounded(4), timeout=TIMEOUT, allow_inconclusive=0.5, oracle="off")
def test_two_at_once(chaos: Chaos) -> None:
    """Either of them may be killed: each file is ingested by one, and no store is called locked."""
    here = world.started(chaos)
    outcome = chaos.run(world.work_twice, here)
    assert outcome.ok or outcome.faults, outcome.error
    world.check(here)
    chaos.recover(world.next_day, here)
    world.check(here, settled=world.FIRST)


# -- one round, without faults ----------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> world.World:
    """A world whose tables are in a directory."""
    return world.prepared(tmp_path)


def records(here: world.World) -> dict[str, tuple[str, int]]:
    """Status and counted attempts, by file."""
    with Checkpoints(here.path / "state" / "ingest.db", pipeline="ingest") as files:
        found = {name: files.record(name, scope="buoys") for name in world.FIRST}
    return {name: (one.status, one.attempts) for name, one in found.items() if one is not None}


def test_running_twice_changes_nothing(tmp_path: Path, amazon: int) -> None:
    """Not one object is written again, and with a checksum of every input neither."""
    here = world.prepared(tmp_path, amazon)
    straight = f"http://127.0.0.1:{amazon}"
    assert world.work(here, straight) == 1
    before = here.objects()
    assert before
    assert world.work(here, straight) == 0
    with Shutdown(signals=()) as shutdown, program.Ingest(here.configured(straight), shutdown) as ingest:
        ingest.run(verify=True)
    assert here.objects() == before


def test_a_content_that_comes_back_is_published_again(here: world.World) -> None:
    """First one, then another, then the first: the table is that of the third day."""
    for files in (world.FIRST, world.SECOND, {**world.FIRST, "broken": world.SECOND["broken"]}):
        here.write(files)
        world.work(here)
    world.check(here, settled=files)


def test_an_input_that_changes_meanwhile_is_not_published(here: world.World, monkeypatch: Patch) -> None:
    """What was read is neither the content before nor the one after: the next round takes it."""
    monkeypatch.setattr(program, "convert", world.changing(here, program.convert))
    assert world.work(here) == 1
    world.check(here)
    monkeypatch.undo()
    assert world.work(here) == 0
    world.check(here, settled={**world.FIRST, "a": world.SECOND["a"]})


def test_a_directory_that_cannot_be_read_is_not_an_empty_one(here: world.World, monkeypatch: Patch) -> None:
    """It fails with its name, the other models are ingested, and a missing inbox is told as well."""
    other = here.path / "inbox" / "wells"
    other.mkdir()
    scandir, listdir = os.scandir, os.listdir

    def refuse(call: Callable[..., Any]) -> Callable[..., Any]:
        def asked(path: Any = ".") -> Any:
            if isinstance(path, str | Path) and Path(path).name == "wells":
                raise PermissionError(13, "Permission denied", str(path))
            return call(path)

        return asked

    monkeypatch.setattr(os, "scandir", refuse(scandir))
    monkeypatch.setattr(os, "listdir", refuse(listdir))
    with Shutdown(signals=()) as shutdown, program.Ingest(here.configured(), shutdown) as ingest:
        with pytest.raises(PartialFailure) as told:
            ingest.run()
        kinds = [type(error).__name__ for error in told.value.exceptions]
        assert kinds == ["MalformedData", "PermissionError"], told.value.exceptions
        world.check(here, settled=world.FIRST)
        (here.path / "inbox").rename(here.path / "away")
        with pytest.raises(PartialFailure) as told:
            ingest.run()
        assert [error.filename for error in told.value.exceptions] == [str(here.path / "inbox")]


class Forbidding(BaseHTTPRequestHandler):
    """A store that does not know the key."""

    def do_GET(self) -> None:
        body = b"<Error><Code>InvalidAccessKeyId</Code><Message>unknown</Message></Error>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_HEAD = do_DELETE = do_POST = do_GET

    def log_message(self, format: str, *values: object) -> None:
        pass


def test_wrong_credentials_are_no_fault_of_the_files(tmp_path: Path, amazon: int) -> None:
    """Nothing is tried again, no attempt counts, and with the right ones all is well."""
    here = world.prepared(tmp_path, amazon)
    with HTTPServer(("127.0.0.1", 0), Forbidding) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert world.work(here, f"http://127.0.0.1:{server.server_port}") == 1
        finally:
            server.shutdown()
            thread.join()
    assert records(here) == {"a": ("pending", 0), "broken": ("dead", 1), "c": ("pending", 0)}
    assert world.work(here, f"http://127.0.0.1:{amazon}") == 0
    world.check(here, settled=world.FIRST)


def test_the_records_may_be_on_a_server(here: world.World, monkeypatch: Patch) -> None:
    """The same program with its store on PostgreSQL: all files, once."""
    with running_postgres() as server:
        uri = server.uri(new_schema())
        monkeypatch.setitem(world.ENVIRONMENT, "INGEST_STORE", uri)
        assert [world.work(here), world.work(here)] == [1, 0]
        with Store.open(uri) as store, Checkpoints(store, pipeline="ingest") as files:
            assert files.statistics().by_status == {"completed": 2, "dead": 1}


# -- the command ------------------------------------------------------------------------------------------


def test_the_recovery_by_hand(here: world.World, capsys: pytest.CaptureFixture[str]) -> None:
    """List what failed, correct and retry it, clear only when that is confirmed, verify the tables."""

    def said(*words: str) -> tuple[int, str]:
        status = command.main(words, here.configured())
        return status, capsys.readouterr().out

    assert said("run", "--once")[0] == 1
    status, text = said("list-failed")
    assert (status, "buoys/broken: dead, MalformedData" in text, "broken.csv, line 2" in text) == (
        1,
        True,
        True,
    )
    assert said("retry", "buoys/broken")[0] == 1
    assert said("retry", "broken")[0] == 2
    here.write(world.SECOND)
    assert said("retry", "buoys/broken")[0] == 0
    assert said("list-failed") == (0, "")
    assert said("stats") == (0, "completed: 3\n")
    assert said("clear", "--model", "buoys") == (2, "3 would be forgotten; say --confirm to do it\n")
    assert said("verify") == (0, "")
    part = here.path / "tables" / "buoys" / "c" / "2026-11-03.parquet"
    os.chmod(part, 0o644)
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    status, text = said("verify")
    assert (status, text.startswith("buoys/c: ")) == (1, True)
    assert said("clear", "--model", "buoys", "--confirm") == (0, "3 forgotten\n")
    assert said("stats") == (0, "")


def test_the_breaker_is_closed_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator sees that it is open, closes it, and the next process begins at once."""
    here = world.prepared(tmp_path, 1)
    with Shutdown(signals=()) as shutdown, program.Ingest(here.configured(), shutdown) as ingest:
        ingest._link.sync()
        ingest.breaker.force_open()
        ingest._link.close()
        assert "open" in str(ingest.breaker.state)
        StoredBreakers(ingest.store).publish("s3", 600.0, "another")
    assert command.main(["stats"], here.configured()) == 0
    assert "breaker s3: open for" in capsys.readouterr().out
    assert command.main(["reset"], here.configured()) == 0
    assert command.main(["stats"], here.configured()) == 0
    assert "breaker s3: closed" in capsys.readouterr().out


def test_the_breaker_opens_and_closes(here: world.World, monkeypatch: Patch) -> None:
    """After five failures no file is tried any more; when the store is back the first one closes it."""
    quick = {
        "RETRY__S3__WAIT__INITIAL": "0.001",
        "RETRY__S3__WAIT__CAP": "0.001",
        "BREAKERS__S3__OPEN_FOR": "0.2",
    }
    for name, value in quick.items():
        monkeypatch.setitem(world.ENVIRONMENT, f"INGEST_RUNTIME__{name}", value)
    begun = targets.Directory.transaction

    def refuse(self: targets.Directory, table: str, id: str) -> Transaction:
        raise ConnectionRefusedError(111, "Connection refused")

    with (
        Shutdown(signals=()) as shutdown,
        program.Ingest(here.configured(), shutdown) as ingest,
        breaker_states() as told,
    ):
        monkeypatch.setattr(targets.Directory, "transaction", refuse)
        with pytest.raises(PartialFailure):
            ingest.run()
        assert told[0] == "open"
        monkeypatch.setattr(targets.Directory, "transaction", begun)
        # At least as long as it is open, and longer does no harm.
        threading.Event().wait(0.3)
        ingest.run()
        assert told[-2:] == ["half-open", "closed"]
    world.check(here, settled=world.FIRST)


def test_the_numbers_are_those_of_its_users(tmp_path: Path) -> None:
    """3 attempts from 1 s, doubling up to 60 s; what is unknown is tried again, what is permanent is not."""
    runtime = world.prepared(tmp_path).configured().runtime
    policy = runtime.strategies().policy("s3", classifier=program.CLASSIFIER)
    assert policy.attempts == 3
    assert [policy.wait.band(failures, 0.0)[1] for failures in (1, 2, 3, 20)] == [1.0, 2.0, 4.0, 60.0]
    assert runtime.breakers["s3"].failures == 5
    assert program.CLASSIFIER.classify(RuntimeError("never heard of")).retryable
    assert not program.CLASSIFIER.classify(PermissionError(13, "no", "/x")).retryable
    assert settings.DEFAULTS.exists()


def test_all_errors_have_one_base() -> None:
    """Configuration, storage, conversion, checkpoint, transaction, rollback, partial failure."""
    from chaoskit import runtime as all_of

    for name in (
        *("ConfigurationError", "StorageError", "MalformedData", "TransientError", "CheckpointError"),
        *("TransactionError", "TransactionValidationError", "RollbackError", "PartialFailure"),
    ):
        assert issubclass(getattr(all_of, name), ResilienceError)
    assert classify(all_of.TransactionValidationError("no")).category == "validation"


# -- one guarantee less -----------------------------------------------------------------------------------


def whole_batch(monkeypatch: Patch) -> None:
    """The first file that fails ends the batch."""
    from contextlib import nullcontext

    monkeypatch.setattr(program.PartialFailureCollector, "item", lambda self, path: nullcontext())


def without_fence(monkeypatch: Patch) -> None:
    """A transaction is named by its content alone: one that comes back was there before."""
    progress = program.Claim.progress
    monkeypatch.setattr(program.Claim, "progress", lambda self, id: progress(self, id.partition("-")[0]))


def unchecked(monkeypatch: Patch) -> None:
    """No validator looks at what was staged."""
    monkeypatch.setattr(Transaction, "check", lambda self, validator: None)


def one_day(here: world.World, monkeypatch: Patch) -> None:
    world.work(here)
    world.check(here, settled=world.FIRST)


@pytest.mark.parametrize(
    ("remove", "attack"),
    [
        (whole_batch, test_a_content_that_comes_back_is_published_again),
        (without_fence, test_a_content_that_comes_back_is_published_again),
        (unchecked, test_an_input_that_changes_meanwhile_is_not_published),
    ],
)
def test_a_guarantee_less_shows_without_a_fault(
    remove: Callable[[Patch], None], attack: Callable[..., None], here: world.World, monkeypatch: Patch
) -> None:
    """The test that is there for it fails."""
    given: dict[str, Any] = {"monkeypatch": monkeypatch} if attack.__code__.co_argcount > 1 else {}
    remove(monkeypatch)
    with pytest.raises((AssertionError, ResilienceError)):
        attack(here, **given)


PLANTED: Planted = {
    "test_parts_are_written_under_their_final_names": Shown(
        "open(tables/buoys/a/2026-11-02.parquet)#1=kill", "a shows a mix"
    ),
    "test_completed_before_the_commit": Shown(
        "symlink(tables/buoys/.a.ck-*-2)#1=kill", "a is completed and shows None"
    ),
    "test_tables_are_not_durable": "power_loss",
    "test_staging_is_never_cleaned": Shown(
        "unlink(state/staging/buoys.a.1/2026-11-02.parquet)#1=kill", "staged here"
    ),
    "test_the_bucket_is_never_cleaned": Shown(
        "http(s3.eu-west-1.amazonaws.com,GET,/results)#1=kill[answer]", "staged there"
    ),
}
"""What each twin does otherwise, and the case that shows it, or a part of its schedule."""


@planted
def test_each_missing_guarantee_is_found(tmp_path: Path) -> None:
    """The invariant breaks, and by the fault that the guarantee is there for."""
    assert missed(Path(__file__).with_name("planted_ingest.py"), PLANTED, tmp_path) == {}
