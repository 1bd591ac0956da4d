"""The methods of ``socket.socket`` that a workload communicates with, each handled by its stream."""

from __future__ import annotations

import socket
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.streams import Stream


class PeerStreams:
    """The connections of a run to peers, by their sockets."""

    def __init__(self, run: WatchedRun) -> None:
        self._run = run
        self._streams: weakref.WeakKeyDictionary[Any, Stream] = weakref.WeakKeyDictionary()
        self._all: list[Stream] = []
        self.silenced: set[str] = set()
        """Peers that nothing gets through to any more."""

    def opened(self, sock: Any, target: str) -> None:
        """A connection to ``target`` has begun."""
        stream = Stream(self._run, sock, target, len(self._all) + 1, self.silenced)
        self._streams[sock] = stream
        self._all.append(stream)

    def of(self, sock: Any) -> Stream | None:
        """The stream of a socket, if its messages concern the run."""
        # A request that is an operation already counts once: what its client sends for it is not another one.
        if self._run.passes() or getattr(self._run.requesting, "now", False):
            return None
        return self._streams.get(sock)

    def over(self) -> None:
        """The run has ended: complete the record."""
        for stream in self._all:
            stream.over()


def replaced(streams: PeerStreams, run: WatchedRun) -> Callable[[], object]:
    """Let the streams see what sockets send and receive; return a function that undoes it."""
    methods: dict[str, Callable[..., Any]] = {
        "send": _send,
        "sendall": _sendall,
        "sendmsg": _sendmsg,
        "recv": _recv,
        "recv_into": _recv_into,
        "detach": partial(_detach, run),
    }
    # All are inherited from a C class, whose attributes cannot be set; detach is Python's.
    had = {name: vars(socket.socket)[name] for name in methods if name in vars(socket.socket)}
    for name, method in methods.items():
        if hasattr(socket.socket, name):
            setattr(socket.socket, name, _bound(streams, method, getattr(socket.socket, name)))

    def undo() -> None:
        for name in methods:
            if name in had:
                setattr(socket.socket, name, had[name])
            elif name in vars(socket.socket):
                delattr(socket.socket, name)
        with run.within():
            streams.over()

    return undo


def _bound(
    streams: PeerStreams, method: Callable[..., Any], original: Callable[..., Any]
) -> Callable[..., Any]:
    def instead(sock: Any, *args: Any, **words: Any) -> Any:
        stream = streams.of(sock)
        if stream is None:
            return original(sock, *args, **words)
        return method(stream, partial(original, sock), *args, **words)

    return instead


def _send(stream: Stream, original: Callable[..., Any], data: Any, flags: int = 0) -> int:
    return stream.send(_as_bytes(data), lambda part: int(original(part, flags)))


def _sendall(stream: Stream, original: Callable[..., Any], data: Any, flags: int = 0) -> None:
    def whole(part: bytes) -> int:
        original(part, flags)
        return len(part)

    stream.send(_as_bytes(data), whole)


def _sendmsg(
    stream: Stream, original: Callable[..., Any], buffers: Iterable[Any], ancdata: Any = (), *rest: Any
) -> int:
    parts = [_as_bytes(one) for one in buffers]
    return stream.send(b"".join(parts), lambda part: int(original([part], ancdata, *rest)))


def _recv(stream: Stream, original: Callable[..., Any], wanted: int, flags: int = 0) -> bytes:
    if flags:
        # A peek, which takes nothing, or another kind of data.
        return bytes(original(wanted, flags))
    return stream.receive(wanted, original)


def _recv_into(
    stream: Stream, original: Callable[..., Any], buffer: Any, wanted: int = 0, flags: int = 0
) -> int:
    if flags:
        return int(original(buffer, wanted, flags))
    view = memoryview(buffer).cast("B")

    def take(count: int, flags: int) -> bytes:
        if flags:
            one = bytearray(count)
            return bytes(one[: original(one, count, flags)])
        return bytes(view[: original(view, min(count, len(view)))])

    data = stream.receive(wanted or len(view), take)
    view[: len(data)] = data
    return len(data)


def _detach(run: WatchedRun, stream: Stream, original: Callable[..., Any]) -> int:
    text = f"what is said to {stream.peer} from here on is said in C, as TLS is; backend='kernel' sees it"
    run.caveat("unrelayed", stream.peer, text)
    return int(original())


def _as_bytes(data: Any) -> bytes:
    return data if isinstance(data, bytes) else bytes(memoryview(data).cast("B"))
