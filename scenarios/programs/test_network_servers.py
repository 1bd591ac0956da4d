"""Clients of servers other than web servers: Redis, PostgreSQL, a mail server, and the services of Amazon.

The servers are real, and say themselves what has really happened. Where one takes long to start it serves
all cases of this module, and each case has a part of it to itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from dying import with_us
from postgres import running_postgres

from chaoskit import Chaos, faults, scenario

TRAFFIC = faults.network() | faults.network().bytes().only("reset", "eof")
STARTS = 60.0
"""Seconds that a server has until it answers."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(words: list[str], port: int, **options: Any) -> Iterator[int]:
    """A server that is a program, until the block ends; its port."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(with_us(words), stdout=quiet, stderr=quiet, **options) as process:
        try:
            until = time.monotonic() + STARTS
            while process.poll() is None and time.monotonic() < until:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            else:
                pytest.skip(f"{words[0]} does not start here")
            yield port
        finally:
            process.terminate()


def case_name() -> str:
    """A name that no other case has."""
    return f"case_{os.getpid()}_{time.time_ns()}"


# Redis


REDIS = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(REDIS is None, reason="needs redis-server")
SERVER = ["redis-server", "--port", "{port}", "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]


def redis_of(host: str, port: int = 6379, **options: Any) -> Any:
    redis = pytest.importorskip("redis")
    return redis.Redis(host=host, port=port, socket_timeout=15, socket_connect_timeout=15, **options)


def count_a_visit() -> None:
    with redis_of("cache.example") as cache:
        cache.incr("visits")


def visits(peer: Any) -> int:
    """What the server itself has counted."""
    with redis_of(peer.host, peer.port) as cache:
        return int(cache.get("visits") or 0)


@needs_redis
@scenario(
    faults.network(),
    known={"c52ef2": "redis-py 6 and later send a command again whose answer is lost, INCR like any other"},
)
def test_redis_counts_once(chaos: Chaos) -> None:
    """A visit is counted at most once."""
    pytest.importorskip("redis")
    peer = chaos.peer("cache.example", start=SERVER)
    chaos.run(count_a_visit)
    assert visits(peer) <= 1


def count_without_retries() -> None:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    with redis_of("cache.example", retry=Retry(NoBackoff(), 0)) as cache:
        cache.incr("visits")


@needs_redis
@scenario(TRAFFIC)
def test_redis_without_retries_counts_once(chaos: Chaos) -> None:
    """What is not sent again is not done again, and what returned was done."""
    pytest.importorskip("redis")
    peer = chaos.peer("cache.example", start=SERVER)
    outcome = chaos.run(count_without_retries)
    assert visits(peer) == 1 if outcome.ok else visits(peer) <= 1


def use_a_pool() -> list[Any]:
    """Two values of one pool, whatever became of the connection of the first."""
    found = []
    with redis_of("cache.example") as cache:
        for key in ("a", "b"):
            with contextlib.suppress(Exception):
                cache.set(key, key * 100)
                found.append((key, cache.get(key).decode()))
    return found


@needs_redis
@scenario(TRAFFIC, budget=60)
def test_redis_gives_each_its_own_answer(chaos: Chaos) -> None:
    """After a fault no connection with half of an answer in it goes back to the pool."""
    pytest.importorskip("redis")
    chaos.peer("cache.example", start=SERVER)
    outcome = chaos.run(use_a_pool)
    assert outcome.ok
    assert [value == key * 100 for key, value in outcome.value or ()].count(False) == 0


# PostgreSQL


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    """The port of a server for this module, which keeps nothing."""
    with running_postgres("fsync=off", tcp=True) as server:
        yield server.port


def connected(host: str, port: int, name: str, **options: Any) -> Any:
    psycopg = pytest.importorskip("psycopg")
    return psycopg.connect(host=host, port=port, user="app", dbname=name, sslmode="disable", **options)


def database(port: int) -> str:
    """A database for one case, with one account."""
    name = case_name()
    with connected("127.0.0.1", port, "postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    with connected("127.0.0.1", port, name) as server:
        server.execute("CREATE TABLE account (owner text, balance int)")
        server.execute("INSERT INTO account VALUES ('a', 100), ('b', 0)")
    return name


def transfer(port: int, name: str) -> None:
    """Two changes of one transaction; the time-outs are those that libpq and the server have."""
    patient = {"connect_timeout": 15, "tcp_user_timeout": 15000}
    with connected("db.example", port, name, **patient) as server:
        server.execute("UPDATE account SET balance = balance - 10 WHERE owner = 'a'")
        server.execute("UPDATE account SET balance = balance + 10 WHERE owner = 'b'")


@scenario(faults.network().without("silent") | faults.network().bytes().only("reset", "eof"))
def test_a_transfer_is_made_whole(chaos: Chaos, postgres: int) -> None:
    """Both accounts have changed or none, and what returned was done."""
    name = database(postgres)
    chaos.peer("db.example", address=("127.0.0.1", postgres))
    outcome = chaos.run(transfer, postgres, name)
    with connected("127.0.0.1", postgres, name) as server:
        balances = dict(server.execute("SELECT owner, balance FROM account").fetchall())
    assert balances in ({"a": 90, "b": 10}, {"a": 100, "b": 0})
    assert balances["b"] == 10 or not outcome.ok


@scenario(
    faults.network().only("silent").on(call="exchange"),
    known={
        "0c192e": "no time-out of libpq or psycopg is for an answer; connect_timeout is over by then",
        "90ce65": "likewise in a transaction",
    },
)
def test_a_silent_database_is_given_up(chaos: Chaos, postgres: int) -> None:
    """A server that says nothing any more is waited for so long, and no longer."""
    name = database(postgres)
    chaos.peer("db.example", address=("127.0.0.1", postgres))
    chaos.run(transfer, postgres, name)


# A mail server


def mail_server(port: int) -> None:
    """A server whose answer to VRFY is how many letters it has taken, and for how many recipients."""
    import asyncio

    from aiosmtpd.smtp import SMTP

    letters: list[tuple[str, ...]] = []

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            letters.append(tuple(envelope.rcpt_tos))
            return "250 taken"

        async def handle_VRFY(self, server: Any, session: Any, envelope: Any, address: str) -> str:
            return f"252 {len(letters)} {sum(map(len, letters))}"

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        made = await loop.create_server(lambda: SMTP(Handler(), hostname="mail"), "127.0.0.1", port)
        await made.serve_forever()

    asyncio.run(serve())


def send_a_letter() -> None:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "a@a.example", "b@b.example, c@c.example", "news"
    letter.set_content("line\n" * 100)
    with smtplib.SMTP("mail.example", 25, local_hostname="me", timeout=15) as server:
        server.send_message(letter)


@scenario(TRAFFIC, timeout=30)
def test_a_letter_is_sent_once(chaos: Chaos) -> None:
    """The server has a letter once or not at all, to both; and it has it if nothing was raised."""
    pytest.importorskip("aiosmtpd")
    peer = chaos.peer("mail.example", start=mail_server)
    outcome = chaos.run(send_a_letter)
    with smtplib.SMTP(peer.host, peer.port, timeout=10) as server:
        letters, recipients = map(int, server.verify("x")[1].split())
    assert (letters, recipients) in ((0, 0), (1, 2))
    assert letters == 1 or not outcome.ok


# Amazon's


@pytest.fixture(scope="module")
def amazon() -> Iterator[int]:
    """The port of moto's server, for this module."""
    pytest.importorskip("boto3")
    pytest.importorskip("moto.server")
    port = free_port()
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with served(words, port) as there:
        yield there


