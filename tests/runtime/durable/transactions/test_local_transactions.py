"""Transactions in directories: what they promise, and what they refuse."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import cast

import pytest

from chaoskit.runtime import (
    Checkpoints,
    Claim,
    DataIntegrityError,
    FileMissing,
    LeaseLost,
    OutcomeUnknown,
    StoreBusy,
    Transaction,
    TransactionConflict,
    TransactionError,
    TransactionReader,
    TransactionReceipt,
    TransactionValidationError,
    UsageError,
    VirtualClock,
    recover_transactions,
)
from chaoskit.runtime.durable.transactions.local import final, pointer
from chaoskit.runtime.durable.transactions.local.final import FinalDirectory
from chaoskit.runtime.durable.transactions.local.pointer import workspace_of
from chaoskit.runtime.durable.transactions.local.workspace import Workspace
from chaoskit.runtime.durable.transactions.records import Layout
from chaoskit.runtime.failures.taxonomy import StorageError


@pytest.fixture(params=["pointer", "final"])
def layout(request: pytest.FixtureRequest) -> Layout:
    """Both layouts promise the same to those who wait."""
    return cast(Layout, request.param)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A free name."""
    return tmp_path / "out"


def commit(target: Path, layout: Layout, id: str, **contents: str) -> TransactionReceipt:
    with Transaction.local(target, layout=layout, id=id) as tx:
        for name, content in contents.items():
            tx.add(name, content)
        return tx.commit()


def commit_losing(target: Path, complete: Claim | None = None) -> None:
    """A transaction of x=2 that waits for the lock only for a moment."""
    with Transaction.local(target, lock_timeout=0.05) as tx:
        tx.add("x", "2")
        tx.commit(complete=complete)


def work_of(target: Path) -> Path:
    return workspace_of(target) if workspace_of(target).is_dir() else target / ".transactions"


def test_members_appear_together(target: Path, layout: Layout) -> None:
    """Of every kind of content, in directories too; nothing is seen before the commit."""
    source = target.with_name("source")
    source.write_text("from a file")
    with Transaction.local(target, layout=layout) as tx:
        tx.add("bytes", b"\0\1")
        tx.add("deep/er/text", "ä")
        tx.add("path", source)
        tx.add("file", io.BytesIO(b"open"))
        assert tx.state == "staged"
        assert not (target / "bytes").exists()
        receipt = tx.commit()
    assert tx.state == "cleaned"
    assert (target / "deep/er/text").read_text() == "ä"
    assert [(target / name).read_bytes() for name in ("bytes", "path", "file")] == [
        b"\0\1",
        b"from a file",
        b"open",
    ]
    assert [member.name for member in receipt.members] == ["bytes", "deep/er/text", "path", "file"]
    assert receipt.members[0].size == 2


def test_the_same_id_again_is_the_first_receipt(target: Path, layout: Layout) -> None:
    """Also when others came in between; nothing is committed twice."""
    first = commit(target, layout, "a", x="1")
    commit(target, layout, "b", x="2")
    assert commit(target, layout, "a", x="other") == first
    assert (target / "x").read_text() == "2"
    tx = Transaction.local(target, layout=layout, id="a")
    assert tx.committed() == first
    assert Transaction.local(target, layout=layout, id="c").committed() is None


def test_a_pointer_holds_the_last_transaction_and_final_names_all_of_them(
    target: Path, layout: Layout
) -> None:
    """What is there after two transactions with different members."""
    commit(target, layout, "a", x="1", y="1")
    commit(target, layout, "b", y="2")
    assert sorted(TransactionReader(target).manifest()) == (["y"] if layout == "pointer" else ["x", "y"])
    assert (target / "y").read_text() == "2"


def test_leaving_the_block_uncommitted_changes_nothing(target: Path, layout: Layout) -> None:
    """With an error or without one; nothing is left in the stage."""
    commit(target, layout, "a", x="1")
    tx = Transaction.local(target, layout=layout)
    with contextlib.suppress(ZeroDivisionError), tx:
        tx.add("x", "2")
        raise ZeroDivisionError
    assert tx.state == "aborted"
    with Transaction.local(target, layout=layout) as tx:
        tx.add("x", "3")
    assert tx.state == "aborted"
    assert (target / "x").read_text() == "1"
    assert recover_transactions(target).removed == ()


