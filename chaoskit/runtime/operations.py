"""The settings of the parts that surround the work: resources, gates, health, letters, notifications.

Each record makes its part; callers add what only code can provide (checks, callbacks, clocks).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from chaoskit.core.errors import wrong
from chaoskit.runtime.config import option
from chaoskit.runtime.config.made import check
from chaoskit.runtime.durable.checkpoints.inspecting import statistics
from chaoskit.runtime.durable.checkpoints.records import kind_of
from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.store.protocol import Storage
from chaoskit.runtime.failures.base import Category
from chaoskit.runtime.guarding.gates.gate import QualityGate
from chaoskit.runtime.guarding.gates.records import QualityMetric
from chaoskit.runtime.guarding.health.checks import (
    HealthCheck,
    disk_left,
    memory_left,
    queue_age,
    tools_present,
)
from chaoskit.runtime.guarding.notify.email import EmailChannel
from chaoskit.runtime.guarding.notify.letters import LetterWatch
from chaoskit.runtime.guarding.notify.notifier import Notifier
from chaoskit.runtime.guarding.notify.records import Channel, Severity
from chaoskit.runtime.guarding.notify.webhook import WebhookChannel
from chaoskit.runtime.guarding.resources.monitor import ResourceMonitor, ResourceThreshold
from chaoskit.runtime.guarding.resources.preflight import Preflight
from chaoskit.runtime.guarding.resources.pressure import MemoryPressure
from chaoskit.runtime.guarding.resources.quotas import Quota, StageBudget
from chaoskit.runtime.recovering.manager import RecoveryManager, Strategy
from chaoskit.runtime.strategy_settings import category_named

__all__ = [
    "CelerySettings",
    "DeadLetterSettings",
    "DiskNeed",
    "EmailSettings",
    "GateSettings",
    "HealthSettings",
    "ManagerSettings",
    "MemorySettings",
    "MonitorSettings",
    "NotificationSettings",
    "PreflightSettings",
    "QueueAgeSettings",
    "QuotaSettings",
    "StagingNeed",
    "WebhookSettings",
]

Least = Literal["info", "warning", "error", "critical"]


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """Bytes that are needed below a path."""

    path: str
    size: int = option(minimum=0, unit="bytes")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class StagingNeed:
    """Bytes that are needed on a tmpfs, or else below ``fallback``."""

    path: str
    size: int = option(minimum=0, unit="bytes")
    fallback: str | None = None

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class PreflightSettings:
    """The settings of a :class:`~chaoskit.runtime.Preflight`; see there."""

    disk: tuple[DiskNeed, ...] = ()
    staging: StagingNeed | None = None
    memory: int = option(default=0, minimum=0, unit="bytes")
    descriptors: int = option(default=0, minimum=0)
    processes: int = option(default=0, minimum=0)
    margin: float = option(default=0.2, minimum=0, unit="ratio")

    def __post_init__(self) -> None:
        check(self)

    def preflight(self) -> Preflight:
        """Make the preflight."""
        needs: dict[str, int] = {}
        for one in self.disk:
            needs[one.path] = needs.get(one.path, 0) + one.size
        staging = self.staging
        return Preflight(
            disk=needs,
            memory=self.memory,
            descriptors=self.descriptors,
            processes=self.processes,
            tmpfs=None if staging is None else (staging.path, staging.size),
            fallback=None if staging is None else staging.fallback,
            margin=self.margin,
        )


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """The settings of a :class:`~chaoskit.runtime.ResourceMonitor`; see there."""

    thresholds: tuple[ResourceThreshold, ...] = ()
    every: float = option(default=5.0, above=0, unit="s")

    def __post_init__(self) -> None:
        check(self)

    def monitor(self, **code: Any) -> ResourceMonitor:
        """Make the monitor; ``code`` adds what a file cannot express (``clock``, ``listeners``)."""
        return ResourceMonitor(self.thresholds, every=self.every, **code)


@dataclass(frozen=True, slots=True)
class QuotaSettings:
    """The settings of a :class:`~chaoskit.runtime.Quota`; see there. No ``max_wait`` means no limit."""

    concurrency: int = option(minimum=1)
    budgets: dict[str, StageBudget] = field(default_factory=dict)
    priorities: dict[str, int] = field(default_factory=dict)
    max_wait: float | None = option(default=None, minimum=0, unit="s")

    def __post_init__(self) -> None:
        check(self)

    def quota(self, **code: Any) -> Quota:
        """Make the quota; ``code`` adds what a file cannot express (``clock``, ``wake``)."""
        patience = math.inf if self.max_wait is None else self.max_wait
        return Quota(
            self.concurrency, budgets=self.budgets, priorities=self.priorities, max_wait=patience, **code
        )


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """The settings of a :class:`~chaoskit.runtime.MemoryPressure`; see there."""

    batch: int = option(minimum=1)
    least: int = option(default=1, minimum=1)
    shrink: float = option(default=0.5, above=0, unit="ratio")
    grow_after: int = option(default=8, minimum=1)
    keep_free: int = option(default=0, minimum=0, unit="bytes")
    reserve: int = option(default=1 << 20, minimum=0, unit="bytes")

    def __post_init__(self) -> None:
        check(self)
        # Checked as in GateSettings, without allocating the reserve.
        self.pressure(reserve=0)

    def pressure(self, **code: Any) -> MemoryPressure:
        """Make it, with a full first batch; ``code`` adds what a file cannot express (``emergency``)."""
        return MemoryPressure(**{**asdict(self), **code})


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """The settings of a :class:`~chaoskit.runtime.RecoveryManager`; see there.

    ``by`` maps a category, or a class of the taxonomy, to the name of a strategy in code. Raises UsageError
    for an unknown category.
    """

    by: dict[str, str] = field(default_factory=dict)
    skips: tuple[Category, ...] = (Category.VALIDATION,)
    history: int = option(default=200, minimum=1)

    def __post_init__(self) -> None:
        check(self)
        for name in self.by:
            category_named(name)

    def manager(self, strategies: Mapping[str, Strategy], **code: Any) -> RecoveryManager:
        """Make the manager with the ``strategies`` that the names refer to; ``code`` adds more options.

        Raises:
            UsageError: there is no strategy with one of the names in the file.
        """
        for name in self.by.values():
            if name not in strategies:
                raise wrong("strategy", name, f"one of: {', '.join(sorted(strategies)) or 'none is given'}")
        by: dict[Category | type[BaseException], Strategy] = {
            category_named(kind): strategies[name] for kind, name in self.by.items()
        }
        return RecoveryManager(by, **{"skips": self.skips, "history": self.history, **code})


@dataclass(frozen=True, slots=True)
class CelerySettings:
    """The settings of durable tasks; see :func:`chaoskit.runtime.celery.configure`.

    Their policies are in the group ``retry``, their letters in the group ``dead_letters``. ``grace`` is how
    long :func:`chaoskit.runtime.celery.reconcile` waits for an overdue message.
    """

    # Both may contain a password.
    store: str | None = option(default=None, secret=True, help="a path, or postgresql://…")
    broker: str | None = option(default=None, secret=True)
    lease: float = option(default=60.0, above=0, unit="s")
    grace: float = option(default=60.0, minimum=0, unit="s")
    visibility_timeout: float | None = option(default=None, above=0, unit="s", help="of a Redis broker")

    def __post_init__(self) -> None:
        check(self)
        if self.visibility_timeout is not None and self.visibility_timeout < self.lease:
            raise wrong(
                "visibility_timeout", self.visibility_timeout, f"at least the lease, {self.lease:g} s"
            )


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The settings of a :class:`~chaoskit.runtime.QualityGate`; see there."""

    metrics: tuple[QualityMetric, ...]
    mandatory: bool = True

    def __post_init__(self) -> None:
        check(self)
        # Make the gate once and throw it away: its error becomes a problem of the file, with its line.
        self.gate("gate")

    def gate(self, name: str, **code: Any) -> QualityGate:
        """Make the gate; ``code`` adds what a file cannot express (``across``, ``clock``, ``listeners``)."""
        return QualityGate(name, self.metrics, mandatory=self.mandatory, **code)


