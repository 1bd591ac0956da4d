"""Names: what a resolver asks for, what it is answered, and how it fails."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest


def look_up(name="db.example"):
    """The addresses of a name, or what went wrong."""
    try:
        found = socket.getaddrinfo(name, 5432, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return error.errno
    return [one[4][0] for one in found]


def test_declared_names_have_addresses_and_no_others(talk, lines):
    """Each kind of question is an operation; a name that was not declared does not exist."""
    ran = talk(lambda: (look_up(), look_up("else.example")), record=True)
    assert ran.value == (["127.77.0.1"], socket.EAI_NONAME)
    asked = {str(one) for one in ran.trace if one.call == "dns"}
    assert {"dns(db.example/A)#1 = 1", "dns(db.example/AAAA)#1 = 0"} <= asked
    assert "chaos.peer('else.example'" in next(one.text for one in ran.caveats if one.kind == "undeclared")


def test_a_pattern_stands_for_many_names(talk, peers):
    """``*.db.example`` is every name that ends so."""
    peers.add("*.db.example", ("127.0.0.1", 9), None)
    assert talk(lambda: (look_up("a.db.example"), look_up("db.example"))).value == (
        ["127.77.0.1"],
        socket.EAI_NONAME,
    )


@pytest.mark.parametrize(
    ("fault", "first", "second"),
    [
        ("NXDOMAIN", socket.EAI_NONAME, ["127.77.0.1"]),
        ("NXDOMAIN[persistent]", socket.EAI_NONAME, socket.EAI_NONAME),
        # The other question of the pair is answered, so glibc says that there are no addresses.
        ("SERVFAIL[persistent]", socket.EAI_NODATA, socket.EAI_NODATA),
        ("empty", None, ["127.77.0.1"]),
        ("other", ["127.77.255.1"], ["127.77.0.1"]),
    ],
)
def test_a_name_server_fails(talk, lines, fault, first, second):
    """Once, or for good; what the C library makes of it reaches the program."""
    ran = talk(lambda: (look_up(), look_up()), f"dns(db.example/A)#1={fault}")
    assert len(ran.receipts) == 1
    before, after = ran.value
    assert after == second
    if first is None:
        assert before in (socket.EAI_NODATA, socket.EAI_NONAME)
    else:
        assert before == first


def test_silence_takes_no_time(talk, lines):
    """A resolver that waits for an answer which never comes is told at once that its time is over."""
    began = time.monotonic()
    ran = talk(lambda: (look_up(), look_up()), "dns(db.example/A)#1=silent")
    assert len(ran.receipts) == 1
    assert ran.value[1] == ["127.77.0.1"]
    assert time.monotonic() - began < 4


def test_asyncio_and_its_threads_find_names(talk, lines):
    """A look-up in a thread of the loop's executor is the same operation."""

    async def work():
        reader, writer = await asyncio.open_connection("db.example", 5432)
        writer.write(b"q\n")
        answer = await reader.readline()
        writer.close()
        return answer

    ran = talk(work, record=True)
    assert ran.value == b"Q\n"
    assert "dns(db.example/A)#1 = 1" in map(str, ran.trace)
    refused = talk(work, "connect(db.example:5432)#1=ECONNREFUSED")
    assert isinstance(refused.error, ConnectionRefusedError)
    reset = talk(work, "exchange(db.example)#1=reset[0]")
    assert isinstance(reset.error, ConnectionResetError)
