"""What the relay costs: small requests and bulk, beside direct connections, and a case beside one of files.

Direct and relayed in turn in one run; medians of several rounds. Writes ``benchmarks/results/network.md``.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

from chaoskit.core.schedule import Schedule
from chaoskit.inject.base import PeerAddress, Plan
from chaoskit.inject.kernel import KernelBackend

RESULTS = Path(__file__).parent / "results" / "network.md"
ROUNDS = 7
BLOCKS, EACH = 20, 50
"""Small requests are timed in blocks, and the best one counts: it shared its processor least."""
BULK = 32 << 20
_NEVER = "exchange(peer.example)#999999=reset[0]; http(peer.example,GET,/)#999999=reset[0]"
"""Strikes that are never due, so that all is looked at as in a case."""


def serve(listener: socket.socket) -> None:
    """Answer a short line with a short line, and ``bulk`` with many bytes."""
    block = bytes(1 << 18)
    while True:
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while question := connection.recv(100):
            if question == b"bulk":
                for _ in range(BULK // len(block)):
                    connection.sendall(block)
            elif question.startswith(b"GET"):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            else:
                connection.sendall(b"+PONG\r\n")
        os._exit(0)


def best(ask: Callable[[], object]) -> float:
    """Seconds that it takes, in the best of the blocks."""
    taken = []
    for _ in range(BLOCKS):
        began = time.perf_counter()
        for _ in range(EACH):
            ask()
        taken.append(time.perf_counter() - began)
    return min(taken) / EACH


def small(host: str, port: int) -> float:
    """Seconds for one question and its answer."""
    with socket.create_connection((host, port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask() -> None:
            sock.sendall(b"PING\r\n")
            sock.recv(100)

        return best(ask)


def http(host: str, port: int) -> float:
    """Seconds for one request over a kept connection, as a program makes it."""
    client = HTTPConnection(host, port)

    def ask() -> None:
        client.request("GET", "/")
        client.getresponse().read()

    taken = best(ask)
    client.close()
    return taken


def bulk(host: str, port: int) -> float:
    """MiB in a second."""
    buffer = bytearray(1 << 20)
    with socket.create_connection((host, port)) as sock:
        began, left = time.perf_counter(), BULK
        sock.sendall(b"bulk")
        while left:
            left -= sock.recv_into(buffer)
        return BULK / (1 << 20) / (time.perf_counter() - began)


def asks(host: str, port: int) -> None:
    """The least that a case of the network does."""
    with socket.create_connection((host, port)) as sock:
        sock.sendall(b"PING\r\n")
        sock.recv(100)


def writes(root: str) -> None:
    """The least that a case of files does."""
    with open(f"{root}/file", "w") as file:
        file.write("x")


def relayed(root: str, port: int, work: Callable[[str, int], float]) -> float:
    """The same as the workload of a case."""
    peers = (PeerAddress("peer.example", "127.0.0.1", port),)
    plan = Plan(root, strikes=Schedule.parse(_NEVER).strikes, peers=peers)
    ran = KernelBackend().run(lambda: work("peer.example", 7), plan)
    assert ran.ok, ran.error
    return float(ran.value)


def case(root: str, port: int, work: Callable[[], object], schedule: str) -> float:
    """Milliseconds for one run of the backend in which a fault strikes."""
    strikes = Schedule.parse(schedule).strikes
    plan = Plan(root, strikes=strikes, peers=(PeerAddress("peer.example", "127.0.0.1", port),))
    began = time.perf_counter()
    ran = KernelBackend().run(work, plan)
    assert len(ran.receipts) == 1, ran
    return (time.perf_counter() - began) * 1000


def measured() -> dict[str, list[float]]:
    """All figures, a list of rounds each."""
    found: dict[str, list[float]] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as made:
        root, port = os.path.realpath(made), listener.getsockname()[1]
        pid = os.fork()
        if pid == 0:
            serve(listener)
        try:
            for _ in range(ROUNDS):
                for name, value in (
                    ("small line, direct", small("127.0.0.1", port) * 1e6),
                    ("small line, relayed", relayed(root, port, small) * 1e6),
                    ("small request of HTTP, direct", http("127.0.0.1", port) * 1e6),
                    ("small request of HTTP, relayed", relayed(root, port, http) * 1e6),
                    ("bulk, direct", bulk("127.0.0.1", port)),
                    ("bulk, relayed", relayed(root, port, bulk)),
                    ("case of files", case(root, port, lambda: writes(root), "write(file)#1=ENOSPC")),
                    (
                        "case of the network",
                        case(
                            root, port, lambda: asks("peer.example", 7), "exchange(peer.example)#1=reset[0]"
                        ),
                    ),
                ):
                    found.setdefault(name, []).append(value)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return found


def page(found: dict[str, list[float]]) -> str:
    """The results as Markdown."""
    units = {"small": "µs", "bulk": "MiB/s", "case": "ms"}
    lines = [
        "# What the relay costs",
        "",
        f"`python benchmarks/network.py`, CPython {platform.python_version()}, {os.cpu_count()} processors; "
        f"load {os.getloadavg()[0]:.0f}; medians of {ROUNDS} rounds in turn. Ratios are what counts.",
        "",
        "| what | figure | least and most |",
        "| --- | --- | --- |",
    ]
    for name, values in found.items():
        unit = units[name.split()[0].rstrip(",")]
        lines.append(f"| {name} | {median(values):.0f} {unit} | {min(values):.0f} to {max(values):.0f} |")
    line = min(found["small line, relayed"]) / min(found["small line, direct"])
    request = min(found["small request of HTTP, relayed"]) / min(found["small request of HTTP, direct"])
    more = [b - a for a, b in zip(found["case of files"], found["case of the network"], strict=True)]
    lines += [
        "",
        f"At best, a request of HTTP takes {request:.1f} times as long as direct, a line {line:.1f} times: "
        "it goes through two more processes' hands. A case of the network, with a look-up, a connection and "
        f"an exchange, takes {min(more, key=abs):.1f} to {median(more):.1f} ms more than one of files.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    text = page(measured())
    if "--print" not in sys.argv:
        RESULTS.write_text(text, "utf-8")
    sys.stdout.write(text)
