"""Transactions on S3, as moto plays it: faults of the network at every exchange, and a kill at every call.

What the server holds afterwards says what has really happened.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
from amazon import HOST, client, served
from budgets import bounded

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import OutcomeUnknown, S3Target, Transaction, TransactionReader, recover_transactions
from chaoskit.runtime.durable.transactions.records import Layout

NAMES = ("a", "deep/b")


@pytest.fixture(scope="module")
def amazon() -> Iterator[int]:
    """The port of moto's server, for this module."""
    with served() as port:
        yield port


def commit(url: str, prefix: str, id: str, layout: Layout, promise: Callable[[str], None]) -> None:
    # No fault strikes on the straight way, where only a busy machine makes an answer late.
    there = client(url, patience=60.0 if "127.0.0.1" in url else 2.0)
    with Transaction.s3(there, "results", prefix, layout=layout, id=id, grace=0.0) as tx:
        for name in NAMES:
            tx.add(name, f"{id} {name}")
        tx.commit()
    promise(id)


def seen(target: S3Target, layout: Layout) -> str:
    """Which generation a reader sees; "mix" for several."""
    if layout == "pointer":
        reader = TransactionReader(target)
        found = {reader.read(name).split()[0].decode() for name in NAMES}
    else:
        objects = target.objects()
        found = set()
        for name in NAMES:
            there = objects.open(name)
            assert there is not None
            with there[0] as file:
                found.add(file.read().split()[0].decode())
    return found.pop() if len(found) == 1 else "mix"


def attack(chaos: Chaos, port: int, layout: Layout) -> None:
    """A second transaction on a prefix of this case alone; then readers, recoveries, and the same again."""
    prefix = f"case-{os.getpid()}-{time.time_ns()}"
    straight = f"http://127.0.0.1:{port}"
    target = S3Target(client(straight, patience=60.0), "results", prefix)
    commit(straight, prefix, "old", layout, lambda _: None)
    chaos.peer(HOST, address=("127.0.0.1", port))
    outcome = chaos.run(commit, f"http://{HOST}", prefix, "new", layout, chaos.promise)
    if layout == "pointer":
        assert seen(target, layout) in ("old", "new")
    recover_transactions(target, grace=0.0, abandoned=0.0)
    shown = seen(target, layout)
    assert shown in ("old", "new")
    assert not chaos.promised or shown == "new"
    error = outcome.error
    if error is not None and not isinstance(error, OutcomeUnknown):
        assert shown == "old", f"committed, though it raised {error!r}"
    again = recover_transactions(target, grace=0.0, abandoned=0.0)
    assert (again.completed, again.aborted, again.removed) == ((), (), ())
    commit(straight, prefix, "new", layout, lambda _: None)
    reader = TransactionReader(target)
    assert (seen(target, layout), reader.receipt.number, reader.verify()) == ("new", 2, [])


TRAFFIC = faults.network().on(call=["http", "connect"]) | faults.http().aws("s3")


@scenario(TRAFFIC | faults.kill(), timeout=60, budget=bounded(10))
def test_s3_with_a_pointer(chaos: Chaos, amazon: int) -> None:
    """Every reader sees all or nothing, before any recovery."""
    attack(chaos, amazon, "pointer")


@scenario(TRAFFIC | faults.kill(), timeout=60, budget=bounded(10))
def test_s3_under_final_names(chaos: Chaos, amazon: int) -> None:
    """All or nothing after a recovery."""
    attack(chaos, amazon, "final")


def test_what_moto_honours(amazon: int) -> None:
    """The conditions on which the layouts stand, and uploads in parts, against a server of another make."""
    import io

    from chaoskit.runtime.durable.transactions.objects import store

    objects = store.S3Objects(
        client(f"http://127.0.0.1:{amazon}", patience=60.0), "results", f"conditions-{time.time_ns()}"
    )
    etag = objects.put("k", io.BytesIO(b"1"), if_absent=True)
    for wrong in ({"if_absent": True}, {"if_match": '"0"'}):
        with pytest.raises(store.NotAsExpected):
            objects.put("k", io.BytesIO(b"2"), **wrong)  # type: ignore[arg-type]
    with pytest.raises(store.NotAsExpected):
        objects.put("none", io.BytesIO(b"2"), if_match=etag)
    with pytest.raises(store.NotAsExpected):
        objects.delete("k", if_match='"0"')
    assert objects.put("k", io.BytesIO(b"3"), if_match=etag) != etag
    assert [(one.key, one.size) for one in objects.list("")] == [("k", 1)]
    assert objects.open("none") is None
    assert objects.head("none") is None


def test_large_members_go_in_parts(amazon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is left of an upload that broke off is given up by a recovery."""
    from chaoskit.runtime.durable.transactions.objects import store

    monkeypatch.setattr(store, "PART", 5 << 20)
    prefix = f"parts-{time.time_ns()}"
    there = client(f"http://127.0.0.1:{amazon}", patience=60.0)
    target = S3Target(there, "results", prefix)
    large = os.urandom(1 << 20) * 11
    with Transaction.s3(there, "results", prefix) as tx:
        tx.add("large", large)
        tx.commit()
    assert TransactionReader(target).read("large") == large
    there.create_multipart_upload(Bucket="results", Key=f"{prefix}/data/left@0/large")
    time.sleep(0.01)
    recover_transactions(target, abandoned=0.0)
    assert there.list_multipart_uploads(Bucket="results", Prefix=prefix).get("Uploads", []) == []
