"""What the runner does, with tenacity, pybreaker and SQLAlchemy: the code of a careful afternoon.

Run and letter change in one transaction, output is renamed into place, the database is told to sync, and a
webhook that is down is left alone for a while.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pybreaker
import sqlalchemy as sa
import tenacity
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

TRANSIENT = re.compile(rb"gpu has fallen off the bus|connection (reset|refused)|timed out", re.IGNORECASE)
RESOURCE = re.compile(rb"out of memory|no space left", re.IGNORECASE)
POLICIES = {"conversion": (2, 300, 1800), "preprocessing": (3, 1800, 7200)}
DEFAULT = (3, 300, 3600)
KEEP = timedelta(days=90)


class Base(DeclarativeBase):
    """The two tables."""


class Run(Base):
    """One run: ``pending``, ``done`` or ``dead``."""

    __tablename__ = "run"
    name: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="pending")


class Letter(Base):
    """One run that was given up."""

    __tablename__ = "letter"
    id: Mapped[int] = mapped_column(primary_key=True)
    run: Mapped[str]
    error: Mapped[str]
    history: Mapped[str]
    created: Mapped[datetime]
    redriven: Mapped[int] = mapped_column(default=0)
    resolved_by: Mapped[str | None]
    resolved_at: Mapped[datetime | None]
    notes: Mapped[str | None]


class Failed(Exception):
    """A container failed. ``retryable`` says whether it may pass."""

    def __init__(self, name: str, code: int, said: bytes) -> None:
        super().__init__(f"{name} ended with {code}: {said[-2000:].decode(errors='replace')}")
        killed = code in (137, -9, 124)
        self.retryable = killed or bool(TRANSIENT.search(said) or RESOURCE.search(said))


class Runner:
    """The runner; ``started`` hears of every start of a run."""

    def __init__(
        self, state: Path, command: list[str], started: Callable[[str], object] = str, hook: str | None = None
    ) -> None:
        self.state, self._command, self._started, self._hook = state, command, started, hook
        self._breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=300)
        self._engine = sa.create_engine(f"sqlite:///{state / 'runs.db'}")
        sa.event.listen(self._engine, "connect", lambda db, _: db.execute("pragma synchronous=full"))
        Base.metadata.create_all(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    def submit(self, pipeline: str, subject: str, session: str) -> str:
        name = f"{pipeline}.{subject}.{session}"
        with Session(self._engine) as db, db.begin():
            if db.get(Run, name) is None:
                db.add(Run(name=name))
        return name

    def work(self) -> None:
        """Carry out what is pending."""
        for name in self.pending():
            self._carry_out(name)
        self.purge()

    def pending(self) -> list[str]:
        return [name for name, status in self.statuses().items() if status == "pending"]

    def statuses(self) -> dict[str, str]:
        with Session(self._engine) as db:
            return {run.name: run.status for run in db.scalars(sa.select(Run))}

    def _carry_out(self, name: str) -> None:
        attempts, initial, cap = POLICIES.get(name.split(".")[0], DEFAULT)
        history: list[dict[str, Any]] = []

        def note(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            history.append({"attempt": state.attempt_number, "error": str(error), "at": time.time()})

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_exponential(multiplier=initial, max=cap)
            + tenacity.wait_random(0, initial * 0.2),
            retry=tenacity.retry_if_exception(lambda error: getattr(error, "retryable", False)),
            after=note,
            reraise=True,
        )
        try:
            retrying(self._contain, name)
        except Failed as error:
            self._bury(name, error, history)
            return
        with Session(self._engine) as db, db.begin():
            db.get_one(Run, name).status = "done"
            self._settle(db, name, "the runner", "It was completed.")

    def _contain(self, name: str) -> None:
        self._started(name)
        _, subject, session = name.split(".")
        target = self.output(name)
        stage = target.with_name(f"{target.name}.tmp")
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        given = {"subject": subject, "session": session, "output": str(stage.relative_to(self.state))}
        command = [word.format(**given) for word in self._command]
        try:
            ended = subprocess.run(command, cwd=self.state, capture_output=True, timeout=86400, check=False)
        except subprocess.TimeoutExpired as error:
            raise Failed(name, 124, error.stderr or b"") from error
        if ended.returncode:
            shutil.rmtree(stage)
            raise Failed(name, ended.returncode, ended.stderr)
        shutil.rmtree(target, ignore_errors=True)
        stage.rename(target)

    def _bury(self, name: str, error: Failed, history: list[dict[str, Any]]) -> None:
        with Session(self._engine) as db, db.begin():
            db.get_one(Run, name).status = "dead"
            unresolved = sa.select(Letter).where(Letter.run == name, Letter.resolved_by.is_(None))
            letter = db.scalars(unresolved).first()
            if letter is None:
                letter = Letter(run=name, created=datetime.now(UTC))
                db.add(letter)
            letter.error, letter.history = str(error), json.dumps(history)
        self._tell({"run": name, "error": str(error)})

    def _tell(self, told: dict[str, str]) -> None:
        if self._hook is None:
            return
        try:
            self._breaker.call(self._post, json.dumps(told).encode())
        except (OSError, pybreaker.CircuitBreakerError):
            logging.getLogger("runner").exception("of %s nothing was told", told["run"])

    def _post(self, body: bytes) -> None:
        assert self._hook is not None
        urllib.request.urlopen(self._hook, body, timeout=10).close()

    def output(self, name: str) -> Path:
        pipeline, subject, session = name.split(".")
        return self.state / "derivatives" / pipeline / f"{subject}_{session}"

    def letters(self) -> list[Letter]:
        with Session(self._engine, expire_on_commit=False) as db:
            return list(db.scalars(sa.select(Letter)).all())

    def redrive(self, id: int) -> None:
        with Session(self._engine) as db, db.begin():
            letter = db.get_one(Letter, id)
            letter.redriven += 1
            db.get_one(Run, letter.run).status = "pending"

    def resolve(self, name: str, by: str, notes: str = "") -> None:
        with Session(self._engine) as db, db.begin():
            self._settle(db, name, by, notes)

    def _settle(self, db: Session, name: str, by: str, notes: str) -> None:
        unresolved = sa.update(Letter).where(Letter.run == name, Letter.resolved_by.is_(None))
        db.execute(unresolved.values(resolved_by=by, resolved_at=datetime.now(UTC), notes=notes))

    def purge(self) -> None:
        with Session(self._engine) as db, db.begin():
            db.execute(sa.delete(Letter).where(Letter.resolved_at < datetime.now(UTC) - KEEP))
