"""Scenarios of the network, of clocks and of damaged files, run by test_verdicts.py once with each backend.

Some hold and some are broken on purpose: the backends must agree on both. The clients are written in Python,
so that the in-process backend sees them.
"""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import socket
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from chaoskit import faults, scenario

requests = pytest.importorskip("requests", reason="needs the dependency group test")

SHOP = "http://shop.example"
HTTP = faults.http()
STEPS = faults.clock()
PATIENCE = 15


def answered(path: str) -> Any:
    with requests.Session() as session:
        return session.get(f"{SHOP}{path}", timeout=PATIENCE)


def pay(path: Path, key: str) -> None:
    with requests.Session() as session:
        answer = session.post(f"{SHOP}/pay", data=b"100", headers={"Key": key}, timeout=PATIENCE)
        answer.raise_for_status()


def pay_again(path: Path) -> None:
    for attempt in range(2):
        try:
            pay(path, "")
            return
        except requests.RequestException:
            if attempt:
                raise


def note_then_pay(path: Path) -> None:
    (path / "paid").write_text("yes")
    pay(path, "")


def pay_then_note(path: Path) -> None:
    pay(path, "")
    (path / "paid").write_text("yes")


@scenario(HTTP.without("twice"))
def test_pays_again_after_any_error(chaos: Any) -> None:
    shop = chaos.peer("shop.example", start={"POST /pay": {"ok": True}})
    chaos.run(pay_again, chaos.path)
    assert len(shop.requests) <= 1


@scenario(HTTP.without("twice"))
def test_pays_once(chaos: Any) -> None:
    shop = chaos.peer("shop.example", start={"POST /pay": {"ok": True}})
    chaos.run(pay, chaos.path, "")
    assert len(shop.requests) <= 1


@scenario(faults.network())
def test_notes_before_it_pays(chaos: Any) -> None:
    shop = chaos.peer("shop.example", start={"POST /pay": {"ok": True}})
    chaos.run(note_then_pay, chaos.path)
    assert not (chaos.path / "paid").exists() or shop.requests


@scenario(faults.network())
def test_pays_before_it_notes(chaos: Any) -> None:
    shop = chaos.peer("shop.example", start={"POST /pay": {"ok": True}})
    chaos.run(pay_then_note, chaos.path)
    assert not (chaos.path / "paid").exists() or shop.requests


PAGE = {"GET /page": {"whole": True, "rows": list(range(20))}}


def stores_anything(path: Path) -> None:
    (path / "page").write_text(answered("/page").text)


def stores_what_is_good(path: Path) -> None:
    answer = answered("/page")
    answer.raise_for_status()
    assert answer.json()["whole"]
    (path / "page.tmp").write_text(answer.text)
    os.replace(path / "page.tmp", path / "page")


@pytest.mark.parametrize("work", [stores_anything, stores_what_is_good])
@scenario(HTTP)
def test_stores_a_page(chaos: Any, work: Any) -> None:
    chaos.peer("shop.example", start=PAGE)
    chaos.run(work, chaos.path)
    assert not (chaos.path / "page").exists() or '"whole": true' in (chaos.path / "page").read_text()


def rate_or_zero() -> float:
    try:
        return float(answered("/rate").json()["eur"])
    except (requests.RequestException, ValueError, KeyError):
        return 0.0


def rate() -> float:
    answer = answered("/rate")
    answer.raise_for_status()
    return float(answer.json()["eur"])


@pytest.mark.parametrize("work", [rate_or_zero, rate])
@scenario(faults.network())
def test_takes_no_answer_for_none(chaos: Any, work: Any) -> None:
    chaos.peer("shop.example", start={"GET /rate": {"eur": 1.5}})
    outcome = chaos.run(work)
    assert not outcome.ok or outcome.value == 1.5


def lease_by_wall_clock() -> bool:
    until = time.time() + 10
    time.sleep(0.01)
    return time.time() < until


def lease_by_monotonic_clock() -> bool:
    until = time.monotonic() + 10
    time.sleep(0.01)
    return time.monotonic() < until


@pytest.mark.parametrize("work", [lease_by_wall_clock, lease_by_monotonic_clock])
@scenario(STEPS)
def test_holds_a_lease(chaos: Any, work: Any) -> None:
    assert chaos.run(work).value


def duration() -> float:
    began = time.time()
    time.sleep(0.01)
    return time.time() - began


def duration_not_below_zero() -> float:
    return max(0.0, duration())


@pytest.mark.parametrize("work", [duration, duration_not_below_zero])
@scenario(STEPS)
def test_measures_how_long_it_took(chaos: Any, work: Any) -> None:
    assert chaos.run(work).value >= 0


def stamp(path: Path) -> None:
    for number in range(2):
        with open(path / "log", "a") as file:
            file.write(f"{time.time():.6f} {number}\n")


@scenario(STEPS)
def test_sorts_a_log_by_time(chaos: Any) -> None:
    chaos.run(stamp, chaos.path)
    lines = (chaos.path / "log").read_text().splitlines()
    assert sorted(lines) == lines


TOTAL = 60
ROWS = json.dumps({"rows": [10, 20, 30], "total": TOTAL}).encode()
DAMAGE = faults.corruption(per_file=25)


def reads_json(path: Path) -> int:
    with open(path / "in.json", "rb") as file:
        return sum(json.loads(file.read())["rows"])


