"""A pytest on a host that runs jobs for a pytest elsewhere: ``python -m chaoskit.hosts.serving …``.

It collects the same tests. For each scenario it makes its own baseline and plan, reports its digest, and runs
jobs until it is told to go on. At the end of its input it ends.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import pytest

from chaoskit.core.plain import with_text
from chaoskit.explore.execute import Executor
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.hosts.places import here
from chaoskit.hosts.wire import Frames, Unpacker, framed, write_all
from chaoskit.inject import private

_TOGETHER = 0.02
"""Seconds for which answers wait to be sent together: each message costs some tenths of a millisecond."""

SERVER = pytest.StashKey["HostServer"]()
"""The key of the server in pytest's configuration."""


class HostServer:
    """Takes messages from the descriptor ``feed``, and answers on ``results``."""

    def __init__(self, feed: int, results: int) -> None:
        self._feed = feed
        self._results = results
        self._frames = Frames()
        self._unpacker = Unpacker()
        self._waiting: list[bytes] = []
        self._pushed: tuple[Any, ...] | None = None
        self._opened = False
        self._failed = ""
        self._renamed: Callable[[Observation], Observation] = lambda seen: seen

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[SERVER] = self
        # This pytest explores nothing and makes no report.
        config.option.chaoskit_hosts = None
        config.option.chaoskit_report = None
        config.option.chaoskit_list = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        while (message := self._next()) is not None:
            match message:
                case ("open", str(name), dict(places)):
                    self._renamed = renamer(here(session.config.rootpath), places)
                    self._open(items.get(name), name)
        return True

    def _open(self, item: pytest.Item | None, name: str) -> None:
        self._opened = False
        self._failed = f"{name} is not collected there"
        if item is not None:
            item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        if not self._opened:
            self._tell(("failed", name, self._failed))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self._failed = report.longreprtext

    def serve(self, name: str, plan: str, executor: Executor) -> None:
        """Report the plan's digest, and run jobs until the next scenario."""
        self._opened = True
        self._tell(("plan", name, plan))
        while (message := self._next()) is not None and message[0] == "jobs":
            _, at, several = message
            jobs: Sequence[Job] = [job for _, job in several]
            told, answers = time.monotonic(), []
            for place, seen in executor.run(jobs):
                answers.append((several[place][0], self._renamed(seen)))
                if time.monotonic() - told > _TOGETHER:
                    self._tell(("seen", at, answers))
                    told, answers = time.monotonic(), []
            if answers:
                self._tell(("seen", at, answers))
        self._pushed = None if message is None or message[0] == "close" else message

    def _next(self) -> tuple[Any, ...] | None:
        """The next message; None at the end."""
        if self._pushed is not None:
            message, self._pushed = self._pushed, None
            return message
        while not self._waiting:
            data = os.read(self._feed, 1 << 20)
            if not data:
                return None
            self._waiting = list(self._frames.feed(data))
        found: tuple[Any, ...] = self._unpacker.unpack(self._waiting.pop(0))
        if found[0] == "open":
            # Forget what the last scenario's jobs shared.
            self._unpacker = Unpacker()
        return found

    def _tell(self, message: tuple[Any, ...]) -> None:
        write_all(self._results, framed(pickle.dumps(message, pickle.HIGHEST_PROTOCOL)))


def renamer(own: Mapping[str, str], theirs: Mapping[str, str]) -> Callable[[Observation], Observation]:
    """A function that gives files in an observation their names on the machine that started the tests."""
    pairs = [(own[name], theirs[name]) for name in own if own[name] != theirs.get(name, own[name])]
    # If one directory contains the other, replace the inner one first.
    pairs.sort(key=lambda pair: len(pair[0]), reverse=True)
    if not pairs:
        return lambda seen: seen

    @lru_cache(maxsize=1 << 14)
    def change(text: str) -> str:
        # Keys of mappings may be numbers.
        for before, after in pairs if isinstance(text, str) else ():
            text = text.replace(before, after)
        return text

    def renamed(seen: Observation) -> Observation:
        changed: Observation = with_text(seen, change, change)
        return changed

    return renamed


def main(arguments: Sequence[str]) -> int:
    """Collect the tests with the arguments of the pytest elsewhere, and run its jobs until it ends."""
    feed, results = os.dup(0), os.dup(1)
    for fd in (feed, results):
        private.withhold(fd)
    # Output of pytest and the tests must not get into the pipe.
    with open(os.devnull, "r+b") as null:
        os.dup2(null.fileno(), 0)
        os.dup2(null.fileno(), 1)
    return int(pytest.main(list(arguments), plugins=[HostServer(feed, results)]))


if __name__ == "__main__":
    # Import it by its name, since as __main__ its classes would exist twice.
    from chaoskit.hosts import serving

    sys.exit(serving.main(sys.argv[1:]))
