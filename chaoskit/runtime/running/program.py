"""A program as a supervised worker: it is started again when it fails, and asked to end in time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from chaoskit.core.errors import wrong
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.running.supervise import Worker

__all__ = ["SupervisedProgram"]

# How long a sign of life of the program, and the end of its grace, may go unseen.
LOOK = 0.2


class SupervisedProgram:
    """A target for ``supervisor.spawn("encoder", SupervisedProgram(["encode", "--live"]))``.

    A thread starts the program and waits for it. One that exits with another code than 0, or that a signal
    ends, has failed with ``subprocess.CalledProcessError``, and is started again as the supervisor's options
    say. When the supervisor stops, the program gets SIGTERM, and ``grace`` seconds later SIGKILL. Keep
    ``grace`` below the supervisor's ``join_timeout``. While the program runs it counts as alive.

    What the program itself has started is its own to end, and if this process is killed the program
    goes on. ``directory`` and ``environment`` are those of ``subprocess.Popen``; None inherits ours.

    Raises:
        UsageError: for an empty command, a single string, and a ``grace`` below zero.
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
        if not grace >= 0:
            raise wrong("grace", grace, "seconds, zero or more")
        self.command = tuple(command)
        self._grace = grace
        self._directory = directory
        self._environment = environment
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"<SupervisedProgram {os.fspath(self.command[0])} with {len(self.command) - 1} arguments>"

    def __call__(self, worker: Worker) -> None:
        """Run the program to its end.

        Raises:
            subprocess.CalledProcessError: it has failed, and was not asked to end.
            OSError: it cannot be started.
        """
        process = subprocess.Popen(self.command, cwd=self._directory, env=self._environment)
        # Popen.terminate looks whether the process is over, so this harms no successor of its number.
        forget = worker.stop.tell(process.terminate)
        try:
            code = self._ended(process, worker)
        finally:
            forget()
            if process.returncode is None:
                # What raised here is no reason to leave a program behind that no one watches.
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