def test_validators_see_what_is_staged_and_can_refuse(target: Path, layout: Layout) -> None:
    """By returning False or by raising; in order, and before the decision."""
    seen = []
    with Transaction.local(target, layout=layout) as tx:
        tx.add("x", "1")
        tx.check(lambda files: seen.append(files.read("x")))
        tx.check(lambda files: "y" in files.members)
        with pytest.raises(TransactionValidationError):
            tx.commit()
    assert seen == [b"1"]
    assert tx.state == "aborted"
    assert not (target / "x").exists()

    async def late(files: object) -> bool:
        return False

    with pytest.raises(UsageError):
        Transaction.local(target, layout=layout).check(late)


@pytest.mark.parametrize(
    "name", ["", "/abs", "../up", "a/../b", "a//b", "./a", "a/", "a\\b", "a\nb", ".transactions/x", "a\0b"]
)
def test_names_that_lead_elsewhere_are_refused(target: Path, name: str) -> None:
    """Whatever a member is called, it stays below its target."""
    with Transaction.local(target, layout="final") as tx, pytest.raises(UsageError):
        tx.add(name, "x")
    assert sorted(os.listdir(target.parent)) == ["out"]


def test_a_name_can_be_added_once(target: Path, layout: Layout) -> None:
    """Two contents for one name are a mistake, and the first one stays."""
    with Transaction.local(target, layout=layout) as tx:
        tx.add("x", "1")
        with pytest.raises(UsageError):
            tx.add("x", "2")
        tx.commit()
    assert (target / "x").read_text() == "1"


