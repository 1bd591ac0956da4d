"""Runs jobs on hosts in batches. The jobs of a lost host go to others, and run here if none is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from chaoskit.core.errors import UsageError
from chaoskit.explore.execute import Executor, Observations, Wanted, always
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.hosts.fleet import PATIENCE, Fleet, Host
from chaoskit.hosts.wire import Packer

BATCH = 16
"""Jobs in one message. A host has up to two messages, so that it need not wait for the next."""

_TWICE = 2
"""A job that was running on this many lost hosts runs here, where its process is watched."""
_TICK = 0.5
"""Seconds between two looks at which hosts are silent, if no message comes."""


class Spread:
    """Runs the jobs of one scenario, ``name``, on all hosts.

    Until :meth:`planned` is called, and for jobs that cannot be sent, ``here`` runs them. It does not matter
    which host runs a job: the message has all of the job, and its observation is judged here. ``places`` are
    the directories here by their purpose, so that a host can name its files like ours.
    """

    def __init__(self, fleet: Fleet, name: str, here: Executor, places: Mapping[str, str]) -> None:
        self.fleet = fleet
        self.name = name
        self.plan = ""
        self._here = here
        self._places = dict(places)
        self._rounds = 0

    def planned(self, plan: str) -> None:
        """Let every host make its own recording and plan, whose digest must be ``plan``."""
        self.plan = plan
        for host in self.fleet.alive:
            host.packer, host.outstanding = Packer(), []
            if host.state == "ready":
                host.state = "open"
            self.fleet.send(host, host.packer.pack(("open", self.name, self._places)))

    def close(self) -> None:
        """Let the hosts go on to the next scenario."""
        if self.plan:
            for host in self.fleet.alive:
                self.fleet.send(host, host.packer.pack(("close",)))

    def run(self, jobs: Sequence[Job], wanted: Wanted = always) -> Observations:
        """See :class:`~chaoskit.explore.execute.Executor`.

        Raises:
            UsageError: the test has another plan on a host.
        """
        if not self.plan or not jobs:
            yield from self._here.run(jobs, wanted)
            return
        self._rounds += 1
        under_way = _Spreading(self, self._rounds, jobs, wanted)
        yield from under_way.observations()
        # The jobs that no host could run, in their order.
        rest = sorted(under_way.open)
        for number, seen in self._here.run([jobs[one] for one in rest], lambda one: wanted(rest[one])):
            yield rest[number], seen


class _Spreading:
    """The jobs of one call of :meth:`Spread.run`. ``open`` are the numbers of those without an answer."""

    def __init__(self, spread: Spread, number: int, jobs: Sequence[Job], wanted: Wanted) -> None:
        self._spread = spread
        self._fleet = spread.fleet
        self._number = number
        self._jobs = jobs
        self._wanted = wanted
        # The next job is the last: popping the end of a list costs nothing.
        self._waiting = list(range(len(jobs)))[::-1]
        self._lost: Counter[int] = Counter()
        self._not_there: set[int] = set()
        self.open = set(self._waiting)

    def observations(self) -> Iterator[tuple[int, Observation]]:
        """The answers of hosts, until no job or no host is left."""
        for host in self._fleet.alive:
            host.outstanding, host.heard = [], time.monotonic()
        while len(self._not_there) < len(self.open) and self._fleet.alive:
            for host in self._fleet.alive:
                self._feed(host)
            for host, message in self._fleet.receive(_TICK):
                yield from self._answer(host, message)
            for host in self._fleet.hosts:
                self._watch(host)

    def _feed(self, host: Host) -> None:
        """Send a host its next batch, if it is ready and has room for one."""
        if host.state != "ready" or len(host.outstanding) > BATCH:
            return
        batch: list[int] = []
        while self._waiting and len(batch) < BATCH:
            number = self._waiting.pop()
            if self._wanted(number) and _is_bound(self._jobs[number]):
                self._not_there.add(number)
            elif self._wanted(number):
                batch.append(number)
            else:
                self.open.discard(number)
        if not batch:
            return
        try:
            jobs = [(number, self._jobs[number]) for number in batch]
            frame = host.packer.pack(("jobs", self._number, jobs))
        except Exception:
            # A world or a note that cannot be pickled. Their content is not this module's business, so which
            # error that raises is unknown.
            self._not_there.update(batch)
            return
        host.outstanding += batch
        self._fleet.send(host, frame)

    def _answer(self, host: Host, message: object) -> Iterator[tuple[int, Observation]]:
        name, plan = self._spread.name, self._spread.plan
        match message:
            case ("plan", str(of), str(found)) if of == name:
                if found != plan:
                    raise UsageError(
                        f"on the host {host.spec} {name} has the plan {found}; expected {plan}, as here. "
                        "Install the same commit and the same versions there."
                    )
                host.state = "ready"
            case ("failed", str(of), str(why)) if of == name:
                self._fleet.lose(host, why)
            case ("seen", int(at), list(several)) if at == self._number:
                for number, seen in several:
                    host.outstanding.remove(number)
                    self.open.discard(number)
                    yield number, seen

    def _watch(self, host: Host) -> None:
        """Give the jobs of a lost host to others; a host that is silent for too long counts as lost."""
        most = sum(self._jobs[number].timeout for number in host.outstanding) + PATIENCE
        if host.state != "lost" and time.monotonic() - host.heard > most:
            self._fleet.lose(host, f"nothing was heard of it for {most:.0f} seconds")
        if host.state != "lost":
            return
        for number in host.outstanding:
            self._lost[number] += 1
            if self._lost[number] >= _TWICE:
                self._not_there.add(number)
            else:
                self._waiting.append(number)
        host.outstanding = []


def _is_bound(job: Job) -> bool:
    """Return True if the job names a directory here, or its notes would name one of another machine."""
    return job.note is not None or (job.world is not None and job.world.tells_of_home)