@dataclass(frozen=True, slots=True)
class QueueAgeSettings:
    """When the oldest pending checkpoint of a pipeline is too old. Raises UsageError if warn exceeds most."""

    warn: float = option(default=3600.0, minimum=0, unit="s")
    most: float = option(default=86400.0, minimum=0, unit="s")

    def __post_init__(self) -> None:
        check(self)
        if self.warn > self.most:
            raise wrong("warn", self.warn, f"at most as many seconds as most, {self.most:g}")


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """The checks beside the store: the disk under it, memory, programs, and the age of queues."""

    disk_least: int = option(default=50 << 20, minimum=0, unit="bytes")
    disk_warn: int = option(default=200 << 20, minimum=0, unit="bytes")
    memory_least: int = option(default=0, minimum=0, unit="bytes")
    tools: tuple[str, ...] = ()
    queues: dict[str, QueueAgeSettings] = field(default_factory=dict)
    timeout: float = option(default=5.0, above=0, unit="s")

    def __post_init__(self) -> None:
        check(self)

    def checks(self, store: Storage, directory: Path) -> Mapping[str, HealthCheck]:
        """Make the checks, of the disk that holds ``directory`` and of the queues in ``store``."""
        found: dict[str, HealthCheck] = {
            "disk": disk_left(directory, least=self.disk_least, warn=self.disk_warn)
        }
        if self.memory_least:
            found["memory"] = memory_left(least=self.memory_least)
        if self.tools:
            found["tools"] = tools_present(*self.tools)
        for name, limits in self.queues.items():
            kind = kind_of(name)
            oldest = lambda kind=kind: statistics(store, kind).oldest_pending  # noqa: E731
            found[f"queue {name}"] = queue_age(oldest, warn=limits.warn, most=limits.most)
        return found


