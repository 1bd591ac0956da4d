"""The runner under everything that can go wrong around it; ``world.check`` has what must hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from budgets import at_length, bounded, planted
from click.testing import CliRunner
from planting import Planted, Shown, missed
from postgres import new_schema, running_postgres

from chaoskit import Chaos, faults, scenario
from chaoskit.cli.recovery import recovery
from chaoskit.runtime import DeadLetter, DeadLetters
from chaoskit.runtime.config import ConfigurationProblems
from scenarios.neuro import settings, world
from scenarios.neuro.place import QUICK, running_place, until

TIMEOUT = 120
"""Seconds of the machine; those of the runner cost nothing."""
# The check is one function: test_killed_at_any_point tries it on spoiled states, the others do without
# (oracle="off").


def struck(chaos: Chaos) -> None:
    """A night that is struck."""
    world.prepare(chaos.path)
    chaos.run(world.night, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)


def goes_on(chaos: Chaos) -> None:
    """The next night; another one if that was struck itself."""
    if not chaos.run(world.night, chaos.path, chaos.promise).ok:
        chaos.run(world.night, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised, settled=True)


def ends_well(chaos: Chaos) -> None:
    """A night that is struck, and those after it."""
    struck(chaos)
    goes_on(chaos)


@at_length
@scenario(faults.kill(), budget=bounded(6), timeout=TIMEOUT)
def test_killed_at_any_point(chaos: Chaos) -> None:
    """The worker, or its container, is killed at any change of the disk; all messages are lost with it."""
    struck(chaos)
    left = world.interrupted(chaos.path)
    goes_on(chaos)
    chaos.sometimes("a run of a dead worker was taken over", left)
    chaos.sometimes("a dead letter was put back", world.redriven(chaos.path))


@scenario(faults.power_loss(), model="strict", budget=bounded(6), timeout=TIMEOUT, oracle="off")
def test_the_power_goes(chaos: Chaos) -> None:
    """What was accepted, done or resolved is so on whatever the disk kept."""
    ends_well(chaos)


@at_length
@scenario(faults.disk(), budget=bounded(6), timeout=TIMEOUT, oracle="off")
def test_the_disk_is_in_trouble(chaos: Chaos) -> None:
    """Full, read-only, broken: under the database as under what the containers write."""
    ends_well(chaos)


@at_length
@scenario(faults.clock(), budget=bounded(3), timeout=TIMEOUT, oracle="off")
def test_the_clock_is_set(chaos: Chaos) -> None:
    """An hour back or ahead: no run is lost, started too often or dead-lettered twice for that."""
    ends_well(chaos)


@at_length
@scenario(faults.kill() | faults.disk(), depth=2, budget=bounded(4), timeout=TIMEOUT, oracle="off")
def test_trouble_in_the_recovery(chaos: Chaos) -> None:
    """A crash, then another fault in what goes on from there."""
    ends_well(chaos)


DATABASE, HOOK = "db.example", "hooks.example"
SOON = {**QUICK, "NEURO_LOOK_EVERY": "1", "NEURO_RUNTIME__CELERY__GRACE": "0"}
"""For a database whose clock is not ours."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a database server for this module."""
    with running_postgres(tcp=True) as server:
        yield server.port


# Silence is left to the operating system, whose patience with a connection is not virtual.
@scenario(
    faults.network().without("silent").on(host=DATABASE), budget=bounded(4), timeout=TIMEOUT, oracle="off"
)
def test_the_database_is_away(chaos: Chaos, port: int) -> None:
    """Refused, reset, closed at any exchange with PostgreSQL, whose answer is then lost."""
    target = f"postgresql://app@{{}}:{port}/postgres?schema={new_schema()}&sslmode=disable"
    there, here = target.format(DATABASE), target.format("127.0.0.1")
    world.prepare(chaos.path)
    chaos.peer(DATABASE, address=("127.0.0.1", port))
    if not chaos.run(world.night, chaos.path, chaos.promise, there, **SOON).ok:
        chaos.run(world.night, chaos.path, chaos.promise, there, **SOON)
    world.check(chaos.path, chaos.promised, here)
    # The next night; another one if that was struck itself.
    if not chaos.run(world.night, chaos.path, chaos.promise, there, **SOON).ok:
        chaos.run(world.night, chaos.path, chaos.promise, there, **SOON)
    world.check(chaos.path, chaos.promised, here, settled=True)


