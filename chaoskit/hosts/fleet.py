"""The hosts of a session as the test process sees them: one pipe to all, and each host's open jobs."""

from __future__ import annotations

import json
import os
import pickle
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chaoskit.core.errors import UsageError
from chaoskit.hosts.wire import Frames, Packer, framed, write_all
from chaoskit.inject import private

PATIENCE = 60.0
"""A host counts as lost if it is silent for this many seconds longer than its cases may take."""

State = Literal["connecting", "open", "ready", "lost"]


@dataclass(slots=True)
class Host:
    """One machine. ``outstanding`` are the numbers of its jobs that have no answer yet."""

    number: int
    spec: str
    state: State = "connecting"
    frames: Frames = field(default_factory=Frames)
    packer: Packer = field(default_factory=Packer)
    outstanding: list[int] = field(default_factory=list)
    heard: float = field(default_factory=time.monotonic)
    why: str = ""


class Fleet:
    """All hosts, from the first scenario of a session to its end.

    Python runs ``words`` on each of them, with ``settings`` added to its environment. A host that receives
    code gets the project in ``root``, and runs the words in its ``directory``.
    Messages of a lost host are ignored.
    """

    def __init__(
        self,
        specs: Sequence[str],
        words: Sequence[str],
        settings: Mapping[str, str],
        root: str = ".",
        directory: str = ".",
    ) -> None:
        self.hosts = [Host(number, spec) for number, spec in enumerate(specs)]
        self._frames = Frames()
        told = json.dumps([list(specs), list(words), dict(settings), root, directory])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaoskit.hosts.dispatch", told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is meant for the test process, which then ends this one.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._feed, self._results = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._results, selectors.EVENT_READ)
        for fd in (self._feed, self._results, self._selector.fileno()):
            private.withhold(fd)

    @property
    def alive(self) -> list[Host]:
        """The hosts that are not lost."""
        return [host for host in self.hosts if host.state != "lost"]

    def send(self, host: Host, frame: bytes) -> None:
        """Send a host one frame of its packer."""
        try:
            write_all(self._feed, framed(pickle.dumps((host.number, frame), pickle.HIGHEST_PROTOCOL)))
        except OSError as error:
            self.lose(host, f"the process that talks to the hosts has ended: {error}")

    def lose(self, host: Host, why: str) -> None:
        """Count a host as lost."""
        host.state, host.why = "lost", why

    def receive(self, timeout: float) -> Iterator[tuple[Host, Any]]:
        """The messages of hosts within ``timeout`` seconds; None stands for a host that was just lost."""
        if not self._selector.select(timeout):
            return
        data = os.read(self._results, 1 << 20)
        if not data:
            for host in self.alive:
                self.lose(host, "the process that talks to the hosts has ended")
                yield host, None
        for frame in self._frames.feed(data):
            number, message, why = pickle.loads(frame)
            host = self.hosts[number]
            if host.state == "lost":
                continue
            host.heard = time.monotonic()
            if message is None:
                self.lose(host, why)
                yield host, None
            else:
                host.state = "open" if host.state == "connecting" else host.state
                for text in host.frames.feed(message):
                    yield host, pickle.loads(text)

    def check(self, specs: Sequence[str]) -> None:
        """Check the specifications of hosts.

        Raises:
            UsageError: no host was named.
        """
        if not specs:
            raise UsageError(
                "--chaoskit-hosts names no host; expected gateways of execnet, such as ssh=build1"
            )

    def close(self) -> None:
        """End the process that talks to the hosts, and with it everything on them."""
        self._selector.close()
        for fd in (self._feed, self._results):
            private.give_back(fd)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
