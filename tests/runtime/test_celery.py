"""The Celery base without a worker: what it records, refuses and warns of. The kills are in scenarios/."""

from __future__ import annotations

import dataclasses
import logging

import pytest

celery = pytest.importorskip("celery")

from celery.app.task import Context  # noqa: E402
from celery.exceptions import Ignore, Retry  # noqa: E402
from celery.signals import task_revoked  # noqa: E402

from chaoskit.core.errors import UsageError  # noqa: E402
from chaoskit.runtime import (  # noqa: E402
    TRANSIENT_ERRORS,
    CheckpointError,
    ConfigurationError,
    Constant,
    DeadLetters,
    RetryPolicy,
    StoreBusy,
    read_settings,
)
from chaoskit.runtime.celery import HEADER, DurableTask, check_broker, configure, reconcile  # noqa: E402
from chaoskit.runtime.context import correlation_id, operation, usable_id  # noqa: E402


@pytest.fixture
def app(target):
    """With its runs in a file, and in a database on a server."""
    app = celery.Celery("t", broker="memory://", set_as_current=False)
    app.conf.durable_store = target
    yield app
    app.close()


@pytest.fixture
def task(app):
    """A durable task whose body is ``task.body``, on a broker that forgets."""
    body = {"run": lambda *args: list(args)}
    policy = RetryPolicy(on=TRANSIENT_ERRORS, attempts=2, wait=Constant(7.0))

    @app.task(base=DurableTask, policy=policy, forgetful_broker=True, name="t.task", shared=False)
    def task(*args):
        return body["run"](*args)

    task.body = body
    yield task
    # First the thread that renews the claims of the retries.
    task.steps().close()
    task.steps().store.close()


def delivered(task, id, *args, headers=None):
    """What a worker does with the message."""
    task.push_request(
        id=id,
        args=args,
        kwargs={},
        called_directly=False,
        is_eager=False,
        headers=headers or {},
        delivery_info={},
    )
    try:
        return task(*args)
    finally:
        task.pop_request()


def status(task, id):
    found = task.steps().record(id)
    return found.status, found.attempts


def test_a_run_is_recorded_before_it_is_sent(task):
    """With its arguments; and it runs once, however often its message comes."""
    id = task.delay(1, "a").id
    assert task.steps().record(id).value == {"args": [1, "a"], "kwargs": {}}
    assert status(task, id) == ("pending", 0)
    assert delivered(task, id, 1, "a") == [1, "a"]
    task.body["run"] = lambda *args: pytest.fail("it ran again")
    assert delivered(task, id, 1, "a") == [1, "a"]
    assert status(task, id) == ("completed", 1)


def test_a_message_from_elsewhere_is_recorded_when_it_comes(task):
    """A program that knows the name of the task alone may send it."""
    assert delivered(task, "foreign", 5) == [5]
    assert task.steps().record("foreign").value == {"args": [5], "kwargs": {}, "result": [5]}


def test_one_correlation_id_reaches_from_the_caller_to_the_body(task, monkeypatch):
    """In the message, the record, the body, and the message that is sent again for one that was lost."""
    sent = []

    def send(self, args=None, kwargs=None, task_id=None, **options):
        sent.append(options["headers"])
        return self.AsyncResult(task_id)

    monkeypatch.setattr(celery.Task, "apply_async", send)
    with operation("caller", correlation_id="c-1"):
        id = task.delay().id
    assert sent.pop() == {HEADER: "c-1"}
    record = task.steps().record(id)
    assert record.correlation_id == "c-1"
    task.resend(record)
    [headers] = sent
    assert headers == {HEADER: "c-1"}
    task.body["run"] = lambda *args: correlation_id()
    assert delivered(task, id, headers=headers) == "c-1"
    alone = task.delay().id
    assert sent[1:] == [{HEADER: alone}]


@pytest.mark.parametrize("header", [None, "two\nlines", 7])
def test_a_run_may_have_any_key(task, header):
    """A path, say, which can be no correlation id; nor need what a stranger's message has in its place."""
    key = "patient 7/scän"
    task.body["run"] = lambda *args: correlation_id()
    task.apply_async((), task_id=key)
    found = delivered(task, key, headers={HEADER: header})
    assert status(task, key) == ("completed", 1)
    task.apply_async((), task_id=f"{key} 2")
    assert delivered(task, f"{key} 2") != found == usable_id(key)


