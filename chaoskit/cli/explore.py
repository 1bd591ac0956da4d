"""``chaoskit explore`` and ``chaoskit replay``: any program, without writing Python."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaoskit.cli.group import FAILED, INTERRUPTED, NO
from chaoskit.cli.output import print_json, print_table
from chaoskit.core.errors import BackendUnavailable, wrong
from chaoskit.core.schedule import Schedule

if TYPE_CHECKING:
    from chaoskit.core.result import ScenarioResult
    from chaoskit.core.words import Words
    from chaoskit.faults import FaultSet

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for on the command line; see the help of ``chaoskit explore``."""

    command: tuple[str, ...]
    workspace: Path | None
    setup: tuple[str, ...]
    recover: str
    check: str
    faults: str
    only: str
    path: tuple[str, ...]
    model: tuple[str, ...]
    promise_stdout: bool
    timeout: float
    depth: int = 1
    budget: int | None = None
    seed: int = 0
    workers: int = 1


def _spoken() -> Words:
    """What the engine's messages call things that this command has under another name than pytest."""
    from chaoskit.core.words import Words

    return Words(
        listing="chaoskit explore --list",
        allowance="",
        more_time="--timeout SECONDS allows more time.",
        idle=(
            "the program did nothing in its working directory, so there is nothing that could go wrong; "
            "expected it to work on files there. Give it relative paths: each case begins in a directory of "
            "its own."
        ),
        unsteady=(
            "everything passed once without faults and failed the second time; expected commands that can "
            "be run again. What they change outside of the working directory stays changed."
        ),
    )


