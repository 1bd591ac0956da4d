"""The two servers of the scenarios, over HTTP: they remember what they are told, and count."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tarfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SESSION = 12
"""Requests for which one log-in is good: an expired session belongs to every run."""
FORGOTTEN = "r0"
"""A run of an earlier watcher, which no sample of this one waits for."""


def result(sample: str) -> bytes:
    """The archive that a run makes of a sample; those of some are not what they should be."""
    packed = io.BytesIO()
    # The same bytes in each run: no time of day in them.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for name, text in ((SUMMARY, f"gene,reads\n{sample},12\nother,7\n"), ("log.txt", "fine\n" * 20)):
            member = tarfile.TarInfo("../" + name if "evil" in sample else name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()[: -40 if "torn" in sample else None]


SUMMARY = "summary.csv"


class _Handler(BaseHTTPRequestHandler):
    """Answers in JSON, and never logs."""

    protocol_version = "HTTP/1.1"
    # Otherwise the body waits for the acknowledgement of the head, which comes after 40 ms.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *values: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told: Mapping[str, Any] = json.loads(body) if body else {}
        status, answer = self.server.answer(f"{self.command} {self.path}", told, self.headers)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Version", "2")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _handle


class _Server(ThreadingHTTPServer):
    """Log-ins and sessions; what is behind them is ``serve``."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._left = 0

    def answer(self, request: str, told: Mapping[str, Any], headers: Any) -> tuple[int, Any]:
        if request == "POST /login":
            self._left = SESSION
            return 200, {"token": "t"}
        if "Authorization" not in headers or self._left < 1:
            return 401, {}
        self._left -= 1
        return self.serve(request.split(), told, headers.get("Idempotency-Key"))

    def serve(self, request: list[str], told: Mapping[str, Any], key: str | None) -> tuple[int, Any]:
        raise NotImplementedError


class PipelineServer(_Server):
    """A run is done when it was asked for twice; of some samples it is cancelled, or fails."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._runs: dict[str, dict[str, Any]] = {
            FORGOTTEN: {"sample": "forgotten/long-ago", "asked": 0, "launch": 1}
        }
        self._keys: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def answer(self, request: str, told: Mapping[str, Any], headers: Any) -> tuple[int, Any]:
        # What the scenario asks, at the end: without a log-in.
        return (200, list(self._runs)) if request == "GET /kept" else super().answer(request, told, headers)

    def serve(self, request: list[str], told: Mapping[str, Any], key: str | None) -> tuple[int, Any]:
        method, path = request
        if (method, path) == ("POST", "/runs"):
            return 201, {"id": self._launch(told["sample"], key)}
        if path == "/runs":
            return 200, [{"id": id, "sample": run["sample"]} for id, run in self._runs.items()]
        id, _, rest = path.removeprefix("/runs/").partition("/")
        run = self._runs.get(id)
        if run is None:
            return 404, {}
        if method == "DELETE":
            del self._runs[id]
            return 200, {}
        if rest == "result":
            return 200, result(run["sample"])
        run["asked"] += 1
        return 200, _state(run)

    def _launch(self, sample: str, key: str | None) -> str:
        known = self._keys.get(key or "")
        if known in self._runs:
            return str(known)
        id = f"r{next(self._numbers)}"
        launch = sum(run["sample"] == sample for run in self._runs.values()) + 1
        self._runs[id] = {"sample": sample, "asked": 0, "launch": launch}
        self._keys[key or id] = id
        return id


def _state(run: Mapping[str, Any]) -> dict[str, str]:
    if run["asked"] < 2:
        return {"state": "running"}
    if "cancelled" in run["sample"] and run["launch"] == 1:
        return {"state": "cancelled"}
    if "failing" in run["sample"]:
        return {"state": "failed", "reason": "too few reads"}
    return {"state": "done"}


class DatabaseServer(_Server):
    """Takes results; the same key again is the same upload."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._rows: list[dict[str, Any]] = []
        self._keys: set[str] = set()

    def answer(self, request: str, told: Mapping[str, Any], headers: Any) -> tuple[int, Any]:
        # What the scenario asks, at the end: without a log-in.
        return (200, self._rows) if request == "GET /samples" else super().answer(request, told, headers)

    def serve(self, request: list[str], told: Mapping[str, Any], key: str | None) -> tuple[int, Any]:
        if key is None or key not in self._keys:
            self._rows.append(dict(told))
            self._keys.add(key or "")
        return 201, {}


def serve_pipeline(port: int) -> None:
    PipelineServer(port).serve_forever()


def serve_database(port: int) -> None:
    DatabaseServer(port).serve_forever()