def test_what_may_pass_is_tried_again_with_the_countdown_of_the_policy(task):
    """Then it is a dead letter, one for the one failure."""

    def fails(*args):
        raise ConnectionError("down")

    task.body["run"] = fails
    id = task.delay(1).id
    with pytest.raises(Retry) as asked:
        delivered(task, id, 1)
    assert asked.value.when == 7.0
    assert status(task, id) == ("pending", 1)
    store = task.steps().store
    # Recorded as well: a message that comes too early, or again, must wait for the rest of it.
    assert task.steps().record(id).due - store.now() == pytest.approx(7, abs=5)
    store.write(lambda tx: tx.change(task.steps()._kind, id, status="pending", due=tx.now))
    with pytest.raises(ConnectionError):
        delivered(task, id, 1)
    assert status(task, id) == ("dead", 2)
    (letter,) = DeadLetters(store).find()
    assert (letter.run_id, letter.attempts, letter.payload["args"]) == (id, 2, [1])
    with pytest.raises(Ignore):
        delivered(task, id, 1)


def test_what_will_not_pass_is_a_dead_letter_at_once(task):
    """Although attempts are left."""
    task.body["run"] = lambda *args: 1 / 0
    id = task.delay().id
    with pytest.raises(ZeroDivisionError):
        delivered(task, id)
    assert status(task, id) == ("dead", 1)
    assert DeadLetters(task.steps().store).statistics().unresolved == 1


def test_a_run_that_another_worker_has_is_waited_for(task):
    """Its message comes again when the lease is over, and is not an attempt."""
    id = task.delay().id
    with task.steps().claim(id) as claim:
        with pytest.raises(Retry) as asked:
            delivered(task, id)
        assert 0.2 <= asked.value.when <= 60.0
        claim.release()
    assert status(task, id)[0] == "pending"


def test_the_body_may_ask_for_its_own_retry(task):
    """It counts as an attempt, and waits for as long as it asked."""

    def asks(*args):
        raise task.retry(countdown=30)

    task.body["run"] = asks
    id = task.delay().id
    with pytest.raises(Retry):
        delivered(task, id)
    found = task.steps().record(id)
    assert found.status == "pending"
    assert found.due - task.steps().store.now() == pytest.approx(30, abs=5)


def test_a_worker_that_is_told_to_end_gives_the_run_back(task):
    """That says nothing about the run: no attempt is used up."""

    def stopped(*args):
        raise SystemExit

    task.body["run"] = stopped
    id = task.delay().id
    with pytest.raises(SystemExit):
        delivered(task, id)
    assert status(task, id) == ("pending", 0)


def test_a_revoked_run_is_a_dead_letter(task, caplog):
    """Else it would be sent again forever, and discarded each time. An expired message is sent again."""

    def revoke(id, expired=False):
        task_revoked.send(task, request=Context(id=id), terminated=True, signum=15, expired=expired)

    expired, waiting, held = (task.delay().id for _ in range(3))
    revoke(expired, expired=True)
    revoke(waiting)
    assert status(task, expired) == ("pending", 0)
    assert status(task, waiting) == ("dead", 1)
    claim = task.steps().claim(held)
    revoke(held)
    assert "it is buried when its message comes again" in caplog.text
    claim.release()
    revoke(held)
    revoke(held)
    assert status(task, held)[0] == "dead"
    letters = DeadLetters(task.steps().store).find()
    assert {(one.run_id, one.error["type"]) for one in letters} == {
        (waiting, "TaskRevokedError"),
        (held, "TaskRevokedError"),
    }