@at_length
@scenario(faults.network().on(host=HOOK), budget=bounded(3), timeout=TIMEOUT, oracle="off")
def test_news_cannot_be_told(chaos: Chaos) -> None:
    """The webhook is down, silent or cut off: no run depends on it, and every letter is told in the end."""
    world.prepare(chaos.path)
    hook = chaos.peer(HOOK, start={"POST /ops": "ok"})
    address = {"NEURO_RUNTIME__NOTIFICATIONS__WEBHOOK__URL": f"http://{HOOK}/ops"}
    for _ in range(2):
        assert chaos.run(world.night, chaos.path, chaos.promise, **address).ok
    world.check(chaos.path, chaos.promised, settled=True)
    told = "\n".join(str(request) for request in hook.requests)
    for run in ("conversion.always137.1", "preprocessing.garbage.1"):
        assert run in told, f"of {run} nothing was told: {told}"


def test_the_numbers_are_those_of_its_users(tmp_path: Path) -> None:
    """Three attempts from 300 s to an hour, doubling, with 20 %; each pipeline's own; letters for 90 days."""
    runtime = settings.read(world.environment(tmp_path)).value.runtime
    policies = runtime.policies()
    found = {name: (one.attempts, one.wait.initial, one.wait.cap) for name, one in policies.items()}
    assert found == {
        "default": (3, 300.0, 3600.0),
        "conversion": (2, 300.0, 1800.0),
        "preprocessing": (3, 1800.0, 7200.0),
        "reconstruction": (3, 1800.0, 3600.0),
        "parcellation": (3, 300.0, 1800.0),
    }
    bands = [policies["default"].wait.band(failures, 0.0) for failures in (1, 2, 10**6)]
    assert bands == [(240.0, 360.0), (480.0, 720.0), (2880.0, 3600.0)]
    assert runtime.dead_letters.keep == 90 * 86400.0
    with pytest.raises(ConfigurationProblems, match="rules"):
        settings.read(
            {**world.environment(tmp_path), "NEURO_RULES": '[{"name": "x", "verdict": "DiskFull"}]'}
        )


def letters_of(tmp_path: Path, runs: list[tuple[str, str, str]], **more: str) -> dict[str, DeadLetter]:
    """What is given up of some runs, by their names."""
    world.prepare(tmp_path)
    with world.opened(tmp_path, **SOON, **more) as neuro:
        for run in runs:
            neuro.submit(*run)
        world.drain(neuro)
        return {one.run_id: one for one in neuro.letters().find()}


def test_what_a_container_says_decides(tmp_path: Path) -> None:
    """Exit codes, garbage, the site's own rules before the built-in ones, and our time-out, with the rule."""
    short = {"NEURO_PIPELINES__CONVERSION__TIMEOUT": "0.3"}
    letters = letters_of(tmp_path, [*world.RUNS, *world.MORE], **short)
    assert {name: (one.attempts, one.error["type"]) for name, one in letters.items()} == {
        "conversion.always137.1": (2, "OutOfMemory"),
        "preprocessing.garbage.1": (1, "PermanentError"),
        "conversion.endless.1": (2, "Overloaded"),
    }
    rules = {name: one.error["message"].split("(")[1].split(")")[0] for name, one in letters.items()}
    assert sorted(rules.values()) == ["exit.killed", "exit.system", "exit.timeout"]
    garbage = letters["preprocessing.garbage.1"]
    assert "no words" in garbage.error["message"]
    assert garbage.error["chain"][0]["type"] == "CalledProcessError"
    with world.opened(tmp_path) as neuro:
        for name in ("preprocessing.once137.1", "reconstruction.once124.1", "parcellation.gpu.1"):
            record = neuro.tasks[name.split(".")[0]].steps().record(name)
            assert record is not None
            assert (record.status, record.attempts, len(record.history)) == ("completed", 2, 1), name
            assert record.history[0]["type"] in ("OutOfMemory", "Overloaded", "TransientError")


