"""Together with pyfakefs, responses, freezegun and Hypothesis, as their users combine them."""

from __future__ import annotations

import datetime
import json
import os
import time
from pathlib import Path
from time import time as now
from typing import Any

import freezegun
import pytest
import requests
import responses
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chaoskit import injecting
from chaoskit.core.errors import UsageError
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.runtime import RetryPolicy


def save(path: str, state: object) -> None:
    """Whole or not at all."""
    with open(f"{path}.tmp", "w") as file:
        json.dump(state, file)
    os.replace(f"{path}.tmp", path)


def save_in_place(path: str, state: object) -> None:
    """Planted: there is a moment with neither the old state nor the new."""
    with open(path, "w") as file:
        json.dump(state, file)


PHASES = (Phase.generate, Phase.shrink)
SCHEDULES = st.sampled_from(
    [
        *("open(*)#1=EACCES", "write(*)#1=ENOSPC", "write(*)#1=kill", "write(*)#1=kill[torn 3]"),
        *("close(*)#1=EIO", "write(*)#1=short[2]", "write(*)#1=full[4]"),
    ]
)
STATES = st.dictionaries(st.text(max_size=5), st.integers(), max_size=3)


def whole(saved: Any, old: object, new: object, schedule: str) -> bool:
    save("/data/state", old)
    try:
        with injecting(schedule, path="/data", must_strike=False):
            saved("/data/state", new)
    except OSError:
        pass
    try:
        return json.loads(Path("/data/state").read_text()) in (old, new)
    except ValueError:
        return False


def test_a_property_of_saving_holds_in_memory(fs: Any) -> None:
    """A hundred examples of state and fault, none of which touches a disk."""
    fs.create_dir("/data")
    examples = []

    @settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(STATES, STATES, SCHEDULES)
    def holds(old: object, new: object, schedule: str) -> None:
        examples.append(schedule)
        assert whole(save, old, new, schedule)

    holds()
    assert len(set(examples)) > 4


def test_a_power_loss_is_refused_in_memory(fs: Any) -> None:
    """Crash states are made of real files: what pyfakefs keeps is refused, with the way out."""
    fs.create_dir("/data")
    with pytest.raises(UsageError, match="Leave out the fixture fs"):
        Snapshot.take("/data")


def test_a_property_that_does_not_hold_is_broken_in_memory(fs: Any) -> None:
    """Hypothesis finds the planted bug, and shrinks state and fault together."""
    fs.create_dir("/data")
    broken: list[tuple[object, object, str]] = []

    @settings(
        max_examples=50, phases=PHASES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(STATES, STATES, SCHEDULES)
    def holds(old: object, new: object, schedule: str) -> None:
        if not whole(save_in_place, old, new, schedule):
            broken.append((old, new, schedule))
            raise AssertionError

    with pytest.raises(AssertionError):
        holds()
    assert broken[-1][:2] == ({}, {})


@responses.activate
@pytest.mark.parametrize(
    ("fault", "done", "error"),
    [
        ("reset[request]", 0, requests.ConnectionError),
        ("reset[0]", 1, requests.ConnectionError),
        ("eof[0]", 1, requests.ConnectionError),
        ("silent[0]", 1, requests.ReadTimeout),
        ("status[503]", 0, requests.HTTPError),
        ("lost[504]", 1, requests.HTTPError),
    ],
)
def test_a_stub_answers_and_a_rule_says_what_gets_through(
    tmp_path: Path, fault: str, done: int, error: type[Exception]
) -> None:
    """The stub counts what the server has done, the client sees what it would see."""
    pay = responses.post("https://shop.example/pay", json={"ok": True})
    with injecting(f"http(shop.example,POST,/pay)#1={fault}", path=tmp_path) as seen:
        with pytest.raises(error):
            requests.post("https://shop.example/pay", timeout=5).raise_for_status()
        assert requests.post("https://shop.example/pay", timeout=5).json() == {"ok": True}
    assert (pay.call_count, len(seen.faults)) == (done + 1, 1)


@responses.activate
def test_a_request_that_arrives_twice_charges_twice(tmp_path: Path) -> None:
    """What a client without an idempotency key cannot see."""
    pay = responses.post("https://shop.example/pay", status=200)
    with injecting("http(shop.example,POST,/pay)#1=twice", path=tmp_path):
        assert requests.post("https://shop.example/pay", timeout=5).ok
    assert pay.call_count == 2


@responses.activate
def test_a_retry_policy_meets_faults_of_http(tmp_path: Path) -> None:
    """A retry after a lost answer doubles its effect, and one after a reset does not."""
    pay = responses.post("https://shop.example/pay", status=200)
    policy = RetryPolicy(attempts=3, on=requests.ConnectionError)
    waits: list[float] = []

    def client() -> int:
        return requests.post("https://shop.example/pay", timeout=5).status_code

    for fault, charged in (("reset[request]", 1), ("reset[0]", 2)):
        before = pay.call_count
        with injecting(f"http(shop.example,POST,/pay)#1={fault}", path=tmp_path):
            assert policy.call(client) == 200
        assert pay.call_count - before == charged
    assert waits == []


def test_frozen_time_is_moved_by_a_step(tmp_path: Path) -> None:
    """Time is freezegun's; the step is seen by every way to ask for it, from the struck read on."""
    with freezegun.freeze_time("2026-01-01T12:00:00"):
        with injecting("clock(wall)#2=step[-3600]", path=tmp_path) as seen:
            first, second, third = time.time(), datetime.datetime.now(), now()
        after = datetime.datetime.now()
    assert (second, after) == (datetime.datetime(2026, 1, 1, 11), datetime.datetime(2026, 1, 1, 11))
    assert third == first - 3600
    assert len(seen.faults) == 1


@pytest.mark.parametrize("fault", ["step[-3600]", "set[2026-01-01T11:00:00Z]"])
def test_a_clock_of_time_machine_is_set_in_the_middle(tmp_path: Path, fault: str) -> None:
    """From the struck read on ``datetime``, which asks in C, has the new time as well."""
    time_machine = pytest.importorskip("time_machine")
    noon = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
    with time_machine.travel(noon, tick=False):
        with injecting(f"clock(wall)#2={fault}", path=tmp_path) as seen:
            first, second, third = time.time(), now(), datetime.datetime.now(datetime.UTC)
        assert (first, second) == (noon.timestamp(), noon.timestamp() - 3600)
        assert third == noon - datetime.timedelta(hours=1)
        assert len(seen.faults) == 1
    assert time.time() > noon.timestamp()


def test_a_lease_that_trusts_the_wall_clock_is_found(tmp_path: Path) -> None:
    """Planted: a clock that is put back makes it valid again; its twin by the monotonic clock is not."""

    def expired(clock: Any) -> bool:
        begun = clock()
        return bool(clock() - begun < 0)

    with injecting("clock(wall)#2=step[-60]", path=tmp_path):
        assert expired(time.time)
    with injecting("clock(wall)#2=step[-60]", path=tmp_path, must_strike=False):
        assert not expired(time.monotonic)


def test_real_time_is_set_and_stands_still_and_is_real_again(tmp_path: Path) -> None:
    """Without freezegun the reads of ``time`` are struck, under names bound before too."""
    with injecting("clock(wall)#1=set[2038-01-19T03:14:07Z]", path=tmp_path):
        assert 0 <= now() - 2**31 + 1 < 60
    with injecting("clock(wall)#1=freeze", path=tmp_path):
        assert now() == time.time()
    assert abs(now() - time.time()) < 60
    assert time.time() < 2**31 - 1