def test_what_waits_too_long_is_sent_again(app, task, monkeypatch):
    """By the reconciler, once in a grace; what was enqueued in a transaction too."""
    sent = []
    monkeypatch.setattr(DurableTask, "_send", lambda self, args, kwargs, id, **o: sent.append((id, args)))
    task.apply_async((1,), task_id="a")
    with task.steps().store.transaction() as tx:
        assert task.enqueue(tx, [2], key="b")
        assert not task.enqueue(tx, [2], key="b")
    del sent[:]
    assert reconcile(app, grace=60) == 0
    assert reconcile(app, grace=0) == 2
    assert sorted(sent) == [("a", [1]), ("b", [2])]
    assert reconcile(app, grace=60) == 0


def test_reconcilers_at_once_send_a_run_once(app, task, monkeypatch):
    """Both have listed it before one of them has sent it."""
    sent = []
    monkeypatch.setattr(DurableTask, "_send", lambda self, args, kwargs, id, **o: sent.append(id))
    task.apply_async((1,), task_id="a")
    del sent[:]
    listed = list(task.steps().pending())
    monkeypatch.setattr(type(task.steps()), "pending", lambda self: iter(listed))
    assert [reconcile(app, grace=0), reconcile(app, grace=0)] == [1, 0]
    assert sent == ["a"]


def test_arguments_that_cannot_be_kept_are_refused_before_anything_is_sent(task):
    """With the store's error, and without a record."""
    with pytest.raises(CheckpointError):
        task.apply_async((object(),), task_id="a")
    assert task.steps().record("a") is None


def test_forgetful_brokers_are_refused(app, task, monkeypatch):
    """By name, when a worker starts as when a run is sent."""
    with pytest.raises(ConfigurationError, match="'memory'; expected one with acknowledgements"):
        check_broker(app)
    task.forgetful_broker = False
    with pytest.raises(ConfigurationError):
        task.delay()
    with pytest.raises(ConfigurationError):
        task.start_strategy(app, None)


def test_a_short_visibility_timeout_is_told(app, task, monkeypatch, caplog):
    """Messages would come back while their runs go on."""
    app.conf.broker_transport_options = {"visibility_timeout": 5}
    monkeypatch.setattr(celery.Task, "start_strategy", lambda self, *a, **k: None)
    with caplog.at_level(logging.WARNING):
        task.start_strategy(app, None)
    assert "visibility_timeout is 5 s, the lease of t.task is 60 s" in caplog.text


def test_a_task_without_a_store_says_what_to_set(app):
    """As does a grace that cannot be."""

    @app.task(base=DurableTask, forgetful_broker=True, name="t.other", shared=False)
    def other():
        pass

    app.conf.durable_store = None
    with pytest.raises(UsageError, match=r"'t.other' has no store"):
        other.delay()
    with pytest.raises(UsageError, match="grace"):
        reconcile(app, grace=-1)


def test_called_directly_it_is_a_function(task):
    """Nothing is recorded, as in a test of the body."""
    assert task(3) == [3]


NEURO = {
    "retry": {
        "default": {"on": ["transient", "resource"], "attempts": 3, "wait": {"initial": "5m", "cap": "1h"}},
        "conversion": {"attempts": 2, "wait": {"cap": "30m"}},
    },
    "dead_letters": {"max_redrives": 1},
    "celery": {
        "store": "postgresql://app:pw@db/runs",
        "broker": "redis://:pw@queue",
        "lease": "2m",
        "grace": 5,
    },
}


def idle():
    """A body."""


def settings(**more):
    return read_settings(code={**NEURO, **more}, environment={}, pyproject="/nonexistent").value


def test_tasks_follow_the_settings(app):
    """Each has the policy of its pipeline's name, else the default; what it says itself is stronger."""
    own = RetryPolicy(on=ConnectionError, attempts=7)
    tasks = {
        "own": app.task(base=DurableTask, name="own", policy=own, lease=7.0, shared=False)(idle),
        "conversion": app.task(base=DurableTask, name="x", pipeline="conversion", shared=False)(idle),
        "other": app.task(base=DurableTask, name="other", shared=False)(idle),
    }
    said = settings(celery={"lease": "2m", "grace": 5, "broker": "memory://", "visibility_timeout": "3h"})
    configure(app, said, quiet=1)
    assert [tasks[name]._policy().attempts for name in tasks] == [7, 2, 3]
    assert [tasks[name]._lease() for name in tasks] == [7.0, 120.0, 120.0]
    assert tasks["other"]._policy().quiet == 1
    assert tasks["conversion"]._policy().wait.cap == 1800.0
    assert app.conf.broker_transport_options["visibility_timeout"] == 10800.0
    steps = tasks["other"].steps()
    try:
        assert steps._terms.letters._max_redrives == 1
        assert (steps._terms.attempts, steps._terms.lease) == (3, 120.0)
        assert app.conf.durable_grace == 5.0
    finally:
        steps.close()
        steps.store.close()


