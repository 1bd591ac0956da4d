"""Celery tasks that are not lost and not started too often: the store decides, the broker only wakes workers.

::

    @app.task(base=DurableTask, bind=True, store="state/runs.db", policy=RetryPolicy(on=TRANSIENT_ERRORS))
    def convert(self, run): ...

A run is recorded before its message is sent, claimed before its body starts, and counted at each start. A
message that is lost, delivered twice, or redelivered after its run has ended changes nothing. Call
:func:`reconcile` regularly: it resends the messages of runs that have waited too long. :func:`configure`
applies settings.

If a worker is killed after the work is done but before that is recorded, the body runs again: it must
tolerate repetition. Needs Celery 5.
"""

from __future__ import annotations

import datetime
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject, Retry, TaskRevokedError, WorkerLostError
from celery.signals import task_revoked
from celery.utils import uuid
from celery.worker.request import Request
from kombu.exceptions import OperationalError

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.brokers import check_broker
from chaoskit.runtime.buried import bury_revoked, bury_used_up
from chaoskit.runtime.context import correlation_id, operation, usable_id
from chaoskit.runtime.durable.checkpoints.checkpoints import Checkpoints
from chaoskit.runtime.durable.checkpoints.claims import Claim
from chaoskit.runtime.durable.checkpoints.records import CheckpointContent, CheckpointRecord, kind_of
from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.store.codec import Encoded
from chaoskit.runtime.durable.store.protocol import Tx
from chaoskit.runtime.durable.store.store import Store
from chaoskit.runtime.failures.base import TRANSIENT_ERRORS
from chaoskit.runtime.failures.stored import LeaseLost
from chaoskit.runtime.failures.taxonomy import CheckpointError
from chaoskit.runtime.retrying.backoff import Exponential, band
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.policy import RetryPolicy
from chaoskit.runtime.retrying.registry import PolicyRegistry
from chaoskit.runtime.settings import RuntimeSettings

__all__ = ["DurableRequest", "DurableTask", "check_broker", "close_stores", "configure", "reconcile"]

logger = logging.getLogger("chaoskit")

HEADER = "chaoskit_correlation_id"

DEFAULT_POLICY = RetryPolicy(
    on=TRANSIENT_ERRORS, attempts=3, wait=Exponential(300.0, 3600.0, jitter=band(0.2)), name="celery"
)

_POLICIES = PolicyRegistry({}, default=DEFAULT_POLICY)
LEASE = GRACE = 60.0  # Seconds, for an app that is not configured.

_opened: dict[tuple[int, str], Store] = {}
"""Open stores by process and place. A child neither uses nor closes its parent's: that would drop locks."""


