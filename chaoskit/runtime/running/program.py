"""A program as a supervised worker: it is restarted when it fails, and asked to end in time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.numbers import is_number
from chaoskit.runtime.running.supervise import Worker

__all__ = ["SupervisedProgram"]

# Seconds between two looks at the program: signs of life are given, and the end of the grace period is
# noticed, no later than this.
LOOK = 0.2


class SupervisedProgram:
    """A target for ``supervisor.spawn("encoder", SupervisedProgram(["encode", "--live"]))``.

    A thread starts the program and waits for it. If the program exits with a code other than 0, or a signal
    ends it, it has failed with ``subprocess.CalledProcessError``, and is restarted according to the
    supervisor's options. When the supervisor stops, the program gets SIGTERM, and ``grace`` seconds later
    SIGKILL. Keep ``grace`` below the supervisor's ``join_timeout``. The program counts as alive while it
    runs.

    The program itself has to end the processes that it starts. If this process is killed, the program goes
    on. ``directory`` and ``environment`` are ``cwd`` and ``env`` of ``subprocess.Popen``; None inherits ours.

    Raises:
        UsageError: the command is empty or a single string, or ``grace`` is negative.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        grace: float = 5.0,
        directory: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(command, str) or not command:
            raise wrong("command", command, "a list: the program and its arguments")
        self.command = kinds.listed("command", command, str, os.PathLike)
        if not (is_number(grace) and grace >= 0):
            raise wrong("grace", grace, "seconds, zero or more")
        self._grace = grace
        self._directory = kinds.instance("directory", directory, str, os.PathLike, optional=True)
        if environment is not None:
            kinds.mapping("environment", environment, "a mapping of names to texts, or None to inherit ours")
        self._environment = environment
        self._clock = kinds.clock(clock, optional=True) or SystemClock()

    def __repr__(self) -> str:
        return f"<SupervisedProgram {os.fspath(self.command[0])} with {len(self.command) - 1} arguments>"

    def __call__(self, worker: Worker) -> None:
        """Run the program until it ends.

        Raises:
            subprocess.CalledProcessError: it failed without having been asked to end.
            OSError: it cannot be started.
        """
        process = subprocess.Popen(self.command, cwd=self._directory, env=self._environment)
        # Popen.terminate checks that the process is still there, so it cannot hit another one that was given
        # its number.
        forget = worker.stop.tell(process.terminate)
        try:
            code = self._ended(process, worker)
        finally:
            forget()
            if process.returncode is None:
                # An error here must not leave an unwatched program behind.
                process.kill()
                process.wait()
        if code and not worker.stop.is_set():
            raise subprocess.CalledProcessError(code, self.command)

    def _ended(self, process: subprocess.Popen[bytes], worker: Worker) -> int:
        asked: float | None = None
        while True:
            try:
                return process.wait(LOOK)
            except subprocess.TimeoutExpired:
                worker.beat()
            now = self._clock.monotonic()
            if asked is None and worker.stop.is_set():
                asked = now
            if asked is not None and now - asked >= self._grace:
                process.kill()