def of_amazon(service: str, url: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(connect_timeout=15, read_timeout=15, s3={"addressing_style": "path"}),
    )


def count_a_call(table: str) -> None:
    of_amazon("dynamodb", "http://dynamodb.example").update_item(
        TableName=table,
        Key={"id": {"S": "visits"}},
        UpdateExpression="ADD n :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


def counted(port: int, table: str) -> int:
    found = of_amazon("dynamodb", f"http://127.0.0.1:{port}").get_item(
        TableName=table, Key={"id": {"S": "visits"}}
    )
    return int(found.get("Item", {}).get("n", {"N": "0"})["N"])


@scenario(
    faults.network().on(call=["http", "connect"]),
    timeout=60,
    known={"81010d": "boto3 sends a call again whose answer is lost, ADD like any other"},
)
def test_dynamodb_counts_once(chaos: Chaos, amazon: int) -> None:
    """A call is counted at most once."""
    table = case_name()
    of_amazon("dynamodb", f"http://127.0.0.1:{amazon}").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    chaos.peer("dynamodb.example", address=("127.0.0.1", amazon))
    chaos.run(count_a_call, table)
    assert counted(amazon, table) <= 1


PAGE = b"".join(b"line %06d\n" % number for number in range(400))


@pytest.fixture(scope="module")
def pages(amazon: int) -> int:
    """The server, with a bucket that no case changes."""
    store = of_amazon("s3", f"http://127.0.0.1:{amazon}")
    store.create_bucket(Bucket="pages", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    store.put_object(Bucket="pages", Key="page", Body=PAGE)
    return amazon


def fetch_an_object(root: Path) -> None:
    of_amazon("s3", "http://s3.eu-west-1.amazonaws.com").download_file("pages", "page", str(root / "page"))


@scenario(faults.network().on(call="http") | faults.http().aws("s3"), timeout=60, budget=40)
def test_an_object_of_s3_is_whole(chaos: Chaos, pages: int) -> None:
    """Under its final name there is all of it or nothing, whatever S3 answers."""
    chaos.peer("s3.eu-west-1.amazonaws.com", address=("127.0.0.1", pages))
    chaos.run(fetch_an_object, chaos.path)
    page = chaos.path / "page"
    assert not page.exists() or page.read_bytes() == PAGE
