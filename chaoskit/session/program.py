"""Explore a program in any language: a workspace, a command, and commands that recover and check.

Each case is: a fresh copy of the workspace; the set-up; the command, in which the fault strikes; the
recovery; the check. The check reads what the command promised (its lines on standard output) from its
standard input, and fails by its exit status.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from chaoskit.core.case import CaseFailure
from chaoskit.core.errors import UsageError
from chaoskit.core.words import PYTEST, Words
from chaoskit.explore.border import CaseSource
from chaoskit.explore.errors import InvariantBroken, WorkloadFailed
from chaoskit.explore.execute import Patience, Watch
from chaoskit.explore.home import taken
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.snapshot import EMPTY, take
from chaoskit.explore.sweep import INTERRUPTED_ATTEMPTS
from chaoskit.inject.base import TIMEOUT, Backend, CommandFailed
from chaoskit.inject.processes import kill_tree, reaping
from chaoskit.inject.removal import remove
from chaoskit.session.chaos import Chaos
from chaoskit.session.declared import declared, told_of
from chaoskit.session.outcomes import Outcome, signal_name

_SHOWN = 4000
"""Bytes kept of a step's output, from its end, where the error is."""
_GRACE = 10.0
"""Seconds that a step has to report its own timeout, before the watchdog kills the case without details."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run; every command but ``argv`` is a line for ``sh -c``, in the case's directory.

    ``workspace`` is copied for each case; None means an empty directory. ``timeout`` is in seconds, for
    each of the commands.
    """

    argv: tuple[str, ...]
    workspace: Path | None = None
    setup: tuple[str, ...] = ()
    recover: str = ""
    check: str = ""
    promise_stdout: bool = True
    timeout: float = TIMEOUT
    peers: tuple[tuple[str, str], ...] = ()
    """Names of servers, and for each a command with ``{port}`` or an address such as ``127.0.0.1:5432``."""


class CommandBroken(Exception):
    """One of the commands around the program did not end with status 0. ``args``: the step, how it ended, and
    the end of its output.
    """

    @property
    def whole(self) -> str:
        """How it ended, and all of its output that was kept."""
        _, how, output = self.args
        return f"{how}: {output}" if output else str(how)

    @property
    def in_one_line(self) -> str:
        """How it ended, and the last line of its output, which in most languages is the error."""
        step, how, output = self.args
        return f"the {step} {how}: {output.splitlines()[-1].strip()}" if output else f"the {step} {how}"


