"""Servers for a program on the command line: how they are written, and what its commands are told of them."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Sequence

from chaoskit.core.errors import wrong
from chaoskit.session.peers import Peer

_ADDRESS = re.compile(r"(?P<host>[^\s:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


def parsed(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Names and what stands behind them, of ``NAME=CMD`` or ``NAME=HOST:PORT``.

    Raises:
        UsageError: for anything else.
    """
    found = []
    for word in words:
        name, equals, server = word.partition("=")
        if not (name and equals and server.strip()):
            raise wrong("--peer", word, "NAME=CMD with {port} in it, or NAME=HOST:PORT")
        if _ADDRESS.fullmatch(server) is None and "{port}" not in server:
            raise wrong("--peer", word, "a command with {port} where its port belongs, or HOST:PORT")
        found.append((name, server))
    return tuple(found)


def declared(peer: Callable[..., Peer], name: str, server: str) -> Peer:
    """Declare one by ``chaos.peer``."""
    address = _ADDRESS.fullmatch(server)
    if address is not None:
        return peer(name, address=(address["host"].strip("[]"), int(address["port"])))
    return peer(name, start=shlex.split(server))


def told_of(servers: Sequence[Peer], place: str) -> dict[str, str]:
    """Variables for the recovery and the check: where each server is, and a file of what they all got.

    The file is in the directory ``place``; each of its lines is a JSON object of one request.
    """
    if not servers:
        return {}
    file = os.path.join(place, "requests.jsonl")
    with open(file, "w", encoding="utf-8") as lines:
        for server in servers:
            for one in server.requests:
                text = one.body.decode("utf-8", "replace")
                line = {"peer": one.peer, "method": one.method, "path": one.path, "body": text}
                lines.write(json.dumps(line) + "\n")
    names = {re.sub(r"[^A-Z0-9]", "_", one.name.upper()): f"{one.host}:{one.port}" for one in servers}
    return {"CHAOSKIT_REQUESTS": file} | {f"CHAOSKIT_PEER_{name}": where for name, where in names.items()}
