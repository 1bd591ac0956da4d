"""Exploring what was asked for, in directories that are removed afterwards, with a bar on the terminal."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaoskit.cli.asked import Asked
from chaoskit.core.errors import BackendUnavailable
from chaoskit.core.result import ScenarioResult
from chaoskit.core.schedule import Schedule
from chaoskit.explore.execute import Executor, Serial
from chaoskit.explore.workers import Workers
from chaoskit.inject import backends
from chaoskit.inject.removal import remove
from chaoskit.session.exploring import Exploration, Request
from chaoskit.session.program import ProgramRunner


@dataclass(frozen=True, slots=True)
class Explored:
    """What exploring has shown; ``interrupted``: up to Ctrl-C."""

    result: ScenarioResult
    interrupted: bool = False


def explored(
    asked: Asked, replay: Schedule | None, listing: bool, *, quiet: bool, keep: Path | None = None
) -> Explored:
    """Explore the program, or run the one case of ``replay`` and leave its directory at ``keep``.

    Raises:
        BackendUnavailable: where no backend works.
        UsageError: for what was asked and does not exist.
        WorkloadFailed: if the program fails without any fault.
    """
    backend, reason = backends.found()
    if backend is None:
        raise BackendUnavailable(f"the {backends.default()} backend does not work here: {reason}")
    request = Request(asked.seed, asked.workers, replay, listing)
    exploration = Exploration(asked.specimen, asked.spec, request, backend)
    words = exploration.specimen.words
    with _directory() as base, _progress(quiet or listing) as progress:
        # The sources have to see the first recording alone; in cases they would only cost time.
        first = ProgramRunner(asked.program, backend, exploration.sources, base, words=words)(
            exploration.baseline
        )
        runner = ProgramRunner(asked.program, backend, (), base, keep, words)
        # What is kept must be left by the last case alone, so nothing may run beside it.
        executor: Executor = Serial(runner) if keep is not None else Workers(runner, asked.workers)
        explorer = exploration.explorer(first.seconds, executor, progress)
        try:
            return Explored(explorer.explore(first))
        except KeyboardInterrupt:
            so_far = explorer.so_far()
            if so_far is None:
                raise
            return Explored(so_far, interrupted=True)


@contextmanager
def _directory() -> Iterator[Path]:
    """A place for the cases' directories; in memory where that is to be had, gone at the end.

    Also at the end by SIGTERM, by which timeouts and CI systems stop programs, and by SIGHUP, which comes
    when the terminal is closed; one that was ignored (nohup) stays ignored.
    """
    # A case that syncs is many times faster in memory, and nothing here has to survive.
    memory = "/dev/shm"
    where = memory if os.access(memory, os.W_OK) else None
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
    name = tempfile.mkdtemp(prefix="chaoskit-", dir=where)
    try:
        yield Path(os.path.realpath(name))
    finally:
        remove(name)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error while cases run; nothing where that is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("cases"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # On standard error, so that standard output can be piped.
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("cases", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