class ProgramRunner:
    """Executes jobs by running a program; several forked workers may share an instance.

    ``keep``, if given, is where the directory of the last case with a fault is copied.
    """

    def __init__(
        self,
        program: Program,
        backend: Backend,
        sources: Sequence[CaseSource],
        base: Path,
        keep: Path | None = None,
        words: Words = PYTEST,
    ) -> None:
        self._program = program
        self._backend = backend
        self._sources = sources
        self._base = base
        self._keep = keep
        self._words = words
        self._interrupted = 0
        """Calls of the last case that were interrupted while they waited for the supervisor."""

    def __call__(self, job: Job, watch: Watch | None = None) -> Observation:
        """Run one case.

        A first recording that fails after calls were interrupted while they waited for the supervisor is
        repeated.

        Raises:
            UsageError: if the set-up fails.
            WorkloadFailed: in the first recording, if the program, the recovery or the check fails.
        """
        for _ in range(INTERRUPTED_ATTEMPTS - 1):
            self._interrupted = 0
            try:
                return self._once(job, watch)
            except WorkloadFailed:
                if not self._interrupted:
                    raise
        return self._once(job, watch)

    def _once(self, job: Job, watch: Watch | None) -> Observation:
        began, watch = time.monotonic(), watch or Patience()
        made, servers = contextlib.ExitStack(), contextlib.ExitStack()
        place = self._place(job, watch, made)
        try:
            root = self._fresh(place, watch)
            # Sources look only at the first recording.
            sources = self._sources if job.expected is None else ()
            chaos = Chaos(root, self._backend, job, watch, sources, self._words)
            servers.callback(chaos.close)
            failure = self._failure(chaos, job, watch)
            look = failure is not None or job.record
            expected = job.expected
            beside = EMPTY if expected is None else expected.snapshot
            shown = take(str(root), keep=expected is None, beside=beside) if look else EMPTY
            seen = replace(chaos.observed(), snapshot=shown)
            if self._keep is not None and job.schedule:
                remove(self._keep)
                _copy(root, self._keep, lambda path, kind: None)
            return replace(seen, failure=failure, seconds=time.monotonic() - began)
        finally:
            servers.close()
            remove(place)
            if job.home or job.expected is None or job.note is not None:
                # Later cases may have to begin in this place, and recognise it by the empty directory.
                place.mkdir(0o700)
            made.close()

    def _place(self, job: Job, watch: Watch, made: contextlib.ExitStack) -> Path:
        """An empty directory to hold the case's own: the one that the job asks for, or a new one."""
        if not job.home:
            # The name has the same length in every case, so a program that writes it writes as many bytes.
            return Path(tempfile.mkdtemp(prefix="case-", dir=self._base))
        place = Path(job.home).parent
        made.enter_context(taken(str(place), watch, job.timeout))
        place.mkdir(0o700)
        return place

    def _fresh(self, place: Path, watch: Watch) -> Path:
        root = place / "work"
        if self._program.workspace is None:
            root.mkdir()
        else:
            _copy_workspace(self._program.workspace, root)
        for command in self._program.setup:
            watch.expect(self._program.timeout + _GRACE)
            try:
                _shell(command, str(root), self._program.timeout)
            except CommandBroken as error:
                raise UsageError(
                    f"the set-up {command!r} failed: {error.whole}; expected status 0, without any fault."
                ) from None
        return root

    def _failure(self, chaos: Chaos, job: Job, watch: Watch) -> CaseFailure | None:
        first = job.expected is None
        try:
            self._steps(chaos, watch)
        except CommandBroken as broken:
            if first:
                raise WorkloadFailed(_without_faults(broken.args[0], broken.whole)) from None
            step, how, output = broken.args
            # A check that hangs shows as a hang, whichever step it is.
            kind = "hang" if how.startswith("timed out") else "assertion" if step == "check" else "error"
            message = broken.in_one_line
            # Shown below the message, so only if it says more.
            text = output if "\n" in output else message
            return CaseFailure(kind, step, message, text)  # type: ignore[arg-type]
        except InvariantBroken as broken:
            return CaseFailure("invariant", broken.name, str(broken), str(broken))
        except Exception as error:
            if first and isinstance(error, OSError | CommandFailed):
                raise WorkloadFailed(self._never_worked(error)) from None
            if first:
                raise
            return CaseFailure("error", type(error).__name__, f"{type(error).__name__}: {error}", str(error))
        finally:
            self._interrupted = chaos.observed().interrupted
        return None

    def _never_worked(self, error: Exception) -> str:
        text = _without_faults("command", str(error))
        if self._program.workspace is None:
            text += " It began in an empty directory: --workspace DIR names one to copy."
        return text

    def _steps(self, chaos: Chaos, watch: Watch) -> None:
        program, root = self._program, str(chaos.path)
        servers = [declared(chaos.peer, *one) for one in program.peers]
        ended = _told(chaos.run_command(program.argv, promise_stdout=program.promise_stdout))
        ended |= told_of(servers, os.path.dirname(root))
        if program.recover:
            chaos.recover(_shell, program.recover, root, program.timeout, "recovery", told=ended)
        if program.check:
            promised = "".join(f"{line}\n" for line in chaos.promised)
            watch.expect(program.timeout + _GRACE)
            _shell(program.check, root, program.timeout, "check", promised, ended)


def _told(outcome: Outcome) -> dict[str, str]:
    """How the program ended, as environment variables: a status or a signal, and after a power loss neither.

    Both are always set, an unused one to the empty string, so that ``set -u`` does no harm.
    """
    killed = outcome.signal or (signal.SIGKILL if outcome.timed_out else 0)
    status = "" if killed or outcome.power_lost else str(getattr(outcome.value, "returncode", 127))
    return {"CHAOSKIT_STATUS": status, "CHAOSKIT_SIGNAL": signal_name(killed) if killed else ""}