def test_what_cannot_pass_is_not_tried_again(tmp_path: Path) -> None:
    """Wrong use, wrong input and what the site calls wrong end at once; what it calls busy is tried again."""
    hows = [("conversion", "2", "1"), ("conversion", "65", "1"), ("reconstruction", "licence", "1")]
    letters = letters_of(tmp_path, [*hows, ("parcellation", "99", "1")])
    rules = {name: one.error["message"].split("(")[1].split(")")[0] for name, one in letters.items()}
    assert {name: (one.attempts, one.error["type"], rules[name]) for name, one in letters.items()} == {
        "conversion.2.1": (1, "ConfigurationError", "exit.usage"),
        "conversion.65.1": (1, "ValidationError", "exit.data"),
        "reconstruction.licence.1": (1, "ConfigurationError", "site.licence"),
        "parcellation.99.1": (3, "ResourceError", "site.busy"),
    }


def command(tmp_path: Path, *words: str) -> Any:
    """What ``chaoskit recovery`` says, as JSON; the exit code may be 0 or 1."""
    place = ["--store", str(tmp_path / "state" / "runs.db")]
    ended = CliRunner().invoke(recovery, [*place, *words, "--json"], standalone_mode=False)
    assert ended.exception is None, ended.output
    return json.loads(ended.output)


def test_an_operator_at_work(tmp_path: Path) -> None:
    """List, show, retry, retry all (dry), resolve, numbers; and what is resolved goes after its time."""
    letters = letters_of(tmp_path, world.RUNS)
    ids = {name: one.id for name, one in letters.items()}
    always, garbage = ids["conversion.always137.1"], ids["preprocessing.garbage.1"]
    assert {one["id"] for one in command(tmp_path, "list")["letters"]} == {always, garbage}
    assert [one["id"] for one in command(tmp_path, "list", "--pipeline", "conversion")["letters"]] == [always]
    shown = command(tmp_path, "show", garbage)["letter"]
    assert (shown["session"], shown["subject"], len(shown["history"])) == ("1", "garbage", 1)
    assert command(tmp_path, "retry-all", "--dry-run", "--by", "me")["dry_run"]
    command(tmp_path, "resolve", garbage, "--by", "me", "--notes", "no such brain")
    command(tmp_path, "retry", always, "--by", "me", "--force")
    numbers = command(tmp_path, "stats")
    assert numbers["dead_letters"]["unresolved"] == 1, numbers
    with world.opened(tmp_path, **SOON, NEURO_RUNTIME__DEAD_LETTERS__KEEP="0") as neuro:
        world.drain(neuro)
        neuro.look_after()
        (left,) = neuro.letters().find(resolved=None)
        assert (left.id, left.redrives, left.status) == (always, 1, "open")


def test_real_workers_in_real_trouble() -> None:
    """Redis, PostgreSQL and workers are killed in the middle of runs; the database is locked, full, away."""
    with running_place() as place:
        redis = place.broker()
        for run in world.RUNS:
            place.neuro.submit(*run)
        place.work()
        place.ends("conversion.good.1", "completed")
        place.ends("preprocessing.once137.1", "completed")
        place.ends("conversion.always137.1", "dead")
        place.ends("preprocessing.garbage.1", "dead")

        # Killed in the middle, as a whole; another one takes it up.
        slow = place.neuro.submit("conversion", "slow-a", "1")
        place.begun(slow)
        place.kill(place.worker)
        place.go(slow)
        place.work()
        place.ends(slow, "completed")
        assert place.record(slow).attempts == 2

        # The broker goes, with what it had, while one run is on and another one is submitted.
        busy = place.neuro.submit("preprocessing", "slow-b", "1")
        place.begun(busy)
        place.kill(redis)
        (place.directory / "appendonlydir").rename(place.directory / "lost")
        absent = place.neuro.submit("parcellation", "good", "1")
        place.broker()
        place.go(busy)
        for name in (busy, absent):
            place.ends(name, "completed")

        troubled(place, "slow-c", lock, "locked")
        troubled(place, "slow-d", fill, "full")
        troubled(place, "slow-e", stop, "away")
        promised = [f"accepted {'.'.join(run)}" for run in world.RUNS]
        place.close()
        world.check(place.directory, promised, place.database.uri("neuro"), settled=True)


