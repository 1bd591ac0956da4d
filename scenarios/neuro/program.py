"""Runs containers as tasks of a queue: each ends as a result on disk, or as one dead letter with a reason."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery import Celery

from chaoskit.runtime import (
    DeadLetters,
    Notifier,
    ResilienceError,
    Store,
    clean_leftovers,
    make_directories,
    publish_directory,
)
from chaoskit.runtime.celery import DurableTask, close_stores, configure, reconcile
from scenarios.neuro.settings import Settings

log = logging.getLogger("neuro")
TOLD = 2000
"""Characters of a container's last words that are kept in its dead letter."""
DONE = "dataset_description.json"
"""What every container writes last."""

QUEUE = {
    # Containers run for hours: none should wait behind one while another worker is free.
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_timeout": 5,
    "broker_transport_options": {"socket_timeout": 5, "socket_connect_timeout": 5},
    # What is not sent now is sent by the reconciler.
    "task_publish_retry": False,
}


class Neuro:
    """The runner: a Celery app with a task for each pipeline. ``started`` hears of every start of a run."""

    def __init__(self, settings: Settings, started: Callable[[str], object] = lambda run: None) -> None:
        self.settings, self._started = settings, started
        self._classifier = settings.classifier()
        self.app = Celery("neuro", set_as_current=False)
        self.app.conf.update(QUEUE)
        configure(self.app, settings.runtime, classifier=self._classifier)
        self.tasks = {name: self._task(name) for name in settings.pipelines}
        self.app.task(name="neuro.look_after", shared=False)(self.look_after)
        beat = {"task": "neuro.look_after", "schedule": settings.look_every}
        self.app.conf.beat_schedule = {"look after": beat}
        self._notifier: Notifier | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Neuro:
        return self

    def __exit__(self, *error: object) -> None:
        """Close what was opened in this process."""
        self._opened.close()
        close_stores(self.app)
        self.app.close()

    # What a user does.

    def submit(self, pipeline: str, subject: str, session: str) -> str:
        """Accept a run; its id. From now on it is not lost. One that was accepted before is left alone.

        Raises:
            KeyError: there is no such pipeline.
            ResilienceError: the store's; it may be asked again.
        """
        id = f"{pipeline}.{subject}.{session}"
        self.tasks[pipeline].apply_async(kwargs={"subject": subject, "session": session}, task_id=id)
        return id

    # What a worker does.

    def _task(self, pipeline: str) -> DurableTask:
        def body(subject: str, session: str) -> dict[str, Any]:
            return self._run(pipeline, subject, session)

        options = {"base": DurableTask, "describe": ("subject", "session"), "shared": False}
        task: DurableTask = self.app.task(name=pipeline, **options)(body)
        return task

    def _run(self, pipeline: str, subject: str, session: str) -> dict[str, Any]:
        name = f"{pipeline}.{subject}.{session}"
        self._started(name)
        target = self.output(name)
        make_directories(target.parent)
        # A killed attempt leaves what it had; and its container may go on, into a directory of the past.
        clean_leftovers(target.parent)
        with publish_directory(target, replace=True, validate=_is_complete) as stage:
            output = stage.relative_to(self.settings.state)
            given = {"subject": subject, "session": session, "output": str(output)}
            self._contain(pipeline, name, given)
        return {"output": str(target.relative_to(self.settings.state))}

    def _contain(self, pipeline: str, name: str, given: Mapping[str, str]) -> None:
        """Run the container of a run.

        Raises:
            ResilienceError: it failed; what it said and how it ended decide the class.
        """
        settings = self.settings.pipelines[pipeline]
        command = [word.format(**given) for word in settings.command]
        logs = self.settings.state / "logs"
        make_directories(logs)
        # To a file: a container may say more than memory holds.
        with open(logs / f"{name}.log", "w+b") as said:
            try:
                code = subprocess.run(
                    command,
                    cwd=self.settings.state,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    timeout=settings.timeout,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                # As timeout(1) has it, which many commands begin with.
                code = 124
            if code:
                said.seek(0, 2)
                said.seek(max(0, said.tell() - 10 * TOLD))
                raise self._judged(name, subprocess.CalledProcessError(code, command, stderr=said.read()))

    def _judged(self, name: str, error: subprocess.CalledProcessError) -> ResilienceError:
        decision = self._classifier.classify(error)
        words = error.stderr.decode(errors="replace").strip()[-TOLD:]
        log.error("run %s failed with %d (%s)", name, error.returncode, decision.rule)
        message = f"{name} ended with {error.returncode} ({decision.rule}): {words}"
        return self._classifier.wrap(error, message, context={"exit_code": error.returncode})

    def output(self, name: str) -> Path:
        """Where the result of a run is."""
        pipeline, subject, session = name.split(".")
        return self.settings.state / "derivatives" / pipeline / f"{subject}_{session}"

    # What beat has done every minute.

    def look_after(self) -> int:
        """Send again what has waited too long, tell of dead letters, remove old ones; what was sent again."""
        sent = reconcile(self.app)
        letters = self.letters()
        letters.purge()
        if self._notifier is None:
            self._notifier = self._opened.enter_context(self.settings.runtime.notifications.notifier())
        watch = self.settings.runtime.notifications.watch(self.store(), self._notifier)
        if watch is not None:
            watch.look()
        return sent

    # What an operator's commands are about.

    def store(self) -> Store:
        """The store of all runs, as this process has it open."""
        store = next(iter(self.tasks.values())).steps().store
        assert isinstance(store, Store)
        return store

    def letters(self) -> DeadLetters:
        return self.settings.runtime.dead_letters.letters(self.store())


def _is_complete(output: Path) -> bool:
    return (output / DONE).exists()
