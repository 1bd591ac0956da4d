"""Runs all checks of a program at once, each with a time limit."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, synchronous
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.guarding.health.checks import HealthCheck
from chaoskit.runtime.guarding.health.records import HealthFinding, HealthReport, HealthStatus
from chaoskit.runtime.guarding.health.serving import HealthServer
from chaoskit.runtime.numbers import is_number
from chaoskit.runtime.redact import redact_text
from chaoskit.runtime.retrying.history import shown

__all__ = ["Health"]


@dataclass(slots=True)
class _Look:
    """One run of one check, on a thread that may hang forever."""

    done: threading.Event
    begun: float
    finding: HealthFinding | None = None


class Health:
    """Runs all ``checks`` at the same time, and never waits longer than ``timeout`` seconds for them.

    A check is unhealthy if it does not answer in time, raises, or returns anything but a finding or None. A
    check that still hangs at the next report is not started again, so a hung check costs one thread, however
    many reports there are. A report is kept for ``keep`` seconds, so that many probes cost no more than one.
    Threads may share the object.

    Raises UsageError for checks that do not return at once, such as async ones, and for impossible times.
    """

    def __init__(
        self,
        checks: Mapping[str, HealthCheck],
        *,
        timeout: float = 5.0,
        keep: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        if not (is_number(timeout) and timeout > 0 and is_number(keep) and keep >= 0):
            raise wrong("timeout, keep", (timeout, keep), "seconds, more than zero, and at least zero")
        if not isinstance(checks, Mapping) or not all(isinstance(name, str) for name in checks):
            raise wrong("checks", checks, "a mapping of names to checks")
        for check in checks.values():
            synchronous("a check", check, optional=False)
        self._checks = dict(checks)
        self._timeout, self._keep = timeout, keep
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._running: dict[str, _Look] = {}
        self._kept: tuple[float, HealthReport] | None = None

    def report(self) -> HealthReport:
        """The current report, or the last one if it is less than ``keep`` seconds old."""
        if self._pid != os.getpid():
            self._begin()  # In a forked child, which has neither the threads nor the holder of the lock.
        with self._lock:
            kept = self._kept
            if kept is not None and self._clock.monotonic() - kept[0] < self._keep:
                return kept[1]
            report = self._look()
            self._kept = (self._clock.monotonic(), report)
        return report

    def serve(self, port: int = 0, *, host: str = "127.0.0.1", beyond_loopback: bool = False) -> HealthServer:
        """Answer ``GET /health`` on a thread until the server is closed; see :class:`HealthServer`.

        Raises:
            UsageError: ``host`` is not a loopback address, and ``beyond_loopback`` does not allow it.
            OSError: the port is taken.
        """
        return HealthServer(self.report, port, host=host, beyond_loopback=beyond_loopback)

    def _look(self) -> HealthReport:
        looks = {name: self._started(name, check) for name, check in self._checks.items()}
        end = self._clock.monotonic() + self._timeout
        found: list[HealthFinding] = []
        for name, look in looks.items():
            self._clock.sleep(max(end - self._clock.monotonic(), 0.0), look.done)
            if look.finding is not None:
                self._running.pop(name, None)
                found.append(look.finding)
                continue
            waited = self._clock.monotonic() - look.begun
            text = f"it has not answered for {waited:.1f} s; expected an answer within {self._timeout:g} s"
            found.append(HealthFinding(name, HealthStatus.UNHEALTHY, text, waited))
        return HealthReport(tuple(found), self._clock.time())

    def _started(self, name: str, check: HealthCheck) -> _Look:
        hung = self._running.get(name)
        if hung is not None and hung.finding is None:
            return hung
        look = _Look(threading.Event(), self._clock.monotonic())
        # A thread for each check, not a pool, in which a hung check would occupy its place forever.
        thread = threading.Thread(
            target=self._run, args=(name, check, look), name=f"chaoskit-health-{name}", daemon=True
        )
        try:
            thread.start()
        # If no thread can be started, the machine is unhealthy, and the probe should be told just that.
        except (RuntimeError, MemoryError) as error:
            text = f"it could not be asked: {type(error).__name__}: {shown(error)}"
            look.finding = HealthFinding(name, HealthStatus.UNHEALTHY, text)
            look.done.set()
        else:
            self._running[name] = look
        return look

    def _run(self, name: str, check: HealthCheck, look: _Look) -> None:
        try:
            finding = _finding(called("a check", check))
        except BaseException as error:
            # The text of an error may contain a database's address with its password.
            text = redact_text(f"{type(error).__name__}: {shown(error)}")[:500]
            finding = HealthFinding("", HealthStatus.UNHEALTHY, text)
        look.finding = replace(finding, name=name, seconds=self._clock.monotonic() - look.begun)
        look.done.set()


def _finding(answer: object) -> HealthFinding:
    """Turn a check's answer into a finding. False is refused: it may mean "no", while None means healthy."""
    if answer is None:
        return HealthFinding("", HealthStatus.HEALTHY)
    if isinstance(answer, HealthFinding):
        return answer
    raise wrong("the answer of a check", answer, "a HealthFinding, or None for healthy")