def test_passwords_of_store_and_broker_are_not_shown(app):
    """Both addresses are secrets of the settings, and what the app gets."""
    said = settings()
    assert "pw" not in repr(said.celery)
    configure(app, said)
    assert (app.conf.durable_store, app.conf.broker_url) == (
        NEURO["celery"]["store"],
        NEURO["celery"]["broker"],
    )


def test_a_letter_names_what_the_run_is_about(task):
    """Session and subject, out of the arguments that the task describes its runs by."""
    task.describe = ("session", "subject", "absent")
    told = {"session": "ses-1", "subject": "sub-01", "more": 3}
    # What the body takes is not its place to be judged: a body that takes none of it fails for good.
    task.push_request(id="a", called_directly=False, is_eager=False, headers={}, delivery_info={})
    with pytest.raises(TypeError):
        task(**told)
    task.pop_request()
    (letter,) = DeadLetters(task.steps().store).find()
    assert (letter.session, letter.subject, letter.payload["kwargs"]) == ("ses-1", "sub-01", told)


def test_the_run_of_a_silent_machine_is_sent_again_when_its_lease_is_over(app, task, monkeypatch):
    """Of a worker on another machine nothing is known but that it does not renew any more."""
    sent = []
    monkeypatch.setattr(DurableTask, "_send", lambda self, args, kwargs, id, **o: sent.append(id))
    task.apply_async(task_id="a")
    del sent[:]
    with task.steps().claim("a") as claim:
        store = task.steps().store
        for lives, lease, expected in [(None, 60, 0), (True, -60, 0), (None, -60, 1), (False, 60, 1)]:
            monkeypatch.setattr(type(store), "owner_alive", lambda self, owner, lives=lives: lives)
            until = store.now() + lease
            found = task.steps().record("a")
            silent = dataclasses.replace(found, due=until)
            monkeypatch.setattr(type(task.steps()), "in_progress", lambda self, one=silent: iter([one]))
            assert (lives, reconcile(app, grace=0)) == (lives, expected)
        # Written to only now: the message of a run that has just begun again may be on its way.
        assert reconcile(app, grace=3600) == 0
        claim.release()
    assert sent == ["a", "a"]


class Trouble:
    """A store that takes no write while it is in trouble."""

    def __init__(self, task, monkeypatch):
        self.store = task.steps().store
        write, self.there = type(self.store).write, False

        def guarded(store, work, **options):
            if self.there:
                raise StoreBusy("another process holds it")
            return write(store, work, **options)

        monkeypatch.setattr(type(self.store), "write", guarded)


@pytest.mark.parametrize(("body", "expected"), [("done", ("completed", 1)), ("fails", ("pending", 1))])
def test_an_end_that_the_store_did_not_take_is_recorded_later(task, monkeypatch, body, expected):
    """Else a worker that has nothing more to do with the run would hold it for as long as it lives."""
    trouble = Trouble(task, monkeypatch)

    def work(*args):
        trouble.there = True
        if body == "fails":
            raise ConnectionError("down")
        return "done"

    task.body["run"] = work
    task.apply_async(task_id="a")
    with pytest.raises(StoreBusy):
        delivered(task, "a")
    assert status(task, "a") == ("running", 1)
    renewal = task.steps()._renewal
    with pytest.raises(StoreBusy):
        renewal.settle()
    trouble.there = False
    renewal.settle()
    assert status(task, "a") == expected


def test_a_result_that_cannot_be_kept_is_a_failure(task):
    """It would be no better the next time."""
    task.body["run"] = lambda *args: object()
    with pytest.raises(CheckpointError):
        delivered(task, "a")
    assert status(task, "a") == ("dead", 1)
