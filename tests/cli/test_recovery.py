"""``chaoskit recovery``: what an operator sees and does, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chaoskit.cli.group import run
from chaoskit.runtime import Checkpoints, DeadLetters, Outbox, Store

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A job that runs: its store stays open while the commands work."""
    monkeypatch.setenv("CHAOSKIT_STORE", target)
    monkeypatch.chdir(tmp_path)
    with Store.open(target, reserve=0) as store:
        with Checkpoints(store, pipeline="ingest", attempts=1) as checkpoints:
            checkpoints.save("done", 1)
            checkpoints.save("waits", 1, status="pending")
            for key in ("a.csv", "b.csv"):
                claim = checkpoints.claim(key)
                assert claim is not None
                claim.fail(ValueError(f"{key} is ragged"))
        yield store


def ids(store: Store) -> list[str]:
    return [one.id for one in sorted(DeadLetters(store).find(), key=lambda one: one.run_id)]


def asked(capsys: Captured, *words: str, code: int = 0) -> dict[str, Any]:
    """What a command prints for programs."""
    capsys.readouterr()
    assert run(["recovery", *words, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (document["version"], document["command"]) == (1, words[0])
    return document


def test_list_and_show(store: Store, capsys: Captured) -> None:
    """A row for each, with the error; all of it for one, with the traceback."""
    first, second = ids(store)
    assert run(["recovery", "list"]) == 0
    out = capsys.readouterr().out
    assert first in out
    assert "ValueError: a.csv is ragged" in out
    assert run(["recovery", "show", first]) == 0
    assert "ValueError: a.csv is ragged" in capsys.readouterr().out
    assert {one["id"] for one in asked(capsys, "list")["letters"]} == {first, second}
    assert asked(capsys, "show", first)["letter"]["run_id"] == "a.csv"
    assert asked(capsys, "list", "--limit", "1")["more"] is True
    assert asked(capsys, "list", "--pipeline", "none")["letters"] == []


def test_retry_revives_once(store: Store, capsys: Captured) -> None:
    """Twice is once more the same; the checkpoint waits to be claimed; resolved it is refused."""
    first, second = ids(store)
    assert asked(capsys, "retry", first)["key"] == f"{first}#1"
    assert asked(capsys, "retry", first)["key"] == f"{first}#1"
    assert asked(capsys, "retry", "--pipeline", "ingest", "--key", "b.csv")["id"] == second
    with Checkpoints(store, pipeline="ingest", attempts=1) as checkpoints:
        assert {one.key for one in checkpoints.pending()} == {"a.csv", "b.csv", "waits"}
    assert asked(capsys, "resolve", second, "--notes", "by hand", "--by", "me")["changed"] is True
    assert asked(capsys, "resolve", second, "--by", "you")["by"] == "me"
    assert run(["recovery", "retry", second]) == 2


def test_retry_of_a_checkpoint_that_failed(store: Store, capsys: Captured) -> None:
    """With attempts left it has no letter: it is found by its key. What has not failed is refused."""
    with Checkpoints(store, pipeline="other") as checkpoints:
        claim = checkpoints.claim("x")
        assert claim is not None
        claim.fail(ValueError())
        assert asked(capsys, "retry", "--pipeline", "other", "--key", "x")["key"] == "x"
        assert [one.key for one in checkpoints.pending()] == ["x"]
    assert run(["recovery", "retry", "--pipeline", "other", "--key", "x"]) == 2
    assert run(["recovery", "retry"]) == 2
    assert "expected one of them" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "checkpoints"])
@pytest.mark.parametrize("limit", ["0", "9" * 20])
def test_a_list_has_a_length(store: Store, capsys: Captured, command: str, limit: str) -> None:
    """The larger one ended in a traceback."""
    assert run(["recovery", command, "--limit", limit]) == 2
    assert "not in the range" in capsys.readouterr().err