@dataclass(frozen=True, slots=True)
class DeadLetterSettings:
    """The settings of :class:`~chaoskit.runtime.DeadLetters`; see there."""

    keep: float = option(default=90 * 86400.0, minimum=0, unit="s", help="how long resolved letters stay")
    max_redrives: int = option(default=3, minimum=1)
    poison_after: int = option(default=3, minimum=1)

    def __post_init__(self) -> None:
        check(self)

    def letters(self, store: Storage) -> DeadLetters:
        """Make the dead letters of ``store``."""
        return DeadLetters(
            store, keep=self.keep, max_redrives=self.max_redrives, poison_after=self.poison_after
        )


@dataclass(frozen=True, slots=True)
class EmailSettings:
    """The settings of an :class:`~chaoskit.runtime.EmailChannel`; see there."""

    host: str
    sender: str
    recipients: tuple[str, ...]
    port: int | None = option(default=None, minimum=1, maximum=65535)
    security: Literal["starttls", "tls", "plain"] = "starttls"
    username: str | None = None
    password: str | None = option(default=None, secret=True)
    least: Least = "warning"
    timeout: float = option(default=10.0, above=0, unit="s")

    def __post_init__(self) -> None:
        check(self)
        self.channel()

    def channel(self) -> EmailChannel:
        """Make the channel."""
        return EmailChannel(
            self.host,
            sender=self.sender,
            recipients=self.recipients,
            port=self.port,
            security=self.security,
            username=self.username,
            password=self.password,
            least=Severity.named(self.least),
            timeout=self.timeout,
        )


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """The settings of a :class:`~chaoskit.runtime.WebhookChannel`; see there."""

    url: str = option(secret=True)
    form: Literal["slack", "json"] = "slack"
    least: Least = "warning"
    timeout: float = option(default=10.0, above=0, unit="s")

    def __post_init__(self) -> None:
        check(self)
        self.channel()

    def channel(self) -> WebhookChannel:
        """Make the channel."""
        least = Severity.named(self.least)
        return WebhookChannel(self.url, form=self.form, least=least, timeout=self.timeout)


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """Where notifications go, and how many. Without a channel nothing is sent."""

    email: EmailSettings | None = None
    webhook: WebhookSettings | None = None
    rate: int = option(default=10, minimum=1)
    per: float = option(default=60.0, above=0, unit="s")
    dedupe: float = option(default=300.0, minimum=0, unit="s")
    on_dead_letter: bool = True
    look_every: float = option(default=30.0, above=0, unit="s", help="for new dead letters")

    def __post_init__(self) -> None:
        check(self)

    def notifier(self, **code: Any) -> Notifier:
        """Make the notifier; ``code`` adds what a file cannot express (``clock``)."""
        given: tuple[EmailSettings | WebhookSettings | None, ...] = (self.email, self.webhook)
        channels: list[Channel] = [one.channel() for one in given if one is not None]
        return Notifier(channels, rate=self.rate, per=self.per, dedupe=self.dedupe, **code)

    def watch(self, store: Storage, notifier: Notifier) -> LetterWatch | None:
        """Make the watch on dead letters, not yet started; None if there is no channel to tell of them."""
        if not self.on_dead_letter or not notifier.channels:
            return None
        return LetterWatch(store, notifier, every=self.look_every)
