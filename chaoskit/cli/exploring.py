"""Explore what was asked for, in directories that are removed afterwards, with a bar on the terminal."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import click

from chaoskit.cli.asked import Asked
from chaoskit.core.errors import BackendUnavailable
from chaoskit.core.evidence import Shard
from chaoskit.core.machine import memory
from chaoskit.core.operation import Caveat
from chaoskit.core.result import ScenarioResult
from chaoskit.core.schedule import Schedule
from chaoskit.explore.execute import Executor, Serial
from chaoskit.explore.workers import Workers
from chaoskit.inject import backends
from chaoskit.inject.leftovers import RunDirectory
from chaoskit.session.exploring import Exploration, Request
from chaoskit.session.program import ProgramRunner

_LINE_EVERY = 30.0
"""Seconds between two lines of progress in a log."""


@dataclass(frozen=True, slots=True)
class Explored:
    """The result of exploring. ``interrupted`` is the signal that ended it, 0 if it was completed."""

    result: ScenarioResult
    interrupted: int = 0


class _Ended(KeyboardInterrupt):
    """A signal ended the exploration as Ctrl-C does; the argument is its number."""


def explored(
    asked: Asked, replay: Schedule | None, listing: bool, *, quiet: bool, keep: Path | None = None
) -> Explored:
    """Explore the program, or run the one case of ``replay`` and leave its directory at ``keep``.

    Raises:
        BackendUnavailable: if no backend works. UsageError: if an option names something that does not exist.
        WorkloadFailed: if the program fails without any fault.
    """
    backend, reason = backends.found()
    if backend is None:
        raise BackendUnavailable(f"the {backends.default()} backend does not work here: {reason}")
    shard = None if asked.shard is None else Shard.parse(asked.shard, "--shard")
    request = Request(asked.seed, asked.workers, replay, listing, shard=shard)
    exploration = Exploration(asked.specimen, asked.spec, request, backend)
    words = exploration.specimen.words
    with _directory() as base, _progress(quiet or listing) as progress:
        # The sources must see only the first recording; in cases they would merely cost time.
        first = ProgramRunner(asked.program, backend, exploration.sources, base, words=words)(
            exploration.baseline
        )
        runner = ProgramRunner(asked.program, backend, (), base, keep, words)
        # The kept directory must come from the last case, so nothing may run in parallel.
        executor: Executor = Serial(runner) if keep is not None else Workers(runner, asked.workers)
        explorer = exploration.explorer(first.seconds, executor, progress)
        try:
            return Explored(_with_caveat(explorer.explore(first), asked))
        except KeyboardInterrupt as stop:
            so_far = explorer.so_far()
            if so_far is None:
                raise
            number = stop.args[0] if isinstance(stop, _Ended) else signal.SIGINT
            return Explored(_with_caveat(so_far, asked), number)


def _with_caveat(result: ScenarioResult, asked: Asked) -> ScenarioResult:
    """Add a caveat if no check was given: almost every case passes then."""
    if asked.check or result.state == "listed":
        return result
    text = (
        "no check was given, so nothing says whether what the program left is right: a case breaks here only "
        "if it hangs, leaks or fails to recover. Give one with --check"
    )
    return replace(result, caveats=(Caveat("no-check", "", text), *result.caveats))


def _end(number: int, frame: FrameType | None) -> None:
    # Only once: a second signal, while the report is written, ends the process at once.
    for one in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) is _end:
            signal.signal(one, signal.SIG_DFL)
    raise _Ended(number)


@contextmanager
def _directory() -> Iterator[Path]:
    """A parent directory for the cases' directories: in memory if possible, removed at the end.

    It is also removed after SIGTERM, which timeouts and CI systems send, and after SIGHUP, which a closing
    terminal sends. An ignored signal (nohup) stays ignored.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _end)
    directory = RunDirectory(str(memory() or tempfile.gettempdir()))
    try:
        yield Path(directory.path)
    except _Ended as stop:
        # Before the exploration begins there is no result to report.
        sys.exit(128 + stop.args[0])
    finally:
        directory.close()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Lines:
    """Shows in a log that the job is not stuck."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._next = self._began + _LINE_EVERY

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LINE_EVERY
            click.echo(f"chaoskit: {done:,} of {total:,} cases in {now - self._began:.0f} s", err=True)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error while cases run; a line now and then if that is not a terminal."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("cases"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # On standard error, so that standard output can be piped.
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("cases", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