def test_a_member_that_could_not_be_staged_is_left_out(target: Path, layout: Layout) -> None:
    """A source that breaks off leaves nothing of it in the transaction."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise OSError(5, "broken")
            return super().read(1)

    with Transaction.local(target, layout=layout) as tx:
        with pytest.raises(OSError):
            tx.add("bad", Broken(b"12"))
        tx.add("good", "1")
        tx.commit()
    assert [one.name for one in target.iterdir() if not one.name.startswith(".")] == ["good"]


@pytest.mark.parametrize("id", ["", "a/b", ".a", "a b", "x" * 101, "ä"])
def test_ids_that_no_name_can_hold_are_refused(target: Path, id: str) -> None:
    """An id becomes part of file names and of keys."""
    with pytest.raises(UsageError):
        Transaction.local(target, id=id)


def test_a_transaction_is_used_once_and_within_its_block(target: Path) -> None:
    """Anything else is a mistake of the caller, and says so."""
    tx = Transaction.local(target)
    with pytest.raises(UsageError):
        tx.add("x", "1")
    with tx:
        tx.add("x", "1")
        tx.commit()
        with pytest.raises(UsageError):
            tx.add("y", "1")
    with pytest.raises(UsageError), tx:
        pass


def test_of_two_that_began_together_one_is_published(target: Path) -> None:
    """With a pointer the other one would undo it unseen; it is refused, and may begin again."""
    commit(target, "pointer", "a", x="1")
    with Transaction.local(target) as one, Transaction.local(target) as other:
        one.add("x", "one")
        other.add("x", "other")
        one.commit()
        with pytest.raises(TransactionConflict):
            other.commit()
    assert other.state == "aborted"
    assert (target / "x").read_text() == "one"


def test_a_reader_keeps_what_it_saw(target: Path) -> None:
    """While others are published, until the grace is over."""
    clock = VirtualClock()
    for number in range(3):
        with Transaction.local(target, grace=60, clock=clock) as tx:
            tx.add("x", str(number))
            tx.commit()
        if number == 0:
            reader = TransactionReader(target)
    assert reader.read("x") == b"0"
    assert reader.receipt.number == 1
    clock.advance(61)
    assert len(recover_transactions(target, grace=60, clock=clock).removed) == 2
    with pytest.raises(FileNotFoundError):
        reader.read("x")
    assert TransactionReader(target).read("x") == b"2"
    assert recover_transactions(target, grace=60, clock=clock).removed == ()


def test_a_reader_notices_what_was_changed(target: Path, layout: Layout) -> None:
    """By the checksum of the commit."""
    commit(target, layout, "a", x="1", y="1")
    (target / "x").write_text("2")
    (target / "y").unlink()
    reader = TransactionReader(target)
    with pytest.raises(DataIntegrityError, match="expected"):
        reader.open("x")
    with pytest.raises(UsageError):
        reader.open("z")
    assert len(reader.verify()) == 2


def test_a_target_without_transactions(target: Path) -> None:
    """Has nothing to read and nothing to recover."""
    with pytest.raises(FileMissing):
        TransactionReader(target)
    assert recover_transactions(target).ok
    assert not target.exists()


def test_what_no_transaction_has_made_is_not_replaced(target: Path) -> None:
    """A directory of the user under the name of the link."""
    target.mkdir()
    with pytest.raises(UsageError), Transaction.local(target):
        pass
    target.rmdir()
    target.symlink_to("elsewhere")
    with pytest.raises(UsageError), Transaction.local(target):
        pass
    assert os.readlink(target) == "elsewhere"


def test_a_layout_stays(target: Path) -> None:
    """Final names within a generation would vanish with it."""
    commit(target, "pointer", "a", x="1")
    with pytest.raises(UsageError):
        Transaction.local(target, layout="final")
    with pytest.raises(UsageError):
        Transaction.local(target, layout=cast(Layout, "other"))


def test_stages_of_the_dead_are_removed_and_those_of_the_living_are_not(target: Path, layout: Layout) -> None:
    """By a recovery beside a transaction that is still at it."""
    commit(target, layout, "a", x="1")
    code = (
        "import os, sys; from chaoskit.runtime import Transaction\n"
        f"tx = Transaction.local({str(target)!r}, layout={layout!r}, id='dead')\n"
        "tx.__enter__().add('x', '2'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with Transaction.local(target, layout=layout, id="living") as tx:
        tx.add("x", "3")
        found = recover_transactions(target)
        assert (found.aborted, found.running) == (("dead",), ("living",))
        assert recover_transactions(target).aborted == ()
        tx.commit()
    assert (target / "x").read_text() == "3"


def test_one_that_is_decided_is_finished_by_the_next(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under final names: by the next transaction, by a recovery, or by the same once more."""
    commit(target, "final", "a", x="1", y="1")

    def fails(*_: object) -> None:
        raise OSError(5, "I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(final, "rename", fails)
        with pytest.raises(OutcomeUnknown, match="decided") as told:
            commit(target, "final", "b", x="2", y="2")
    assert told.value.operation_id == "b"
    assert (target / "x").read_text() == "1"
    with pytest.raises(TransactionError, match="not finished"):
        TransactionReader(target)
    assert recover_transactions(target).completed == ("b",)
    assert recover_transactions(target).completed == ()
    assert (target / "x").read_text() == (target / "y").read_text() == "2"
    assert commit(target, "final", "b", x="3").number == 2


def test_one_that_cannot_be_finished_is_named(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is missing and what to do; and no other one is decided over it."""
    commit(target, "final", "a", x="1")
    with monkeypatch.context() as patched:
        patched.setattr(FinalDirectory, "_place", lambda *_: 1 / 0)
        with pytest.raises(OutcomeUnknown):
            commit(target, "final", "b", x="2")
    [staged] = work_of(target).glob("b@*/x")
    content = staged.read_bytes()
    staged.unlink()
    found = recover_transactions(target)
    assert not found.ok
    assert str(staged) in found.problems[0]
    with pytest.raises(TransactionError, match="missing or damaged"):
        commit(target, "final", "c", x="3")
    staged.write_bytes(content)
    assert recover_transactions(target).completed == ("b",)
    assert (target / "x").read_text() == "2"


def test_a_stage_from_elsewhere_goes_after_its_record(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the stage shows that its owner is gone: were it removed first, the record would stay for ever."""
    commit(target, "pointer", "a", x="1")
    work = work_of(target)
    generation = f"b@{1:010d}{2:010d}{3:015d}-1"
    (work / generation).mkdir()
    (work / f"{generation}.json").write_text("begun")
    with monkeypatch.context() as patch:
        patch.setattr(pointer, "_remove", lambda path: path.suffix != ".json" and path.rmdir() is None)
        recover_transactions(target)
    assert (work / generation).exists()
    assert recover_transactions(target).aborted == ("b",)
    assert not list(work.glob("b@*"))


@pytest.mark.parametrize("alive", [True, False])
def test_a_damaged_record_removes_nothing(target: Path, monkeypatch: pytest.MonkeyPatch, alive: bool) -> None:
    """Without it what was committed can't be told from what was not, whether its process lives or not."""
    monkeypatch.setattr(Workspace, "abandoned", lambda self, generation: not alive)
    commit(target, "pointer", "a", x="1")
    commit(target, "pointer", "b", x="2")
    [record] = work_of(target).glob("a@*.json")
    record.write_text(record.read_text().replace("sha256", "sha255"))
    before = sorted(work_of(target).iterdir())
    found = recover_transactions(target, grace=0)
    assert not found.ok
    assert sorted(work_of(target).iterdir()) == before


def test_a_record_that_is_hidden_for_a_moment_is_not_forgotten(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share answers once that the record of the last commit is not there: the count goes on after it."""
    commit(target, "pointer", "a", x="1")
    read_bytes, hidden = Path.read_bytes, [True]

    def look(path: Path) -> bytes:
        if path.suffix == ".json" and hidden:
            hidden.clear()
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", look)
    with pytest.raises(StorageError, match="is in its directory, and was said not to be there"):
        commit(target, "pointer", "b", x="2")
    assert (target / "x").read_text() == "1"
    commit(target, "pointer", "b", x="2")
    assert TransactionReader(target).receipt.number == 2


@pytest.mark.parametrize("layout", ["pointer", "final"])
def test_a_directory_that_is_hidden_for_a_moment_is_not_taken_for_none(
    target: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share answers once that there are no transactions: a recovery says so instead of finding nothing."""
    commit(target, layout, "a", x="1")
    work = work_of(target) if layout == "pointer" else target / ".transactions"
    for call in ("stat", "listdir"):
        real, hidden = getattr(os, call), [True]

        def look(path, *args, real=real, hidden=hidden, **options):  # type: ignore[no-untyped-def]
            if str(path) == str(work) and hidden:
                hidden.clear()
                raise FileNotFoundError(2, "No such file or directory", str(path))
            return real(path, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, look)
            with pytest.raises(StorageError, match="was said not to be there"):
                recover_transactions(target, grace=0)
            assert not hidden
            assert recover_transactions(target, grace=0).ok
        assert TransactionReader(target).receipt.id == "a"


def test_the_lock_is_waited_for_and_not_for_ever(target: Path) -> None:
    """StoreBusy after the time that was given, with nothing changed."""
    commit(target, "pointer", "a", x="1")
    place = pointer.PointerDirectory(target, pointer.PlaceOptions(lock_timeout=0.05))
    with place._work.locked(), pytest.raises(StoreBusy):
        commit_losing(target)
    assert (target / "x").read_text() == "1"


def test_threads_commit_one_after_the_other(target: Path) -> None:
    """Eight threads with a transaction each, under final names: all of them are committed, once."""
    errors = []

    def work(number: int) -> None:
        try:
            commit(target, "final", f"t{number}", **{f"f{number}": str(number), "shared": str(number)})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    reader = TransactionReader(target)
    assert reader.receipt.number == 8
    assert reader.verify() == []


def test_a_claim_is_completed_with_the_receipt(target: Path) -> None:
    """And a claim that was lost before the decision commits nothing."""
    with Checkpoints(target.with_name("store.db")) as steps:
        claim = steps.claim("a")
        assert claim is not None
        with claim, Transaction.local(target, id="a") as tx:
            tx.add("x", "1")
            receipt = tx.commit(complete=claim)
        assert steps.load("a")["generation"] == receipt.generation
        lost = steps.claim("b")
        assert lost is not None
        lost.lost.set()
        with pytest.raises(LeaseLost):
            commit_losing(target, complete=lost)
    assert (target / "x").read_text() == "1"


def test_without_links_members_are_copied(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems that have none."""

    def refused(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    commit(target, "final", "a", x="1")
    assert (target / "x").read_text() == "1"
    assert TransactionReader(target).verify() == []


def test_an_interrupt_after_the_decision_removes_nothing(target: Path, layout: Layout) -> None:
    """What is on disk says whether it is decided, and not how far the program has come."""

    class Stop(BaseException):
        pass

    def stop(state: str) -> None:
        if state == "decided":
            raise Stop

    tx = Transaction.local(target, layout=layout, id="a")
    tx._reached = stop  # type: ignore[method-assign, assignment]
    with contextlib.suppress(Stop), tx:
        tx.add("x", "1")
        tx.commit()
        pytest.fail("it was not interrupted")
    recover_transactions(target)
    assert (target / "x").read_text() == "1"
    assert TransactionReader(target).verify() == []


def test_what_a_newer_version_has_written_is_refused(target: Path) -> None:
    """And left as it is."""
    receipt = commit(target, "pointer", "a", x="1")
    [record] = work_of(target).glob("a@*.json")
    encoded = receipt.encode().replace(b'\\"format\\": 1', b'\\"format\\": 2')
    text = json.loads(encoded)["transaction"]
    record.write_text(json.dumps({"crc": zlib.crc32(text.encode()), "transaction": text}))
    with pytest.raises(TransactionError, match="format 2"):
        TransactionReader(target)


def test_weaker_levels_are_as_atomic(target: Path, layout: Layout) -> None:
    """Without a sync, and with the same result."""
    for number in range(2):
        with Transaction.local(target, layout=layout, durability="process-crash") as tx:
            tx.add("d/x", str(number))
            tx.commit()
    assert (target / "d/x").read_text() == "1"