def _shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what the program is and what may happen to it."""
    options: Sequence[_Decorator] = (
        click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED),
        click.option(
            "--workspace", type=_DIRECTORY, help="Directory to copy for each case; default: an empty one."
        ),
        click.option(
            "--setup", multiple=True, metavar="CMD", help="Shell line to run first, without faults."
        ),
        click.option(
            "--recover", default="", metavar="CMD", help="Shell line that recovers after the fault."
        ),
        click.option(
            "--check",
            default="",
            metavar="CMD",
            help="Shell line that fails if an invariant is broken; promises come on its standard input.",
        ),
        click.option(
            "--faults",
            default="disk,kill,power-loss",
            show_default=True,
            metavar="LIST",
            help="Families, with commas: disk, kill, power-loss, fsync-lies, signal=NAME, delay=SECONDS.",
        ),
        click.option("--only", default="", metavar="LIST", help="Only these faults: ENOSPC,EIO,kill …"),
        click.option("--path", multiple=True, metavar="GLOB", help="Only calls on these files."),
        click.option(
            "--model",
            default="ext4,xfs,btrfs",
            show_default=True,
            metavar="LIST",
            help="Persistence models for power loss; strict is the fourth.",
        ),
        click.option(
            "--promise-stdout/--no-promise-stdout",
            default=True,
            show_default=True,
            help="Whether each line that CMD prints is a promise to the outside world.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=60.0,
            show_default=True,
            help="Seconds after which a command of a case counts as hung.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(context_settings={"ignore_unknown_options": False})
@_shared
@click.option("--depth", type=click.IntRange(1, 2), default=1, help="2: strike again in what follows.")
@click.option(
    "--budget", type=click.IntRange(min=1), help="At most so many cases, the most suspicious first."
)
@click.option("--seed", type=int, default=0, help="Order of the cases within the budget.")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes that run cases.")
@click.option("--report", type=click.Path(path_type=Path), help="Directory for report.json and summary.md.")
@click.option("--list", "listing", is_flag=True, help="Show the fault points and run no case.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of text.")
def explore(
    workspace: Path | None, model: str, report: Path | None, listing: bool, as_json: bool, **options: Any
) -> int:
    """Strike a program at every call with every fault, and check what it leaves.

    Example: chaoskit explore --workspace . --check 'test -s state.json' -- python save.py

    Exit code 0 if every case kept the invariants, 1 if one broke them or too many could not be judged.
    """
    settings = Settings(workspace=workspace, model=_words(model), **options)
    if report is not None:
        from chaoskit.core.machine import check_place

        check_place("--report", report)
    explored = _explore(settings, None, listing, quiet=as_json)
    return _tell(settings, explored, report, as_json, listing)


@click.command()
@click.argument("schedule")
@_shared
@click.option("--keep", type=click.Path(exists=False, path_type=Path), help="Leave the directory here.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of text.")
def replay(
    schedule: str, workspace: Path | None, model: str, keep: Path | None, as_json: bool, **options: Any
) -> int:
    """Run the one case that SCHEDULE names, with the same options as for explore.

    Exit code 0 if it keeps the invariants, 1 if it breaks them.
    """
    from chaoskit.inject import backends

    settings = Settings(workspace=workspace, model=_words(model), **options)
    parsed = Schedule.parse(schedule)
    backends.check(parsed, backends.backend())
    if keep is not None and keep.exists():
        raise wrong("--keep", str(keep), "a directory that does not exist yet")
    explored = _explore(settings, parsed, False, quiet=as_json, keep=keep)
    return _tell(settings, explored, None, as_json, False)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _faults(settings: Settings) -> FaultSet:
    """The set of faults that was asked for in words.

    Raises:
        UsageError: for a family or a fault that does not exist.
    """
    from chaoskit.faults import FaultSet

    words = _words(settings.faults)
    if not words:
        raise wrong("--faults", settings.faults, f"families with commas: {', '.join(_families())}")
    united = FaultSet()
    for word in words:
        united = united | _family(word)
    if settings.only:
        united = united.only(*_words(settings.only))
    return united.on(path=settings.path) if settings.path else united


_PLAIN = ("disk", "kill", "power-loss", "fsync-lies", "default", "all")
_WITH_ARGUMENT = {"signal": "SIGTERM", "delay": "0.5"}
"""Families that need a word more, each with an example of it."""


def _families() -> list[str]:
    return [*_PLAIN, *(f"{name}={example}" for name, example in _WITH_ARGUMENT.items())]


def _family(word: str) -> FaultSet:
    """One family by the name that it has on the command line; nothing else of ``chaoskit.faults`` counts."""
    from chaoskit import faults as catalogue
    from chaoskit.faults.narrowing import unknown

    name, _, argument = word.partition("=")
    name = name.replace("_", "-")
    if name in _WITH_ARGUMENT and not argument:
        raise wrong("--faults", word, f"{name}=…, as in --faults {name}={_WITH_ARGUMENT[name]}")
    if name in _PLAIN and "=" in word:
        raise wrong("--faults", word, f"{name} without an argument: only signal= and delay= take one")
    if name not in (*_PLAIN, *_WITH_ARGUMENT):
        raise unknown("family of faults in --faults", name, _families())
    given: tuple[Any, ...] = ()
    if argument:
        given = (_seconds(argument),) if name == "delay" else (argument,)
    family: FaultSet = getattr(catalogue, name.replace("-", "_"))(*given)
    return family


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise wrong("delay", text, "seconds, as in --faults delay=0.5") from None


@dataclass(frozen=True, slots=True)
class _Explored:
    """What exploring has shown; ``interrupted``: up to Ctrl-C."""

    result: ScenarioResult
    interrupted: bool = False


def _explore(
    settings: Settings,
    schedule: Schedule | None,
    listing: bool,
    *,
    quiet: bool,
    keep: Path | None = None,
) -> _Explored:
    from chaoskit.explore.engine import Explorer
    from chaoskit.explore.execute import Serial, Workers
    from chaoskit.explore.job import Job
    from chaoskit.explore.sources import sources_of
    from chaoskit.inject import backends
    from chaoskit.session.program import ProgramRunner

    backend, reason = backends.found()
    if backend is None:
        raise BackendUnavailable(f"the {backends.default()} backend does not work here: {reason}")
    question = _question(settings, schedule, listing, backend.name)
    sources = sources_of(question.faults, settings.model)
    with _directory() as base, _progress(quiet or listing) as progress:
        first = ProgramRunner(_program(settings), backend, sources, base, words=question.words)(
            Job(record=True, timeout=settings.timeout)
        )
        runner = ProgramRunner(_program(settings), backend, (), base, keep, question.words)
        several = Workers(lambda job, watch: runner(job, watch), settings.workers, lambda number: None)
        executor = Serial(lambda job, watch: runner(job, watch)) if keep is not None else several
        explorer = Explorer(replace(question, sources=sources), executor, progress)
        try:
            return _Explored(explorer.explore(first))
        except KeyboardInterrupt:
            so_far = explorer.so_far()
            if so_far is None:
                raise
            return _Explored(so_far, interrupted=True)


def _program(settings: Settings) -> Any:
    from chaoskit.session.program import Program

    return Program(
        argv=settings.command,
        workspace=settings.workspace,
        setup=settings.setup,
        recover=settings.recover,
        check=settings.check,
        promise_stdout=settings.promise_stdout,
        timeout=settings.timeout,
    )


def _question(settings: Settings, schedule: Schedule | None, listing: bool, backend: str) -> Any:
    from chaoskit.core.result import Options
    from chaoskit.explore.case import Question
    from chaoskit.session.spec import Spec

    faults = _faults(settings)
    Spec.checked((faults,), {"model": settings.model})
    options = Options(
        faults=repr(faults),
        depth=settings.depth,
        budget=settings.budget,
        workers=settings.workers,
        timeout=settings.timeout,
        model=settings.model,
        replay=schedule,
        command=_as_typed(settings),
    )
    return Question(
        nodeid=shlex.join(settings.command),
        faults=faults,
        sources=(),
        options=options,
        seed=settings.seed,
        backend=backend,
        replay=schedule,
        listing=listing,
        words=_spoken(),
    )


def _as_typed(settings: Settings) -> str:
    """The options that make the same case, and the program, for a shell."""
    words: list[str] = []
    if settings.workspace is not None:
        words += ["--workspace", str(settings.workspace)]
    for line in settings.setup:
        words += ["--setup", line]
    for name, value in (("recover", settings.recover), ("check", settings.check), ("only", settings.only)):
        words += [f"--{name}", value] if value else []
    for glob in settings.path:
        words += ["--path", glob]
    words += ["--faults", settings.faults, "--model", ",".join(settings.model)]
    words += [] if settings.promise_stdout else ["--no-promise-stdout"]
    words += [] if settings.timeout == 60 else ["--timeout", f"{settings.timeout:g}"]
    return shlex.join([*words, "--", *settings.command])


@contextmanager
def _directory() -> Iterator[Path]:
    """A place for the cases' directories; in memory where that is to be had, gone at the end.

    Also at the end by SIGTERM, by which timeouts and CI systems stop programs, and by SIGHUP, which comes
    when the terminal is closed; one that was ignored (nohup) stays ignored.
    """
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
        shutil.rmtree(name, ignore_errors=True)
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
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("cases", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _tell(
    settings: Settings, explored: _Explored, directory: Path | None, as_json: bool, listing: bool
) -> int:
    from chaoskit.report import Collector, summary_lines, write
    from chaoskit.report.explain import inconclusive_text, violation_text

    result = explored.result
    bad = result.state in ("failed", "inconclusive")
    status = INTERRUPTED if explored.interrupted else NO if bad else 0
    collector = Collector(Path.cwd())
    collector.add(result.to_dict(), outcome="failed" if bad else "passed")
    report = collector.report(command=sys.argv, interrupted=explored.interrupted)
    if directory is not None:
        try:
            write(report, directory)
        except OSError as error:
            # The findings are told all the same: they may have taken an hour.
            click.echo(f"chaoskit: the report could not be written to {directory}: {error}", err=True)
            directory, status = None, FAILED
    if as_json:
        print_json(report.to_dict())
        return status
    if listing:
        _list_points(result)
        return status
    if result.state == "failed":
        click.echo(violation_text(result))
    elif result.state == "inconclusive":
        click.echo(inconclusive_text(result, _spoken()))
    if bad:
        click.echo()
    for line in summary_lines(report):
        colour = next((name for name in ("red", "yellow", "green") if line.markup.get(name)), None)
        click.secho(line.text, fg=colour, bold=line.markup.get("bold", False))
    if directory is not None:
        click.echo(f"report: {directory}")
    return status


def _list_points(result: ScenarioResult) -> None:
    rows = [(point.name, point.outcome, len(point.faults)) for point in result.points]
    print_table("Fault points", ("point", "result", "faults"), rows)