def test_the_limit_is_an_answer(store: Store, capsys: Captured) -> None:
    """Exit code 1, with the way on; --force puts it back."""
    letters = DeadLetters(store, max_redrives=1)
    given: dict[str, Any] = {"pipeline": "p", "run_id": "r", "error": ValueError("x"), "attempts": 1}
    id = letters.add(**given)
    for n in (1, 2, 3):
        letters.redrive(id, by="me", force=True)
        letters.add(**given, redrive=n)
    assert run(["recovery", "retry", id]) == 1
    assert "failed the same way 4 times" in capsys.readouterr().err
    assert asked(capsys, "retry-all", "--pipeline", "p", code=1)["left"].keys() == {id}
    assert asked(capsys, "retry", id, "--force")["key"] == f"{id}#4"


def test_retry_all_dry_first(store: Store, capsys: Captured) -> None:
    """A dry run changes nothing; then all of them wait."""
    both = ids(store)
    assert sorted(asked(capsys, "retry-all", "--dry-run")["redriven"]) == sorted(both)
    assert {one.status for one in DeadLetters(store).find()} == {"open"}
    assert sorted(asked(capsys, "retry-all")["redriven"]) == sorted(both)
    assert {one.status for one in DeadLetters(store).find()} == {"redriven"}
    assert run(["recovery", "retry-all"]) == 0
    assert "0 redriven, 0 left." in capsys.readouterr().out


