"""Clients of HTTP that everybody has: what they make of answers that are cut, lost, or none.

The server's record says what really got there. What is stated as known is how these programs are, by
design or by mistake; each has the schedule that shows it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from chaoskit import Chaos, faults, scenario

PAGE = b"".join(b"line %06d\n" % number for number in range(400))
ROUTES = {"GET /page": PAGE, "POST /pay": {"paid": True}, "GET /healthy": "ok"}
DETECTABLE = faults.network() | faults.http().without("body", "headers", "twice", "lost")
"""What a client can see to be wrong: an answer that says of itself that it is whole cannot be doubted."""
NAME = "http://files.example/page"
PATIENCE = 15
"""Seconds that a client waits. They cost nothing; fewer than a busy machine takes to import a library would
be over before the client has asked."""


def whole_or_absent(chaos: Chaos) -> None:
    """What is under the final name is the page."""
    page = chaos.path / "page"
    assert not page.exists() or page.read_bytes() == PAGE


def download_in_pieces(root: Path) -> None:
    """As the documents of urllib.request show it: copied to a temporary file, then renamed."""
    with urllib.request.urlopen(NAME, timeout=PATIENCE) as answer, open(root / "page.tmp", "wb") as file:
        shutil.copyfileobj(answer, file, 512)
    os.rename(root / "page.tmp", root / "page")


@scenario(
    DETECTABLE, known={"13a2fd": "http.client returns less than Content-Length from read(n) without an error"}
)
def test_urllib_in_pieces(chaos: Chaos) -> None:
    """``shutil.copyfileobj`` of an answer takes a connection that ends early for the end of the page."""
    chaos.peer("files.example", start=ROUTES)
    chaos.run(download_in_pieces, chaos.path)
    whole_or_absent(chaos)


def download_at_once(root: Path) -> None:
    with urllib.request.urlopen(NAME, timeout=PATIENCE) as answer:
        body = answer.read()
    (root / "page.tmp").write_bytes(body)
    os.rename(root / "page.tmp", root / "page")


@scenario(DETECTABLE)
def test_urllib_at_once(chaos: Chaos) -> None:
    """``read()`` without a length compares with Content-Length: IncompleteRead."""
    chaos.peer("files.example", start=ROUTES)
    chaos.run(download_at_once, chaos.path)
    whole_or_absent(chaos)


def retrieve(root: Path) -> None:
    import socket

    socket.setdefaulttimeout(PATIENCE)
    with contextlib.suppress(urllib.error.ContentTooShortError):
        urllib.request.urlretrieve(NAME, root / "page")


@scenario(
    DETECTABLE,
    known={"68423d": "it leaves what came under the final name, and says that it is too short"},
)
def test_urlretrieve(chaos: Chaos) -> None:
    """An answer that is cut is an error, and the file is there all the same."""
    chaos.peer("files.example", start=ROUTES)
    chaos.run(retrieve, chaos.path)
    whole_or_absent(chaos)


def with_requests(root: Path) -> None:
    requests = pytest.importorskip("requests")
    with requests.Session() as session, session.get(NAME, timeout=PATIENCE, stream=True) as answer:
        answer.raise_for_status()
        with open(root / "page.tmp", "wb") as file:
            for piece in answer.iter_content(512):
                file.write(piece)
    os.rename(root / "page.tmp", root / "page")


@scenario(DETECTABLE)
def test_requests_in_pieces(chaos: Chaos) -> None:
    """requests on urllib3 2 notices every cut: IncompleteRead within its own error."""
    pytest.importorskip("requests")
    chaos.peer("files.example", start=ROUTES)
    chaos.run(with_requests, chaos.path)
    whole_or_absent(chaos)


async def with_httpx(root: Path) -> None:
    httpx = pytest.importorskip("httpx")
    async with httpx.AsyncClient(timeout=PATIENCE) as client, client.stream("GET", NAME) as answer:
        answer.raise_for_status()
        with open(root / "page.tmp", "wb") as file:
            async for piece in answer.aiter_bytes():
                file.write(piece)
    os.rename(root / "page.tmp", root / "page")


async def with_aiohttp(root: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    patience = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(timeout=patience) as session, session.get(NAME) as answer:
        answer.raise_for_status()
        with open(root / "page.tmp", "wb") as file:
            async for piece in answer.content.iter_chunked(512):
                file.write(piece)
    os.rename(root / "page.tmp", root / "page")


@pytest.mark.parametrize("program", [with_httpx, with_aiohttp])
@scenario(DETECTABLE)
def test_asynchronous_clients_in_pieces(
    chaos: Chaos, program: Callable[[Path], Coroutine[None, None, None]]
) -> None:
    """httpx and aiohttp notice every cut, on their own event loops and with their own parsers."""
    pytest.importorskip(program.__name__.removeprefix("with_"))
    chaos.peer("files.example", start=ROUTES)
    chaos.run(program, chaos.path)
    whole_or_absent(chaos)


def with_urllib3() -> None:
    urllib3 = pytest.importorskip("urllib3")
    # pytest keeps records of what is logged, with errors in them whose frames hold the pool.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    with urllib3.PoolManager(retries=urllib3.Retry(3, backoff_factor=0)) as pool:
        pool.request("POST", "http://files.example/pay", body=b"100", timeout=PATIENCE)


@scenario(faults.network() | faults.http().without("twice"))
def test_urllib3_does_not_repeat_a_post(chaos: Chaos) -> None:
    """Its retries leave a request alone that is not idempotent and may have arrived."""
    pytest.importorskip("urllib3")
    peer = chaos.peer("files.example", start=ROUTES)
    chaos.run(with_urllib3)
    assert len(peer.requests) <= 1


def rpc_server(port: int) -> None:
    from xmlrpc.server import SimpleXMLRPCServer

    with SimpleXMLRPCServer(("127.0.0.1", port), logRequests=False, allow_none=True) as server:
        server.register_function(lambda amount: amount, "pay")
        server.serve_forever()


def pay_by_rpc() -> None:
    with xmlrpc.client.ServerProxy("http://files.example/") as proxy:
        proxy.pay(100)


@scenario(
    faults.network().only("reset", "eof"),
    known={"3e82be": "a call is sent again after a reset, though the server may have done it"},
)
def test_xmlrpc_calls_once(chaos: Chaos) -> None:
    """A remote call is made at most once."""
    peer = chaos.peer("files.example", start=rpc_server)
    chaos.run(pay_by_rpc)
    assert len(peer.requests) <= 1


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
_FETCH = f"curl -sS -f --max-time {PATIENCE} -o page.tmp http://files.example/page && mv page.tmp page"
CURL = ["sh", "-c", _FETCH]


@needs_curl
@scenario(DETECTABLE | faults.kill())
def test_curl(chaos: Chaos) -> None:
    """curl says by its status what was cut, refused or an error page."""
    chaos.peer("files.example", start=ROUTES)
    chaos.run_command(CURL)
    whole_or_absent(chaos)


@needs_curl
@scenario(
    faults.network().only("eof"),
    known={"a551d2": "an answer that ends within its header is one without a body, with status 0"},
)
def test_curl_of_a_short_answer(chaos: Chaos) -> None:
    """Half of a short answer ends in its header: the client must not take it for an answer."""
    chaos.peer("files.example", start=ROUTES)
    curl = f"curl -sS -f --max-time {PATIENCE} -o page.tmp http://files.example/healthy && mv page.tmp page"
    chaos.run_command(["sh", "-c", curl])
    page = chaos.path / "page"
    assert not page.exists() or page.read_bytes() == b"ok"


@needs_curl
@scenario(faults.network())
def test_curl_does_not_repeat_a_post(chaos: Chaos) -> None:
    """Over a fresh connection a request that may have arrived is not sent again."""
    peer = chaos.peer("files.example", start=ROUTES)
    chaos.run_command(["curl", "-sS", "--max-time", str(PATIENCE), "-d", "100", "http://files.example/pay"])
    assert len(peer.requests) <= 1


@pytest.mark.skipif(shutil.which("wget") is None, reason="needs wget")
@scenario(faults.network().only("reset", "eof", "silent", "ECONNREFUSED"))
def test_wget(chaos: Chaos) -> None:
    """wget asks for the rest of an answer that was cut, and puts it together."""
    chaos.peer("files.example", start=ROUTES)
    wget = f"wget -q --tries=2 --waitretry=0 --timeout={PATIENCE} -O page.tmp http://files.example/page"
    chaos.run_command(["sh", "-c", f"{wget} && mv page.tmp page"])
    whole_or_absent(chaos)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as plain files, which git can clone over HTTP without a program on the other side."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    place = tmp_path_factory.mktemp("git")
    script = (
        "git init -q w && cd w && git config user.email a@b && git config user.name a && seq 2000 > file && "
        "git add . && git commit -q -m one && cd .. && git clone -q --bare w r.git && cd r.git && "
        "git update-server-info"
    )
    subprocess.run(["sh", "-c", script], cwd=place, check=True, capture_output=True)
    return place


@scenario(
    faults.network().on(call="http"),
    timeout=60,
    known={"24200f": "a list of references that is cut within its header is that of an empty repository"},
)
def test_git_over_http(chaos: Chaos, repository: Path) -> None:
    """A clone that says it worked is complete, whatever was cut."""
    routes = {
        f"/{path.relative_to(repository)}": path.read_bytes()
        for path in sorted((repository / "r.git").rglob("*"))
        if path.is_file()
    }
    chaos.peer("git.example", start=routes)
    slow = ["-c", "http.lowSpeedLimit=1", "-c", f"http.lowSpeedTime={PATIENCE}"]
    outcome = chaos.run_command(["git", *slow, "clone", "-q", "http://git.example/r.git", "copy"])
    if outcome.ok:
        done = subprocess.run(["git", "-C", "copy", "fsck", "--strict"], cwd=chaos.path, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert (chaos.path / "copy/file").read_text().splitlines()[-1] == "2000"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of one module."""
    import zipfile

    path = tmp_path_factory.mktemp("wheel") / "tiny-1.0-py3-none-any.whl"
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "x = 1\n" * 500)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@scenario(
    faults.network().on(call="http").only("eof", "reset") | faults.http().only("body", "status"),
    budget=12,
    timeout=60,
)
def test_pip_download(chaos: Chaos, wheel: Path) -> None:
    """What pip has downloaded is the wheel of the index, checked by its hash."""
    import hashlib

    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    link = f'<a href="/files/{wheel.name}#sha256={digest}">{wheel.name}</a>'
    page = (200, {"Content-Type": "text/html"}, f"<html><body>{link}</body></html>")
    chaos.peer("index.example", start={"/simple/tiny/": page, f"/files/{wheel.name}": wheel.read_bytes()})
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "download", "-q"]
    options = ["--no-cache-dir", "--no-deps", "--retries=0", f"--timeout={PATIENCE}", "-d", "got"]
    index = ["--index-url", "http://index.example/simple", "--trusted-host", "index.example"]
    chaos.run_command([*pip, *options, *index, "tiny"])
    for path in (chaos.path / "got").glob("*.whl"):
        assert path.read_bytes() == wheel.read_bytes()