class DurableRequest(Request):  # type: ignore[misc]
    """The request as the parent of the worker's processes has it; it notices that a process was killed."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        done = super().on_failure(exc_info, send_failed_event, return_ok)
        if isinstance(exc_info.exception, WorkerLostError):
            try:
                self.task.bury_if_used_up(self.id)
            # The parent must survive. The run is not lost by that: its next delivery dead-letters it.
            except Exception:
                logger.exception("the run %s of a killed worker could not be looked at", self.id)
        return done


def _revoked(sender: Any, request: Any, expired: bool, **_: Any) -> None:
    # An expired message is like a lost one: reconcile() sends the run again.
    if isinstance(sender, DurableTask) and not expired:
        error = TaskRevokedError("it was revoked")
        try:
            if not bury_revoked(sender.steps(), request.id, error):
                logger.warning(
                    "the run %s was revoked; it is buried when its message comes again", request.id
                )
        # Nothing is lost here either: the run's next delivery dead-letters it.
        except Exception:
            logger.exception("the revoked run %s could not be buried", request.id)


task_revoked.connect(_revoked, weak=False)


class DurableTask(Task):  # type: ignore[misc]
    """The base of tasks whose runs are in a store.

    ``store`` is the target of :meth:`Store.open`: a path, or ``postgresql://…`` for workers on several
    machines. ``policy`` decides which errors are retried, when, and at most how often; the last failure
    becomes a dead letter. ``lease``, in seconds, matters only for workers on other machines. Options that are
    not set here come from the app: see :func:`configure`. ``pipeline`` defaults to the name of the task.
    ``describe`` names keyword arguments that are recorded as metadata; ``session`` and ``subject`` also
    appear in a dead letter. A broker that drops messages on delivery is refused, unless ``forgetful_broker``
    allows it for tests.
    """

    abstract = True
    acks_late = True
    # Redelivery is safe: starts are counted, so a task that keeps killing its worker is stopped.
    reject_on_worker_lost = True
    max_retries = None
    Request = "chaoskit.runtime.celery:DurableRequest"

    store: str | os.PathLike[str] | None = None
    policy: RetryPolicy | None = None
    lease: float | None = None
    pipeline: str = ""
    describe: Sequence[str] = ()
    forgetful_broker = False

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Any:
        """Record the run, durably, then send its message.

        If the broker cannot be reached, the run is accepted anyway, and :func:`reconcile` sends it.

        Raises:
            CheckpointError: the arguments are not JSON.
            ConfigurationError: the broker drops messages on delivery.
        """
        id = task_id or uuid()
        if self.app.conf.task_always_eager:
            return super().apply_async(args, kwargs, task_id=id, **options)
        check_broker(self.app, allow=self.forgetful_broker)
        wait = _wait(options.get("countdown"), options.get("eta"))
        content = self._content(args, kwargs)
        self.steps().store.write(lambda tx: self._add(tx, id, content, wait))
        return self._send(args, kwargs, id, **options)

    def enqueue(
        self, tx: Tx, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, key: str
    ) -> bool:
        """Accept the run ``key`` if, and only if, ``tx`` commits; return False if it was accepted before.

        ``tx`` is a transaction of the task's own store. :func:`reconcile` sends the message.

        Raises:
            CheckpointError: the arguments are not JSON.
        """
        return self._add(tx, key, self._content(args, kwargs), 0.0)

    def _add(self, tx: Tx, id: str, content: Encoded, wait: float) -> bool:
        # ``add``, not ``put``: a retry comes through here too, and must not erase the record of its run.
        return tx.add(kind_of(self._pipeline()), id, content, status="pending", due=tx.now + wait)

    def _send(self, args: Any, kwargs: Any, id: str, **options: Any) -> Any:
        headers = {**(options.pop("headers", None) or {})}
        headers.setdefault(HEADER, correlation_id() or id)
        try:
            return super().apply_async(args, kwargs, task_id=id, headers=headers, **options)
        except OperationalError as error:
            logger.warning("the message of run %s was not sent, and will be: %s", id, error)
            return self.AsyncResult(id)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if request.called_directly or request.is_eager:
            return self.run(*args, **kwargs)
        steps, id = self.steps(), request.id
        if steps.record(id) is None:
            # The message was sent by name only, from a program that does not have this class.
            content = self._content(args, kwargs)
            steps.store.write(lambda tx: self._add(tx, id, content, 0.0))
        claim = steps.claim(id)
        if claim is None:
            return self._not_to_be_had(steps, id)
        told = usable_id(getattr(request, HEADER, None), (request.headers or {}).get(HEADER), id)
        try:
            with operation(self.name, correlation_id=told, run=id, attempt=claim.attempt):
                return self._attempt(claim, args, kwargs)
        finally:
            # If the store failed, the end of this claim was not recorded. This process lives on, and must not
            # keep the run to itself.
            claim.leave()

    def _attempt(self, claim: Claim, args: Any, kwargs: Any) -> Any:
        try:
            result = self.run(*args, **kwargs)
        except Retry as asked:
            # The body called retry() itself, which has sent the message already. The attempt counts like any
            # other.
            claim.fail(asked.exc or asked, retry_in=_wait(asked.when, None))
            raise
        except (Ignore, Reject):
            claim.release()
            raise
        except Exception as error:
            self._failed(claim, error)
            raise
        except BaseException:
            # The worker is being stopped, which says nothing about the run.
            claim.release()
            raise
        try:
            claim.complete({**(claim.value or {}), "result": result})
        except LeaseLost:
            # Another worker has the run by now, and its outcome counts.
            return self._not_to_be_had(self.steps(), claim.key)
        except CheckpointError as error:
            self._failed(claim, error)
            raise
        return result

    def _failed(self, claim: Claim, error: Exception) -> None:
        """Record the failure, and raise ``Retry`` if there is another attempt."""
        course = Course(self._policy(), None, self.run)
        course.attempts = claim.attempt - 1
        if not course.failed(error):
            claim.fail(error, final=True)
            return
        claim.fail(error, retry_in=course.wait)
        # The record comes first: after a kill in between, the run waits until reconcile() sends it.
        raise self.retry(exc=error, countdown=course.wait)

    def _not_to_be_had(self, steps: Checkpoints, id: str) -> Any:
        found = steps.record(id)
        if found is not None and found.status == "completed":
            return found.value["result"]
        if found is None or found.status == "dead":
            logger.warning(
                "the run %s is %s; its message is dropped", id, "gone" if found is None else "dead"
            )
            raise Ignore
        # Another worker has it until its lease ends, or it is not due yet. The message comes again then.
        rest = (found.due or 0.0) - steps.store.now()
        raise self.retry(countdown=min(max(rest, 0.2), self._lease()))

    def start_strategy(self, app: Celery, consumer: Any, **kwargs: Any) -> Any:
        """Check the broker when a worker starts; warn of a ``visibility_timeout`` shorter than the lease.

        Raises:
            ConfigurationError: the broker drops messages on delivery.
        """
        check_broker(app, allow=self.forgetful_broker)
        known = app.conf.broker_transport_options.get("visibility_timeout")
        if known is not None and known < self._lease():
            logger.warning(
                "visibility_timeout is %g s, the lease of %s is %g s; expected a longer time-out: messages"
                " are delivered again while their runs still go on, and have to wait for them",
                *(known, self.name, self._lease()),
            )
        return super().start_strategy(app, consumer, **kwargs)

    def steps(self) -> Checkpoints:
        """The runs of this task, opened in this process.

        Raises:
            UsageError: neither the task nor the app names a store.
            ResilienceError: an error of the store.
        """
        target = self.store or self.app.conf.get("durable_store")
        if target is None:
            raise UsageError(
                f"the task {self.name!r} has no store; expected a path, or postgresql://…. Set store= of the"
                " task, or durable_store of the app."
            )
        place = str(target) if "://" in str(target) else os.path.abspath(target)
        # By process: a worker's children are forked, and each needs its own store.
        store = _opened.get((os.getpid(), place))
        if store is None:
            store = _opened[os.getpid(), place] = Store.open(place)
        kept: tuple[Store, Checkpoints] | None = self.__dict__.get("_kept")
        if kept is None or kept[0] is not store:
            letters = self.app.conf.get("durable_letters", DeadLetters)(store)
            limits: dict[str, Any] = {"attempts": self._policy().most, "lease": self._lease()}
            steps = Checkpoints(store, pipeline=self._pipeline(), letters=letters, **limits)
            kept = self.__dict__["_kept"] = (store, steps)
        return kept[1]

    def bury_if_used_up(self, id: str) -> None:
        """Dead-letter a run whose worker was killed in its last attempt; leave any other run alone."""
        bury_used_up(self.steps(), self._policy().most, id)

    def resend(self, found: CheckpointRecord) -> None:
        """Send the message of a run again."""
        value = found.value or {}
        headers = {HEADER: found.correlation_id or found.key}
        self._send(value.get("args"), value.get("kwargs"), found.key, headers=headers)

    def _pipeline(self) -> str:
        return self.pipeline or self.name

    def _policy(self) -> RetryPolicy:
        known: PolicyRegistry = self.app.conf.get("durable_policies", _POLICIES)
        return self.policy or known[self._pipeline()]

    def _lease(self) -> float:
        return float(self.lease or self.app.conf.get("durable_lease", LEASE))

    def _content(self, args: Any, kwargs: Any) -> Encoded:
        """The recorded content of a run, encoded here: a transaction may run without the caller's context."""
        given = dict(kwargs or {})
        told = {name: given[name] for name in self.describe if name in given}
        value = {"args": list(args or ()), "kwargs": given}
        return CheckpointContent(value, metadata=told, correlation_id=correlation_id()).encoded()


