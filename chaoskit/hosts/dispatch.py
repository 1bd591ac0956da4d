"""The process beside the tests that talks to the hosts. Its input and output are pipes to the test process.

It does not look into messages: it passes frames in and out, each with the number of a host.
"""

from __future__ import annotations

import functools
import json
import os
import pickle
import queue
import sys
import threading
from pathlib import Path
from typing import Any

from chaoskit.hosts.code import SentCode, packed
from chaoskit.hosts.wire import Frames, framed, write_all

LOST = None
"""Sent in place of data when a host is gone; a text that says why follows."""


def main(arguments: list[str]) -> None:
    """Open a gateway to each host, and pass messages on until the input ends."""
    import execnet

    from chaoskit.hosts import relay

    specs, words, settings, root, directory = json.loads(arguments[0])
    lock, packing = threading.Lock(), threading.Lock()

    def tell(number: int, data: bytes | None, why: str = "") -> None:
        with lock:
            write_all(1, framed(pickle.dumps((number, data, why))))

    code = functools.cache(lambda: packed(Path(root)))
    group = execnet.Group()
    queues: list[queue.SimpleQueue[bytes]] = [queue.SimpleQueue() for _ in specs]

    def serve(number: int, spec: str) -> None:
        """Connect to one host, and feed it. A thread for each: a silent host must not delay the others."""
        try:
            with packing:
                sent = code() if execnet.XSpec(spec).code else None
            channel = group.makegateway(spec).remote_exec(relay)
            begin(channel, (words, settings), sent, directory)
            channel.setcallback(lambda data: tell(number, data, "the connection has ended"), endmarker=LOST)
            tell(number, b"")
            while True:
                channel.send(queues[number].get())
        except Exception as error:
            tell(number, LOST, f"{type(error).__name__}: {error}")

    for number, spec in enumerate(specs):
        threading.Thread(target=serve, args=(number, spec), daemon=True).start()
    frames = Frames()
    while data := os.read(0, 1 << 20):
        for frame in frames.feed(data):
            number, message = pickle.loads(frame)
            queues[number].put(message)
    group.terminate(timeout=2.0)


def begin(channel: Any, words: tuple[Any, ...], sent: SentCode | None, directory: str) -> None:
    """Tell the other end what to start, and send it the code if it has not kept it."""
    channel.send((*words, "" if sent is None else sent.digest, directory))
    if sent is not None and channel.receive():
        channel.send(sent.data)


if __name__ == "__main__":
    main(sys.argv[1:])