def reads_json_with_its_total(path: Path) -> int:
    found = json.loads((path / "in.json").read_bytes())
    if sum(found["rows"]) != found["total"] or found["total"] != TOTAL:
        raise ValueError("the rows do not make up the total")
    return sum(found["rows"])


def reads_gzip_as_far_as_it_goes(path: Path) -> int:
    found = b""
    with gzip.open(path / "in.gz") as file:
        try:
            while len(found) < 2 * len(ROWS) and (part := file.read(1)):
                found += part
        except (OSError, EOFError):
            pass
    return found.count(b"0")


def reads_gzip(path: Path) -> int:
    with gzip.open(path / "in.gz") as file:
        found = file.read()
    if len(found) != len(ROWS):
        raise EOFError("it ends too early, or too late")
    return found.count(b"0")


def reads_members_that_are_good(path: Path) -> int:
    found = 0
    with zipfile.ZipFile(path / "in.zip") as archive:
        for name in archive.namelist():
            try:
                found += len(archive.read(name)) == len(ROWS)
            except zipfile.BadZipFile:
                continue
    return found


def reads_members(path: Path) -> int:
    with zipfile.ZipFile(path / "in.zip") as archive:
        if [archive.read(name) for name in ("a", "b")] != [ROWS, ROWS]:
            raise ValueError("other members than expected")
        return 2


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (reads_json, TOTAL),
        (reads_json_with_its_total, TOTAL),
        (reads_gzip_as_far_as_it_goes, ROWS.count(b"0")),
        (reads_gzip, ROWS.count(b"0")),
        (reads_members_that_are_good, 2),
        (reads_members, 2),
    ],
)
@scenario(DAMAGE)
def test_reads_its_input(chaos: Any, work: Any, expected: int) -> None:
    (chaos.path / "in.json").write_bytes(ROWS)
    (chaos.path / "in.gz").write_bytes(gzip.compress(ROWS, mtime=0))
    with zipfile.ZipFile(chaos.path / "in.zip", "w") as archive:
        for name in ("a", "b"):
            archive.writestr(zipfile.ZipInfo(name), ROWS)
    outcome = chaos.run(work, chaos.path)
    assert not outcome.ok or outcome.value == expected


def takes_what_comes(path: Path) -> None:
    connection = http.client.HTTPConnection("shop.example", timeout=PATIENCE)
    try:
        connection.request("GET", "/page")
        answer = connection.getresponse()
        body = b""
        while part := answer.read(16):
            body += part
        (path / "page").write_bytes(body)
    finally:
        connection.close()


def takes_what_is_whole(path: Path) -> None:
    connection = http.client.HTTPConnection("shop.example", timeout=PATIENCE)
    try:
        connection.request("GET", "/page")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or not json.loads(body)["whole"]:
            raise ValueError(f"no page, but {answer.status}")
        (path / "page").write_bytes(body)
    finally:
        connection.close()


@pytest.mark.parametrize("work", [takes_what_comes, takes_what_is_whole])
@scenario(faults.network() | HTTP)
def test_downloads_without_a_library(chaos: Any, work: Any) -> None:
    chaos.peer("shop.example", start=PAGE)
    chaos.run(work, chaos.path)
    found = (chaos.path / "page").read_bytes() if (chaos.path / "page").exists() else None
    assert found is None or found.endswith(b"19]}")


def bank(port: int) -> None:
    """Greets, and answers each line with one of its own; a connection may stay open."""
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=served, args=(connection,), daemon=True).start()


def served(connection: socket.socket) -> None:
    with connection, connection.makefile("rwb") as stream:
        stream.write(b"ready\n")
        stream.flush()
        for line in stream:
            stream.write(b"done " + line)
            stream.flush()


def transfer() -> None:
    with socket.create_connection(("bank.example", 4000), PATIENCE) as sock, sock.makefile("rwb") as stream:
        if stream.readline() != b"ready\n":
            raise ConnectionError("no greeting")
        stream.write(b"move 100\n")
        stream.flush()
        if stream.readline() != b"done move 100\n":
            raise ConnectionError("no answer")


def transfer_again_after_an_error() -> None:
    try:
        transfer()
    except OSError:
        transfer()


@pytest.mark.parametrize("work", [transfer, transfer_again_after_an_error])
@scenario(faults.network() | faults.kill())
def test_moves_money_once(chaos: Any, work: Any) -> None:
    there = chaos.peer("bank.example", start=bank)
    chaos.run(work)
    assert len([one for one in there.requests if one.body]) <= 1


async def balance_as_it_comes() -> str:
    reader, writer = await asyncio.open_connection("bank.example", 4000)
    if await reader.readline() != b"ready\n":
        raise ConnectionError("no greeting")
    writer.write(b"balance\n")
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()


async def balance_that_is_whole() -> str:
    reader, writer = await asyncio.open_connection("bank.example", 4000)
    if await reader.readline() != b"ready\n":
        raise ConnectionError("no greeting")
    writer.write(b"balance\n")
    answer = await reader.readuntil(b"\n")
    writer.close()
    return answer.decode().strip()


@pytest.mark.parametrize("work", [balance_as_it_comes, balance_that_is_whole])
@scenario(faults.network().without("silent"))
def test_asks_in_a_loop(chaos: Any, work: Any) -> None:
    chaos.peer("bank.example", start=bank)
    outcome = chaos.run(work)
    assert not outcome.ok or outcome.value == "done balance"