def configure(app: Celery, settings: RuntimeSettings, **code: Any) -> None:
    """Let the durable tasks of ``app`` follow ``settings``: broker, store, lease, policies, dead letters.

    A task's policy is the one in the group ``retry`` with the name of its pipeline, or else ``default``.
    ``code`` is passed to all policies (``on``, ``classifier``, ``listeners``). Options of the task itself
    take precedence.
    """
    said, policies = settings.celery, settings.policies(**code)
    default = policies.get("default", DEFAULT_POLICY)
    app.conf.update(
        durable_lease=said.lease,
        durable_grace=said.grace,
        durable_policies=PolicyRegistry(policies, default=default),
        durable_letters=settings.dead_letters.letters,
    )
    addresses = {"durable_store": said.store, "broker_url": said.broker}
    app.conf.update({name: address for name, address in addresses.items() if address is not None})
    if said.visibility_timeout is not None:
        known = app.conf.broker_transport_options
        app.conf.broker_transport_options = {**known, "visibility_timeout": said.visibility_timeout}


def reconcile(app: Celery, *, grace: float | None = None) -> int:
    """Send messages again for runs that are ``grace`` seconds overdue, or whose worker is gone.

    ``grace`` defaults to that of the app, see :func:`configure`, or to 60 seconds if the app has none.

    It does this for all durable tasks of the app, and returns the number of messages sent. If the first
    message was only late, the second one changes nothing. Call it from beat, or from an operator's program;
    several calls at once do no harm.

    Raises:
        UsageError: ``grace`` is negative.
        ResilienceError: an error of the store.
    """
    patience = app.conf.get("durable_grace", GRACE) if grace is None else grace
    if not patience >= 0:
        raise wrong("grace", patience, "seconds, at least zero")
    return sum(_reconcile(one, patience) for one in set(app.tasks.values()) if isinstance(one, DurableTask))


