"""Servers declared on the command line: how the option is written, and what the commands learn about them."""

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
    """Split each ``NAME=CMD`` or ``NAME=HOST:PORT`` into its name and its server.

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
    """Declare a server by ``chaos.peer``, which is passed as ``peer``."""
    address = _ADDRESS.fullmatch(server)
    if address is not None:
        return peer(name, address=(address["host"].strip("[]"), int(address["port"])))
    return peer(name, start=shlex.split(server))


def told_of(servers: Sequence[Peer], place: str) -> dict[str, str]:
    """Environment variables for the recovery and the check: each server's address, and a file of requests.

    The file is in the directory ``place``; each line is one request as a JSON object.
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