def _copy(source: Path, target: Path, special: Callable[[str, str], object]) -> None:
    """Copy a directory, preserving symbolic links and the hard links within it.

    ``special(path, kind)`` is called for pipes, sockets and devices, which are not copied.
    """
    copies: dict[tuple[int, int], str] = {}

    def copy(one: str, to: str) -> str:
        status = os.lstat(one)
        kind = _SPECIAL.get(stat.S_IFMT(status.st_mode))
        if kind is not None:
            special(one, kind)
            return to
        # Two names of one file must stay one file: programs use hard links as locks.
        first = copies.setdefault((status.st_dev, status.st_ino), to)
        if first == to:
            return str(shutil.copy2(one, to))
        os.link(first, to)
        return to

    shutil.copytree(source, target, symlinks=True, copy_function=copy)


def _copy_workspace(workspace: Path, root: Path) -> None:
    """Copy the workspace; raise UsageError for special files and files that cannot be read."""

    def refuse(path: str, kind: str) -> NoReturn:
        raise UsageError(
            f"--workspace has {os.path.relpath(path, workspace)!r}, which is {kind}; expected files, "
            "directories and symbolic links. Remove it, or make it with --setup, which runs for each case."
        )

    try:
        _copy(workspace, root, refuse)
    except OSError as error:
        # shutil.Error holds all that went wrong: (source, target, why).
        why = error.args[0][0][2] if isinstance(error, shutil.Error) else error
        raise UsageError(
            f"--workspace {str(workspace)!r} cannot be copied: {why}; expected files that this user can "
            "read, and room for a copy of them. Name a directory that holds only what the program needs."
        ) from None


_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def _without_faults(step: str, text: str) -> str:
    return f"the {step} failed without any fault: {text}\nExpected status 0 in the baseline."


def _shell(
    command: str,
    root: str,
    timeout: float,
    step: str = "set-up",
    given: str = "",
    told: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Run one command line until its shell ends, and kill the processes that it left.

    ``given`` is its standard input; ``told`` is added to its environment.

    Raises:
        CommandBroken: if its status is not 0, or it takes longer than ``timeout`` seconds.
    """
    # A file, since a pipe would have to be fed while the command runs.
    with reaping(), tempfile.TemporaryFile() as lines:
        lines.write(given.encode("utf-8", "surrogateescape"))
        lines.seek(0)
        with subprocess.Popen(
            ["sh", "-c", command],
            cwd=root,
            env={**os.environ, "CHAOSKIT_PATH": root, **told},
            stdin=lines,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A separate session, so that Ctrl-C on the terminal reaches only this process.
            start_new_session=True,
        ) as process:
            try:
                output = _until_ended(process, time.monotonic() + timeout)
            except BaseException as error:
                # The shell may have started others, and a hung one outlives it.
                kill_tree(process.pid)
                if isinstance(error, TimeoutError):
                    raise CommandBroken(step, f"timed out after {timeout:g} s", "") from None
                raise
    if process.returncode:
        raise CommandBroken(step, _ended(process.returncode), output.decode("utf-8", "replace").strip())


def _until_ended(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Wait for the process itself, even if others hold its output open; return the end of the output.

    Raises:
        TimeoutError: if it has not ended by ``deadline``, a time of the monotonic clock.
    """
    assert process.stdout is not None
    pipe, kept = process.stdout.fileno(), b""
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            # The process and not its pipe: a daemon may hold that open forever.
            selector.register(ended, selectors.EVENT_READ)
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(max(0.0, deadline - time.monotonic()))}
                over = ended in ready
                if not over and time.monotonic() >= deadline:
                    raise TimeoutError
                if over or pipe in ready:
                    chunk = _available(pipe)
                    kept = (kept + chunk)[-_SHOWN:]
                    if not chunk and not over:
                        selector.unregister(pipe)
                if over:
                    return kept
    finally:
        os.close(ended)


def _available(pipe: int) -> bytes:
    """What the pipe holds now, at most its capacity: a process may write forever."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1 << 20)
    except BlockingIOError:
        return b""


def _ended(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
