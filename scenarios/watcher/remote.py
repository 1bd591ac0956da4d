"""The two servers: the pipeline that processes samples, and the database that takes what comes out."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import requests

from chaoskit.runtime import (
    CircuitBreaker,
    PermanentError,
    RetryingAdapter,
    RetryPolicy,
    RuntimeSettings,
    ServiceVersionMismatch,
    TransientError,
    open_atomic,
)
from scenarios.watcher.settings import Service


class RunFailed(PermanentError):
    """The pipeline has tried and given the run up; the message is its reason."""


class SessionExpired(TransientError):
    """The server wants a log-in, and that could not be had: nothing is known against what was asked."""


class HalfAnswer(TransientError):
    """What came is not JSON: the answer was cut off, or a gateway on the way has put its own in its place."""


class Client:
    """A session with one server: retried, guarded by a breaker, and logged in again when it has expired."""

    def __init__(self, name: str, service: Service, runtime: RuntimeSettings, wake: threading.Event) -> None:
        policies = runtime.policies(wake=wake)
        self.breaker = CircuitBreaker(runtime.breakers[name], name=name)
        self._service, self._transport = service, policies["transport"]
        self._session = requests.Session()
        self._session.mount(service.url, RetryingAdapter(self._transport, breaker=self.breaker))
        self._policy = RetryPolicy(
            on=SessionExpired, attempts=2, wait=policies["session"].wait, repair=self._log_in
        )

    def ask(self, method: str, path: str, *, key: str = "", told: Any = None) -> Any:
        """The answer, or None for what the server does not know. With ``key`` it is done at most once.

        Raises:
            HalfAnswer: what came is not JSON.
            SessionExpired: the log-in failed; its error is in the notes.
            ServiceVersionMismatch: the server speaks another version.
            requests.RequestException: after all attempts.
        """
        headers = {"Idempotency-Key": key} if key else {}
        answer = self._policy.call(self._once, method, path, headers=headers, json=told)
        return None if answer is None else _json(answer)

    def download(self, path: str, target: Path) -> None:
        """Write what is at ``path`` to ``target``, whole or not at all; one that breaks begins again."""
        self._transport.call(self._stream, path, target)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._session.close()

    def _once(self, method: str, path: str, **options: Any) -> requests.Response | None:
        service = self._service
        answer = self._session.request(method, service.url + path, timeout=service.timeout, **options)
        if not answer.ok:
            # Of a refused download nothing will be read: unless it is closed, its connection stays open.
            answer.close()
        if answer.status_code == 404:
            return None
        if answer.status_code == 401:
            raise SessionExpired(f"{service.url} wants a log-in")
        answer.raise_for_status()
        version = answer.headers.get("X-Version", service.version)
        if version != service.version:
            answer.close()
            raise ServiceVersionMismatch(
                f"{service.url} speaks version {version}; expected {service.version}. Update the watcher."
            )
        return answer

    def _stream(self, path: str, target: Path) -> None:
        answer = self._policy.call(self._once, "GET", path, stream=True)
        if answer is None:
            raise RunFailed(f"there is no {path}")
        with answer, open_atomic(target, "wb", durability="process-crash") as file:
            shutil.copyfileobj(answer.raw, file)

    def _log_in(self, error: BaseException) -> None:
        login = {"user": self._service.user, "password": self._service.password}
        answer = self._session.post(self._service.url + "/login", json=login, timeout=self._service.timeout)
        answer.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {_json(answer)['token']}"


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except requests.JSONDecodeError as error:
        raise HalfAnswer(f"{answer.url} answered {answer.text[:80]!r}; expected JSON") from error


class Pipeline:
    """The server that processes samples."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(self, sample: str, checksum: str, launch: int) -> str:
        """Have a sample processed; the id of its run. The same launch twice is one run."""
        told = {"sample": sample, "checksum": checksum}
        answer = self._client.ask("POST", "/runs", key=f"{sample}:{launch}", told=told)
        if answer is None:
            raise RunFailed("the pipeline takes no runs")
        return str(answer["id"])

    def state(self, id: str) -> tuple[str, str]:
        """The state of a run, and the reason for it; ``unknown`` if the server has lost it."""
        found = self._client.ask("GET", f"/runs/{id}") or {"state": "unknown"}
        return found["state"], found.get("reason", "")

    def runs(self) -> dict[str, str]:
        """The runs that the server has of ours: id and sample."""
        return {run["id"]: run["sample"] for run in self._client.ask("GET", "/runs") or ()}

    def remove(self, id: str) -> None:
        """Have the server forget a run."""
        self._client.ask("DELETE", f"/runs/{id}")

    def result(self, id: str, target: Path) -> None:
        """Write the archive that the run has made to ``target``."""
        self._client.download(f"/runs/{id}/result", target)


class Database:
    """The server that takes the results."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def upload(self, sample: str, rows: list[dict[str, str]]) -> None:
        """Record a sample's results; done again under the same name it is the same upload."""
        if self._client.ask("POST", "/samples", key=sample, told={"sample": sample, "rows": rows}) is None:
            raise RunFailed("the database takes no samples")
