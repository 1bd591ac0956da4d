"""The app of ``test_celery.py``: durable tasks that do what tasks do at night, and one that is not durable.

Every start of a body is a line of the file ``log`` in the directory that CHAOSKIT_RUNS names.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery

from chaoskit.runtime import TRANSIENT_ERRORS, Constant, RetryPolicy
from chaoskit.runtime.celery import DurableTask
from chaoskit.runtime.context import correlation_id

DIRECTORY = Path(os.environ["CHAOSKIT_RUNS"])
POLICY = RetryPolicy(on=TRANSIENT_ERRORS, attempts=3, wait=Constant(0.05))

app = Celery("celery_runs", broker=f"redis+socket://{DIRECTORY}/redis.sock")
app.conf.update(
    durable_store=str(DIRECTORY / "runs.db"),
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 5},
    broker_connection_timeout=5,
    task_publish_retry=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)


def started(what: str, name: str) -> int:
    """Note one start of a body; how many there were of that name."""
    with open(DIRECTORY / "log", "ab", buffering=0) as log:
        log.write(f"{what} {name}\n".encode())
    return (DIRECTORY / "log").read_text().splitlines().count(f"{what} {name}")


@app.task(shared=False, base=DurableTask, policy=POLICY, name="work")
def work(name: str) -> dict[str, Any]:
    """Done at once."""
    started("work", name)
    return {"name": name, "correlation_id": correlation_id()}


@app.task(shared=False, base=DurableTask, policy=POLICY, name="slow")
def slow(name: str) -> str:
    """Waits for a file, which a later attempt finds."""
    started("slow", name)
    while not (DIRECTORY / f"go-{name}").exists():
        time.sleep(0.02)
    return name


@app.task(shared=False, base=DurableTask, policy=POLICY, name="kills")
def kills(name: str, times: int) -> str:
    """Kills its worker so many times."""
    if started("kills", name) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


@app.task(shared=False, base=DurableTask, policy=POLICY, name="fails")
def fails(name: str, transient: bool) -> None:
    """Fails each time, in a way that may pass or not."""
    started("fails", name)
    raise ConnectionError("down") if transient else PermissionError("not for you")


@app.task(shared=False, acks_late=True, reject_on_worker_lost=True, name="plain")
def plain(name: str) -> None:
    """What Celery has for this, without a count of the starts."""
    started("plain", name)
    os.kill(os.getpid(), signal.SIGKILL)
