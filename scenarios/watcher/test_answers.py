"""What an answer of a server decides, without faults: a request to wait, silence, another version."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from chaoskit.runtime import Shutdown
from scenarios.watcher import program, servers, settings, world
from scenarios.watcher.remote import Client
from scenarios.watcher.share import Sample

LOOPBACK = "127.0.0.1"
Patch = pytest.MonkeyPatch


class Woken(threading.Event):
    """Ends every wait at once, and keeps how long it would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return True


def waits(place: Path, port: int) -> list[float | None]:
    """How long the watcher would wait after its first request to the server at this port."""
    # The time-out is the only wait that is real.
    more = {"WATCHER_PIPELINE__URL": f"http://{LOOPBACK}:{port}", "WATCHER_PIPELINE__TIMEOUT": "0.05"}
    configured = settings.read({**world.SETTINGS, **world.places(place), **more}).value
    wake = Woken()
    with (
        Client("pipeline", configured.pipeline, configured.runtime, wake) as client,
        pytest.raises(requests.RequestException),
    ):
        client.ask("GET", "/runs")
    return wake.waits


class Busy(BaseHTTPRequestHandler):
    """Asks to be left alone for 77 seconds."""

    server: Any

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.send_header("Retry-After", "77")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *values: object) -> None:
        pass


@contextmanager
def served(server: HTTPServer) -> Iterator[int]:
    """The port of a server, which answers in a thread."""
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_time_gets_it(status: int, tmp_path: Path) -> None:
    """The wait is what Retry-After says, and not the policy's own."""
    server: Any = HTTPServer((LOOPBACK, 0), Busy)
    server.status = status
    with served(server) as port:
        (wait,) = waits(tmp_path, port)
    assert wait is not None
    assert 77.0 <= wait < 80.0


@pytest.mark.parametrize(("listens", "least", "most"), [(False, 2.5, 5.0), (True, 0.25, 0.5)])
def test_a_silent_server_is_asked_again_sooner_than_one_that_is_away(
    listens: bool, least: float, most: float, tmp_path: Path
) -> None:
    """Refused: the service may take minutes to start. Connected, but no answer in time: it is only slow."""
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        if listens:
            held.listen()
        (wait,) = waits(tmp_path, held.getsockname()[1])
    assert wait is not None
    assert least <= wait <= most


def test_a_server_of_another_version_is_not_asked_again(tmp_path: Path, monkeypatch: Patch) -> None:
    """The sample ends at its first attempt, with both versions and the advice in its reason."""
    world.prepare(tmp_path)
    with served(servers.PipelineServer(0)) as port:
        monkeypatch.setitem(world.SETTINGS, "WATCHER_PIPELINE__URL", f"http://{LOOPBACK}:{port}")
        monkeypatch.setitem(world.SETTINGS, "WATCHER_PIPELINE__VERSION", "3")
        live = world.configured(tmp_path)
        with Shutdown(signals=()) as shutdown, program.Watcher(live, shutdown) as watcher:
            claim = watcher.samples.claim("good", scope="run1")
            assert claim is not None
            sample = Sample("run1", "good", tmp_path / "share" / "run1" / "good.fastq")
            with watcher._attempt("process", claim):
                watcher._is_done(sample, claim)
            record = watcher.samples.record("good", scope="run1")
    assert record is not None
    assert record.error is not None
    assert (record.status, record.attempts) == ("dead", 1)
    assert record.error["type"] == "ServiceVersionMismatch"
    assert "speaks version 2; expected 3. Update the watcher." in record.error["message"]