def _reconcile(task: DurableTask, grace: float) -> int:
    steps = task.steps()
    store, sent = steps.store, 0
    kind, now = kind_of(task._pipeline()), store.now()
    waiting = [one for one in steps.pending() if one.due is not None and one.due + grace <= now]
    for one in waiting:
        # Make it due now: other reconcilers, even one that has listed it already, then wait for the grace.
        with store.transaction() as tx:
            same = getattr(tx.get(kind, one.key), "due", None) == one.due
            waits = same and tx.change(kind, one.key, status="pending", due=now, was="pending")
        if waits:
            task.resend(one)
            sent += 1
    for one in list(steps.in_progress()):
        if one.owner is None or one.updated + grace > now:
            continue
        lives = store.owner_alive(one.owner)
        # False: the kernel says that the worker is gone; the broker may not know, or may have lost the
        # message. None: it ran on another machine, and we only know that it has stopped renewing its lease.
        if lives is False or (lives is None and one.due is not None and one.due + grace <= now):
            task.resend(one)
            sent += 1
    return sent


def close_stores(app: Celery) -> None:
    """Close the stores that tasks of ``app`` have opened in this process; the next use reopens them."""
    kept = [one.__dict__.pop("_kept") for one in set(app.tasks.values()) if "_kept" in one.__dict__]
    for _, steps in kept:
        steps.close()  # All of them first: each has a thread that renews its claims in the store.
    for place, store in list(_opened.items()):
        if place[0] == os.getpid() and any(store is one for one, _ in kept):
            _opened.pop(place).close()


def _wait(countdown: Any, eta: Any) -> float:
    """Seconds from now until ``eta``, or ``countdown`` if that is given; zero without either."""
    given = eta if countdown is None else countdown
    if isinstance(given, datetime.datetime):
        return max(given.timestamp() - time.time(), 0.0)
    return float(given or 0.0)