def test_clear_asks_first(store: Store, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal and without --yes nothing is removed, and the number is told."""
    with open("/dev/null") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert run(["recovery", "clear", "--pipeline", "ingest"]) == 2
    assert "would remove 4 checkpoints of 'ingest'" in capsys.readouterr().err
    clear = ("clear", "--pipeline", "ingest")
    assert asked(capsys, *clear, "--dry-run", "--status", "completed")["count"] == 1
    assert asked(capsys, *clear, "--yes", "--older-than", "7d")["count"] == 0
    assert asked(capsys, *clear, "--yes", "--status", "dead")["count"] == 2
    assert len(asked(capsys, "checkpoints")["checkpoints"]) == 2
    assert run(["recovery", *clear, "--yes", "--older-than", "soon"]) == 2


def test_checkpoints_say_whose_worker_is_gone(store: Store, target: str, capsys: Captured) -> None:
    """By the kernel's word, not by a clock's; health says how many, and a claim takes them."""
    code = (
        "import os, sys; from chaoskit.runtime import Checkpoints; c = Checkpoints(sys.argv[1],"
        " pipeline='ingest', durability='process-crash'); c.claim('waits'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, target], check=True)
    [one] = asked(capsys, "checkpoints", "--status", "running")["checkpoints"]
    assert (one["key"], one["owner_alive"]) == ("waits", False)
    assert run(["recovery", "checkpoints"]) == 0
    assert "running, worker gone" in capsys.readouterr().out
    checks = asked(capsys, "health", code=1)["checks"]
    told = {one["name"]: one["status"] for one in checks if one["name"] != "disk"}
    assert list(told) == ["store", "dead letters", "outbox", "claims"]
    assert list(told.values()) == ["healthy", "degraded", "healthy", "degraded"]


def test_health_and_stats(tmp_path: Path, store: Store, capsys: Captured) -> None:
    """Numbers by pipeline and status; healthy is exit code 0."""
    document = asked(capsys, "stats")
    assert document["checkpoints"] == {"ingest": {"completed": 1, "pending": 1, "dead": 2}}
    assert document["dead_letters"]["unresolved"] == 2
    with store.transaction() as tx:
        Outbox(store).put("t", 1, key="k", tx=tx)
    assert run(["recovery", "stats"]) == 0
    assert "outbox" in capsys.readouterr().out
    for id in ids(store):
        assert run(["recovery", "resolve", id]) == 0
    assert asked(capsys, "health")["status"] == "healthy"


def test_verify_tells_artefacts_from_the_store(tmp_path: Path, store: Store, capsys: Captured) -> None:
    """Exit code 1 for a file that is not what it was, 4 for a record."""
    (tmp_path / "out").write_text("made")
    with Checkpoints(store, pipeline="made") as checkpoints:
        claim = checkpoints.claim("x")
        assert claim is not None
        claim.complete(artefacts=["out"])
    assert asked(capsys, "verify", "--deep")["ok"] is True
    (tmp_path / "out").write_text("lost")
    [found] = asked(capsys, "verify", code=1)["artefacts"]
    assert (found["key"], found["path"], found["trouble"]) == ("x", "out", "has different content")
    assert run(["recovery", "verify", "--no-artefacts"]) == 0
    with store.transaction() as tx:
        tx.execute("update record set payload = '{}' where key = 'done'")  # type: ignore[attr-defined]
    assert [one["key"] for one in asked(capsys, "verify", code=4)["damaged"]] == ["done"]
    assert run(["recovery", "verify"]) == 4


def test_a_store_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing error must not end in an empty list; a directory means the file within."""
    assert run(["recovery", "--store", str(tmp_path / "none.db"), "list"]) == 2
    assert "there is no store" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save("a", 1)
    assert run(["recovery", "--store", str(tmp_path), "checkpoints"]) == 0
    monkeypatch.delenv("CHAOSKIT_STORE", raising=False)
    for words in (["list"], ["--store", "", "list"]):
        capsys.readouterr()
        assert run(["recovery", *words]) == 2
        assert "Missing option '--store'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["file/s.db", "loop", "loop/s.db", "fifo", "folder", "x" * 300, "x" * 252])
def test_a_path_at_which_no_store_can_be_is_wrong_use(tmp_path: Path, capsys: Captured, name: str) -> None:
    """Exit code 4 would send the operator to the backups, and only the path is mistyped."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder" / "checkpoints.db").mkdir(parents=True)
    before = sorted(tmp_path.iterdir())
    assert run(["recovery", "--store", str(tmp_path / name), "list"]) == 2
    told = capsys.readouterr().err
    assert str(tmp_path / name) in told
    assert "Name it with --store or CHAOSKIT_STORE" in told or len(name) == 252
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("wait", ["0", "-1", "nan", "inf"])
def test_a_wait_is_a_time(tmp_path: Path, capsys: Captured, wait: str) -> None:
    """The option is named, as the operator has written it."""
    assert run(["recovery", "--store", str(tmp_path / "s.db"), "--wait", wait, "list"]) == 2
    assert f"--wait: {wait} is not a time; expected seconds" in capsys.readouterr().err


def test_a_store_that_was_cut_to_nothing_is_not_an_empty_one(tmp_path: Path, capsys: Captured) -> None:
    """Exit code 4, and no store is made in the file."""
    path = tmp_path / "store.db"
    path.touch()
    assert run(["recovery", "--store", str(path), "list"]) == 4
    assert "is empty; expected a store" in capsys.readouterr().err
    assert path.stat().st_size == 0


def test_what_is_no_database_is_damaged(tmp_path: Path) -> None:
    """Exit code 4."""
    (tmp_path / "text.db").write_text("no database, and long enough to be looked at" * 100)
    assert run(["recovery", "--store", str(tmp_path / "text.db"), "list"]) == 4


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_no_value_is_obeyed_by_a_terminal(store: Store, capsys: Captured) -> None:
    """Errors and keys come from the data of strangers: what moves a cursor or sets a title is spelt out."""
    evil = "\x1b]0;title\x07\x1b[2J\u202e\udcff"
    id = DeadLetters(store).add(pipeline="p", run_id="r", error=ValueError(f"boom {evil[:-1]}"), attempts=1)
    with Checkpoints(store, pipeline="esc", attempts=1) as checkpoints:
        claim = checkpoints.claim(evil[:-1])
        assert claim is not None
        claim.fail(ValueError(evil[:-1]))
    for words in (
        ["list"],
        ["show", id],
        ["checkpoints"],
        ["retry", "--pipeline", "esc", "--key", evil[:-1]],
    ):
        assert run(["recovery", *words]) == 0
    assert run(["recovery", "show", evil]) == 2
    assert run(["recovery", "flags", "/", "--clear", evil[:-1]]) == 2
    told = capsys.readouterr()
    assert all(char.isprintable() or char == "\n" for char in told.out + told.err)


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_a_list_says_what_it_leaves_out(store: Store, target: str, capsys: Captured) -> None:
    """A damaged record is no reason to show none, and none to look as if there were no more. Exit code 4."""
    with Checkpoints(store, pipeline="odd") as checkpoints:
        checkpoints.save("one", 1)
    store.close()
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("update record set payload = cast(x'ff' as text) where key = 'one'")
        connection.execute("update record set status = x'ff' where key = 'waits'")
        connection.execute(
            "update record set payload = '' where scope = 'ingest' and key = (select min(key)"
            " from record where scope = 'ingest')"
        )
    assert asked(capsys, "checkpoints", code=4)["damaged"] == 2
    assert len(asked(capsys, "list", code=4)["letters"]) == 1
    assert asked(capsys, "retry-all", "--dry-run", code=4)["damaged"] == 1
    assert run(["recovery", "checkpoints"]) == 4
    assert "2 damaged records are left out" in capsys.readouterr().err
    assert len(asked(capsys, "verify", code=4)["damaged"]) == 3
    assert asked(capsys, "stats", code=4)["dead_letters"]["damaged"] == 1
    assert run(["recovery", "stats"]) == 4
    assert run(["recovery", "health"]) == 1
    assert "1 unresolved, 0 poison, 1 that cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_a_history_of_the_user_is_shown_as_it_is(store: Store, capsys: Captured) -> None:
    """Times are numbers where the store writes them; a program may give a text, or nonsense."""
    history = [{"at": "yesterday", "message": "a"}, {"at": 1e300, "message": "b"}, {"message": "c"}]
    id = DeadLetters(store).add(pipeline="p", run_id="r", error=ValueError("x"), attempts=3, history=history)
    assert run(["recovery", "show", id]) == 0
    told = capsys.readouterr().out
    assert "yesterday" in told
    assert "1e+300" in told


@pytest.mark.parametrize("command", ["serve", "health"])
@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_a_port_that_cannot_be_had_is_wrong_use(store: Store, capsys: Captured, command: str) -> None:
    """Taken by another program, or none at all: told in a line."""
    option = "--port" if command == "serve" else "--serve"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["recovery", command, option, str(port)]) == 2
    assert f"--port is {port}: Address already in use" in capsys.readouterr().err
    assert run(["recovery", command, option, "99999"]) == 2


HOLDER = """
import sys
import urllib.request
from chaoskit.runtime import Store
with Store.open(sys.argv[1], durability="memory", reserve=0) as store:
    with store.transaction():
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_a_busy_store_has_an_exit_code_to_itself(store: Store, capsys: Captured) -> None:
    """3, with the pid of the process that holds it, after the time that was given."""
    [id, _] = ids(store)
    # Within one process the first to open a store says how long to wait.
    store.close()
    command = [sys.executable, "-c", HOLDER, os.environ["CHAOSKIT_STORE"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert run(["recovery", "--wait", "0.05", "resolve", id]) == 3
        told = capsys.readouterr().err
        assert str(holder.pid) in told
        assert "--wait was 0.05 seconds" in told
        holder.communicate("")
    assert run(["recovery", "resolve", id]) == 0


def test_a_server_that_is_not_there_has_that_exit_code(capsys: Captured) -> None:
    """A script tries again; and one that has no store of that name is told so."""
    pytest.importorskip("psycopg")
    words = ["--store", "postgresql://app:secret@/jobs?host=/nowhere", "--wait", "1", "list"]
    assert run(["recovery", *words]) == 3
    told = capsys.readouterr().err
    assert "Expected a server that answers" in told
    assert "secret" not in told


def test_health_looks_at_what_the_settings_name(tmp_path: Path, store: Store, capsys: Captured) -> None:
    """A program that is missing, and a queue that has waited too long, each by its name."""
    config = tmp_path / "chaoskit.json"
    config.write_text(
        '{"health": {"tools": ["no-such-tool-7"], "queues": {"ingest": {"warn": 0, "most": "1h"}}}}'
    )
    checks = asked(capsys, "health", "--config", str(config), code=1)["checks"]
    told = {one["name"]: one for one in checks}
    assert told["tools"]["status"] == "unhealthy"
    assert "no-such-tool-7" in told["tools"]["detail"]
    assert told["queue ingest"]["status"] == "degraded"


def test_health_is_served_until_it_is_ended(store: Store, target: str) -> None:
    """The command prints where, and answers there."""
    command = [sys.executable, "-m", "chaoskit", "recovery", "--store", target, "health"]
    serving = subprocess.Popen([*command, "--serve", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert serving.stdout is not None
        url = serving.stdout.readline().strip()
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert json.load(answer)["checks"][0]["name"] == "store"
    finally:
        serving.kill()
        serving.communicate()
