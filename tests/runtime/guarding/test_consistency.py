"""Queue, products, registry and files: each kind of disagreement is found, and repaired if it is one then."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chaoskit.cli.recovery import recovery
from chaoskit.runtime import (
    Agree,
    CheckpointRows,
    Checkpoints,
    CheckpointsHold,
    Consistency,
    FileExists,
    FileRows,
    NoOrphans,
    NotStuck,
    RemoveRow,
    SetColumns,
    SqliteRows,
    Store,
    UsageError,
    VirtualClock,
)
from chaoskit.runtime.durable.files.renaming import Unsupported
from chaoskit.runtime.guarding.consistency import sources

NOW = 1_000_000.0


def sha(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class System:
    """Three databases and a directory of products, as an imaging pipeline has them."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock = root, VirtualClock(epoch=NOW)
        for name, columns in {
            "queue": "id TEXT, status TEXT, updated REAL",
            "products": "id TEXT, path TEXT, size INT, checksum TEXT, status TEXT",
            "registry": "id TEXT, quality TEXT",
        }.items():
            self.run(name, f"CREATE TABLE {name} ({columns})")
        (root / "files").mkdir()
        for id in ("a", "b", "c"):
            self.add(id)

    def run(self, name: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.root / f"{name}.db", isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()

    def file(self, name: str, content: str) -> Path:
        path = self.root / "files" / name
        path.write_text(content)
        os.utime(path, (NOW - 7200, NOW - 7200))
        return path

    def add(self, id: str) -> None:
        self.file(f"{id}.img", f"image {id}")
        self.run("queue", "INSERT INTO queue VALUES (?, 'done', ?)", id, NOW)
        self.run(
            "products",
            "INSERT INTO products VALUES (?, ?, ?, ?, 'done')",
            id,
            f"{id}.img",
            7,
            sha(f"image {id}"),
        )
        self.run("registry", "INSERT INTO registry VALUES (?, 'good')", id)

    def rules(self) -> Consistency:
        return Consistency(
            {
                "queue": SqliteRows(self.root / "queue.db", "queue"),
                "products": SqliteRows(self.root / "products.db", "products"),
                "registry": SqliteRows(self.root / "registry.db", "registry"),
                "files": FileRows(self.root / "files", quarantine=self.root / "quarantine"),
            },
            [
                FileExists(
                    "products",
                    self.root / "files",
                    size="size",
                    checksum="checksum",
                    when=lambda row: row["status"] == "done",
                    remedy=SetColumns({"status": "again"}),
                ),
                NoOrphans("files", [("products", "path")], remedy=RemoveRow(), clock=self.clock),
                NotStuck("queue", 600, remedy=SetColumns({"status": "pending"}), clock=self.clock),
                Agree("products", "queue", [("status", "status")], remedy=SetColumns({"status": "done"})),
                NoOrphans("registry", [("products", "id")], column="id", remedy=RemoveRow()),
            ],
        )


@pytest.fixture
def system(tmp_path: Path) -> System:
    """One in which all agrees."""
    return System(tmp_path)


PLANTS = {
    "a file is gone": ("missing", "products", lambda s: (s.root / "files/a.img").unlink()),
    "a file is shorter": ("mismatched", "products", lambda s: s.file("a.img", "image")),
    "a file has other bytes": ("mismatched", "products", lambda s: s.file("a.img", "image x")),
    "a file that no row names": ("orphaned", "files", lambda s: s.file("x.img", "x")),
    "an item that runs forever": (
        "stuck",
        "queue",
        lambda s: (
            s.run("queue", "INSERT INTO queue VALUES ('r', 'running', ?)", NOW - 601),
            s.run("products", "INSERT INTO products VALUES ('r', NULL, 0, NULL, 'running')"),
        ),
    ),
    "a product that no item made": (
        "missing",
        "products",
        lambda s: s.run("queue", "DELETE FROM queue WHERE id='a'"),
    ),
    "a product that its item contradicts": (
        "mismatched",
        "products",
        lambda s: s.run("products", "UPDATE products SET status='new' WHERE id='a'"),
    ),
    "a calibration without a product": (
        "orphaned",
        "registry",
        lambda s: s.run("registry", "INSERT INTO registry VALUES ('x', 'good')"),
    ),
}


def test_what_agrees_is_left_in_peace(system: System) -> None:
    """No false alarm, and the report says how much was read."""
    report = system.rules().check()
    assert report.ok
    assert dict(report.rows) == {"queue": 3, "products": 3, "registry": 3, "files": 3}


@pytest.mark.parametrize("name", PLANTS)
def test_each_kind_is_found_and_repaired(system: System, name: str) -> None:
    """By a dry run that changes nothing, then for real; what agreed before still does."""
    kind, source, plant = PLANTS[name]
    plant(system)
    rules = system.rules()
    report = rules.check()
    assert {(one.kind, one.source) for one in report.disagreements} == {(kind, source)}
    planned = rules.repair(report)
    assert planned.dry_run
    assert len(planned.repaired) == 1
    assert rules.check().to_dict() == report.to_dict()
    done = rules.repair(report, dry_run=False)
    assert [one.source for one in done.repaired] == [source]
    if name == "a product that no item made":
        # Its remedy can't bring back the row of another source; it says so by finding it again.
        assert rules.check().counts() == {"missing": 1}
    elif not name.startswith("a file") or name == "a file that no row names":
        rest = [one for one in rules.check().disagreements if one.kind == kind and one.source == source]
        assert rest == []
    else:
        assert system.run("products", "SELECT status FROM products WHERE id='a'") == [("again",)]


CHANGES = {
    "a file is gone": lambda s: s.file("a.img", "image a"),
    "a file is shorter": lambda s: s.run(
        "products", "UPDATE products SET size=5, checksum=NULL WHERE id='a'"
    ),
    "a file that no row names": lambda s: s.run(
        "products", "INSERT INTO products VALUES ('x', 'x.img', 1, NULL, 'new')"
    ),
    "an item that runs forever": lambda s: s.run(
        "queue", "UPDATE queue SET updated=? WHERE id='r'", NOW - 602
    ),
    "a product that its item contradicts": lambda s: s.run(
        "queue", "UPDATE queue SET status='x' WHERE id='a'"
    ),
    "a calibration without a product": lambda s: s.run(
        "products", "INSERT INTO products VALUES ('x', NULL, 1, NULL, 'new')"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_has_changed_meanwhile_is_left(system: System, name: str) -> None:
    """Between the check and the repair, on either side of the disagreement."""
    PLANTS[name][2](system)
    rules = system.rules()
    report = rules.check()
    CHANGES[name](system)
    before = {one: system.run(one, f"SELECT * FROM {one}") for one in ("queue", "products", "registry")}
    files = sorted(os.listdir(system.root / "files"))
    done = rules.repair(report, dry_run=False)
    assert done.repaired == ()
    assert [why for _, why in done.left] == ["it has changed meanwhile"]
    assert before == {one: system.run(one, f"SELECT * FROM {one}") for one in before}
    assert files == sorted(os.listdir(system.root / "files"))


def test_a_change_between_the_look_and_the_write_is_seen(system: System) -> None:
    """The look and the change are one transaction, and for a file the last look is right before the move."""
    rows = SqliteRows(system.root / "queue.db", "queue")
    [seen] = rows.find("id", "a")
    system.run("queue", "UPDATE queue SET updated=1 WHERE id='a'")
    assert not rows.change(seen, {"status": "pending"})
    assert not rows.change(seen, None)
    assert system.run("queue", "SELECT status FROM queue WHERE id='a'") == [("done",)]
    files = FileRows(system.root / "files", quarantine=system.root / "quarantine")
    [seen] = files.find("path", "a.img")
    system.file("a.img", "longer than before")
    assert not files.change(seen, None)
    assert (system.root / "files/a.img").exists()


@pytest.mark.parametrize("pattern", ["**/*", "**/*.img", "sub/*", "*"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_read_is_not_an_empty_one(
    pattern: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files would count as missing, and what they belong to as an orphan: it is an error instead."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.img").touch()
    refused = tmp_path if pattern == "*" else tmp_path / "sub"
    scandir, listdir = os.scandir, os.listdir

    def refuse(call: Any) -> Any:
        def asked(path: Any = ".") -> Any:
            if Path(path) == refused:
                raise OSError(number, os.strerror(number), str(path))
            return call(path)

        return asked

    files = FileRows(tmp_path, pattern=pattern)
    assert [row["path"] for row in files.rows()] == ([] if pattern == "*" else ["sub/a.img"])
    monkeypatch.setattr(os, "scandir", refuse(scandir))
    monkeypatch.setattr(os, "listdir", refuse(listdir))
    with pytest.raises(OSError, match=os.strerror(number)):
        list(files.rows())


def test_an_orphan_goes_into_quarantine(system: System) -> None:
    """It can be put back; a second one of the same name does not replace it."""
    for content in ("one", "two"):
        system.file("x.img", content)
        rules = system.rules()
        assert len(rules.repair(rules.check(), dry_run=False).repaired) == 1
    assert sorted(path.read_text() for path in (system.root / "quarantine").iterdir()) == ["one", "two"]


@pytest.mark.parametrize("name", ["x.img", "é" * 127])
@pytest.mark.parametrize("exclusive", [True, False])
def test_no_orphan_replaces_another(
    system: System, name: str, exclusive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of one name and one time, as a restored backup has them, went over the second."""
    if not exclusive:
        monkeypatch.setattr(sources, "rename_to_free_name", unsupported)
    for content in ("one", "two", "three"):
        path = system.file(name, content)
        os.utime(path, (NOW - 5000, NOW - 5000))
        rules = system.rules()
        assert len(rules.repair(rules.check(), dry_run=False).repaired) == 1
    kept = sorted(path.read_text() for path in (system.root / "quarantine").iterdir())
    assert kept == ["one", "three", "two"]


def unsupported(source: Path, target: Path) -> None:
    raise Unsupported


def test_a_size_alone_is_compared(system: System) -> None:
    """Where no checksum was recorded, a file that was cut is still found."""
    system.run("products", "UPDATE products SET checksum=NULL WHERE id='a'")
    system.file("a.img", "image")
    [found] = system.rules().check().disagreements
    assert (found.kind, found.source) == ("mismatched", "products")
    assert "has 5 bytes; expected 7" in found.detail


def test_a_file_below_a_file_is_missing(system: System) -> None:
    """As one whose directory is gone: it is a disagreement, and no reason to read nothing else."""
    system.run("products", "UPDATE products SET path='b.img/a.img' WHERE id='a'")
    (system.root / "files/a.img").unlink()
    report = system.rules().check()
    assert [(one.kind, one.source) for one in report.disagreements] == [("missing", "products")]
    assert not report.unread


def test_an_orphan_that_is_young_by_now_is_left(system: System) -> None:
    """The clock was wrong at the check, and was set back since: its row may be on its way."""
    path = system.file("x.img", "x")
    report = system.rules().check()
    assert report.counts() == {"orphaned": 1}
    system.clock = VirtualClock(epoch=NOW - 7000)
    done = system.rules().repair(report, dry_run=False)
    assert not done.repaired
    assert path.exists()


def test_a_young_file_is_no_orphan(system: System) -> None:
    """Its row may be on its way."""
    path = system.file("x.img", "x")
    os.utime(path, (NOW - 10, NOW - 10))
    assert system.rules().check().ok
    system.clock.advance(3600)
    assert system.rules().check().counts() == {"orphaned": 1}


@pytest.mark.parametrize("name", ["queue.db", "products.db", "registry.db", "files"])
def test_what_cannot_be_read_makes_no_orphans(system: System, name: str) -> None:
    """A database that is gone, or a disk that is not mounted: said, and nothing is judged by it."""
    (system.root / name).rename(system.root / "elsewhere")
    report = system.rules().check()
    assert not report.ok
    assert report.disagreements == ()
    assert list(report.unread)
    assert not (system.root / name).exists(), "an empty database was made"


def test_a_source_that_breaks_off_is_not_half_believed() -> None:
    """The rows that came before its error prove nothing."""

    def broken() -> Iterator[dict[str, Any]]:
        yield {"id": 1, "path": "a"}
        raise OSError(5, "I/O error")

    subject = Consistency(
        {"files": lambda: [{"id": 1, "path": "a"}, {"id": 2, "path": "b"}], "rows": broken},
        [NoOrphans("files", [("rows", "path")])],
    )
    report = subject.check()
    assert report.disagreements == ()
    assert list(report.unread) == ["rows"]


def test_a_remedy_may_be_a_function(system: System) -> None:
    """It gets the disagreement; its error is reported and keeps none of the others from being repaired."""
    asked = []

    def repair(found: Any) -> bool:
        asked.append(found.key)
        if found.key == "1":
            raise OSError(5, "broken")
        return bool(found.key != "2")

    def rows() -> list[dict[str, Any]]:
        return [{"id": id, "path": f"none{id}"} for id in (1, 2, 3)]

    subject = Consistency({"rows": rows}, [FileExists("rows", system.root, remedy=repair)])
    report = subject.check()
    assert report.disagreements[0].remedy == "call repair"
    done = subject.repair(report, dry_run=False)
    assert asked == ["1", "2", "3"]
    assert [len(one) for one in (done.repaired, done.left, done.failed)] == [1, 1, 1]
    assert not done.ok


def test_only_chooses(system: System) -> None:
    """By rule, kind or source."""
    PLANTS["a file that no row names"][2](system)
    PLANTS["a calibration without a product"][2](system)
    rules = system.rules()
    report = rules.check()
    assert len(report.disagreements) == 2
    assert [one.source for one in rules.repair(report, only={"files"}).repaired] == ["files"]
    assert len(rules.repair(report, only={"orphaned"}).repaired) == 2


def test_two_rules_of_one_kind_keep_their_remedies(system: System) -> None:
    """What the second one found is repaired by the second one's remedy."""
    rows = SqliteRows(system.root / "queue.db", "queue")
    system.run("queue", "INSERT INTO queue VALUES ('r', 'held', ?)", NOW - 700)
    subject = Consistency(
        {"queue": rows},
        [
            NotStuck("queue", 600, statuses=["running"], remedy=RemoveRow(), clock=system.clock),
            NotStuck(
                "queue", 600, statuses=["held"], remedy=SetColumns({"status": "free"}), clock=system.clock
            ),
        ],
    )
    subject.repair(subject.check(), dry_run=False)
    assert system.run("queue", "SELECT status FROM queue WHERE id='r'") == [("free",)]


def test_mistakes_are_told_at_once() -> None:
    """A rule about a source that there is not; a change of rows that a function reads; no source at all."""
    with pytest.raises(UsageError):
        Consistency({"a": list}, [NotStuck("b", 1)])
    with pytest.raises(UsageError, match="can't be changed"):
        Consistency({"a": list}, [NotStuck("a", 1, remedy=RemoveRow())])
    with pytest.raises(UsageError):
        Consistency({"a": 7}, [])  # type: ignore[dict-item]


def test_what_is_in_quarantine_is_no_orphan_again(tmp_path: Path) -> None:
    """Also where the quarantine lies below the directory that is looked at."""
    (tmp_path / "x").write_text("x")
    os.utime(tmp_path / "x", (1, 1))
    subject = Consistency(
        {
            "files": FileRows(tmp_path, quarantine=tmp_path / "quarantine"),
            "rows": lambda: [{"id": 1, "path": "y"}],
        },
        [NoOrphans("files", [("rows", "path")], remedy=RemoveRow())],
    )
    assert len(subject.repair(subject.check(), dry_run=False).repaired) == 1
    assert subject.check().ok
    assert (tmp_path / "quarantine" / "x").exists()


# --- the store's own ----------------------------------------------------------------------------------------


def filled(root: Path) -> Path:
    """A store with one good checkpoint and one of each kind that is not."""
    store = root / "checkpoints.db"
    code = (
        "import os; from pathlib import Path; from chaoskit.runtime import Checkpoints\n"
        f"steps = Checkpoints(Path({str(store)!r})); steps.claim('stuck'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with Checkpoints(store) as steps:
        for key in ("good", "gone", "other"):
            (root / key).write_text(key)
            claim = steps.claim(key)
            assert claim is not None
            claim.complete(artefacts=[key])
    (root / "gone").unlink()
    (root / "other").write_text("!!!!!")
    return store


@pytest.mark.parametrize(
    ("scope", "key"), [("", "sub/b.csv"), ("run/7", "x/y"), ("50%2F", "a%2Fb"), ("", "/")]
)
def test_a_checkpoint_is_found_again_whatever_its_name(tmp_path: Path, scope: str, key: str) -> None:
    """Keys are often paths; what is found under one is what is repaired."""
    with Store.open(tmp_path / "store.db") as store, Checkpoints(store) as steps:
        (tmp_path / "out").write_text("x")
        claim = steps.claim(key, scope=scope)
        assert claim is not None
        claim.complete(artefacts=[tmp_path / "out"])
        (tmp_path / "out").unlink()
        subject = Consistency(
            {"steps": CheckpointRows(store)}, [CheckpointsHold("steps", store, tmp_path, store.path)]
        )
        done = subject.repair(subject.check(), dry_run=False)
        assert (len(done.repaired), done.left) == (1, ())
        assert [(one.scope, one.key) for one in steps.pending()] == [(scope, key)]


def test_what_a_damaged_record_refers_to_is_no_orphan(tmp_path: Path) -> None:
    """It is not known, so nothing is judged by what is missing; each other record is judged by itself."""
    with Checkpoints(tmp_path / "store.db") as steps:
        for key in ("one", "two", "three"):
            (tmp_path / key).write_text(key)
            os.utime(tmp_path / key, (1, 1))
            claim = steps.claim(key)
            assert claim is not None
            claim.complete(artefacts=[tmp_path / key])
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("update record set payload = payload || ' ' where key = 'one'")
    (tmp_path / "two").unlink()
    with Store.open(tmp_path / "store.db") as store:
        subject = Consistency(
            {"steps": CheckpointRows(store), "files": FileRows(tmp_path, quarantine=tmp_path / "q")},
            [
                CheckpointsHold("steps", store, tmp_path, store.path),
                NoOrphans("files", [("steps", "key")], remedy=RemoveRow()),
            ],
        )
        report = subject.check()
        assert "1 of its records can't be read, such as 'one'" in report.unread["steps"]
        assert [(one.kind, one.key) for one in report.disagreements] == [("missing", "/two")]
        assert len(subject.repair(report, dry_run=False).repaired) == 1
    assert (tmp_path / "one").exists()


def command(*words: str) -> tuple[int, Any]:
    ended = CliRunner().invoke(recovery, [*words, "--json"], standalone_mode=False)
    return int(ended.return_value or 0), json.loads(ended.output)


def test_the_command_finds_and_repairs_what_the_store_says(tmp_path: Path) -> None:
    """Artefacts that are gone or other than recorded, claims of the dead; they are pending afterwards."""
    store = str(filled(tmp_path))
    code, told = command("--store", store, "consistency")
    assert code == 1
    assert told["counts"] == {"mismatched": 1, "missing": 1, "stuck": 1}
    code, told = command("--store", store, "consistency", "--repair")
    assert (code, told["repair"]["dry_run"], len(told["repair"]["repaired"])) == (1, True, 3)
    code, told = command("--store", store, "consistency", "--repair", "--yes")
    assert (code, len(told["repair"]["repaired"])) == (0, 3)
    assert command("--store", store, "consistency")[0] == 0
    with Checkpoints(Path(store)) as steps:
        assert sorted(one.key for one in steps.pending()) == ["gone", "other", "stuck"]
        assert steps.is_completed("good")


def test_the_command_takes_the_rules_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named as MODULE:NAME, and found in the working directory; text for people."""
    filled(tmp_path)
    (tmp_path / "myrules.py").write_text(
        "from chaoskit.runtime import Consistency, FileExists\n"
        "subject = Consistency({'rows': lambda: [{'id': 1, 'path': 'nothing'}]}, [FileExists('rows', '.')])\n"
        "wrong = int\n"
        "def broken(): raise RuntimeError('no disk')\n"
    )
    (tmp_path / "badrules.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    ended = CliRunner().invoke(
        recovery, ["--store", "checkpoints.db", "consistency", "myrules:subject"], standalone_mode=False
    )
    assert ended.return_value == 1
    assert "'nothing' is not there" in ended.output
    for words, text in (
        (["myrules:broken"], "RuntimeError: no disk"),
        (["badrules:x"], "badrules.py, line 1"),
    ):
        ended = CliRunner().invoke(recovery, ["--store", "checkpoints.db", "consistency", *words])
        assert isinstance(ended.exception, UsageError)
        assert text in str(ended.exception)
    for words in (["myrules:wrong"], ["myrules"], ["nosuch:x"], ["--yes"]):
        ended = CliRunner().invoke(recovery, ["--store", "checkpoints.db", "consistency", *words])
        assert ended.exit_code != 0