def troubled(place: Any, subject: str, trouble: Any, name: str) -> None:
    """A run whose end meets a database in trouble: it is recorded when that is over."""
    run = place.neuro.submit("reconstruction", subject, "1")
    place.begun(run)
    trouble(place, run)
    place.ends(run, "completed")
    assert place.record(run).attempts <= 3, name


def lock(place: Any, run: str) -> None:
    with place.database.connect() as holder, place.database.connect() as looker:
        holder.execute("begin")
        holder.execute("lock table neuro.record in access exclusive mode")
        place.go(run)
        waiting = "select count(*) from pg_locks where not granted"
        until(lambda: looker.execute(waiting).fetchone()[0], "the worker waits for the lock")
        holder.execute("rollback")


NO_ROOM = """
create sequence public.refused;
create function no_room() returns trigger language plpgsql as $$
begin perform nextval('public.refused'); raise exception 'no room' using errcode = '53100'; end $$;
create trigger no_room before update on neuro.record execute function no_room();
"""
"""What a server says on a full disk, counted where no rollback takes it back."""


def fill(place: Any, run: str) -> None:
    with place.database.connect() as server:
        server.execute(NO_ROOM)
        place.go(run)
        refused = "select is_called from public.refused"
        until(lambda: server.execute(refused).fetchone()[0], "a write is refused")
        server.execute("drop trigger no_room on neuro.record")


def stop(place: Any, run: str) -> None:
    place.database.kill()
    place.go(run)
    output = place.neuro.output(run)
    until(output.exists, "the container has ended")
    place.database.start()


def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is removed."""


def settled_in_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator is told that a letter is settled, and it stays open."""
    monkeypatch.setattr(DeadLetters, "resolve", lambda self, id, **told: True)


@pytest.mark.parametrize(("remove", "holds"), [(as_it_is, True), (settled_in_words_alone, False)])
def test_a_guarantee_less_shows_without_a_fault(
    remove: Callable[[pytest.MonkeyPatch], None], holds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One night is enough to see it; and with the guarantee there is nothing to see."""
    promised: list[str] = []
    world.prepare(tmp_path)
    remove(monkeypatch)
    world.night(tmp_path, promised.append, **SOON)
    with nullcontext() if holds else pytest.raises(AssertionError):
        world.check(tmp_path, promised, settled=True)


PLANTED: Planted = {
    "test_sent_and_not_recorded": Shown("promise()#3=kill", "conversion.always137.1 is lost"),
    "test_starts_are_counted_in_the_message": Shown("run2:promise()#3=kill", "are allowed"),
    "test_letter_and_end_are_two_writes": Shown("promise()#6=kill", "is scheduled and has an open letter"),
    "test_put_back_in_two_writes": Shown("run2:promise()#3=kill", "is put back and not to be had"),
    "test_results_are_written_in_place": Shown(
        "mkdir(state/derivatives/conversion/always137_1)#1=power_loss[only-synced strict]", "good_1/image"
    ),
    "test_the_store_is_not_durable": Shown(
        "promise()#2=power_loss[only-synced strict]", "conversion.good.1 is lost"
    ),
}
"""What each twin does otherwise, and the case that shows it."""


@planted
def test_each_missing_guarantee_is_found(tmp_path: Path) -> None:
    """The invariant breaks, and by the fault that the guarantee is there for."""
    assert missed(Path(__file__).with_name("planted_neuro.py"), PLANTED, tmp_path) == {}
