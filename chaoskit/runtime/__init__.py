"""The resilience runtime. Uses ``chaoskit.core`` only; never loads the harness, pytest or Hypothesis.

A name is loaded when it is first used, so that a program pays for what it needs. Each name stands
twice below, for the type checkers and for the loader; a test holds the two together.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoskit.runtime.breaker import BreakerLink as BreakerLink
    from chaoskit.runtime.breaker import CircuitBreaker as CircuitBreaker
    from chaoskit.runtime.calling.bulkhead import Bulkhead as Bulkhead
    from chaoskit.runtime.calling.fallback import Candidate as Candidate
    from chaoskit.runtime.calling.fallback import FallbackChain as FallbackChain
    from chaoskit.runtime.calling.fallback import LastGood as LastGood
    from chaoskit.runtime.calling.pipeline import Pipeline as Pipeline
    from chaoskit.runtime.calling.ratelimit import RateLimiter as RateLimiter
    from chaoskit.runtime.calling.timeout import Deadline as Deadline
    from chaoskit.runtime.calling.timeout import Timeout as Timeout
    from chaoskit.runtime.deadlines import deadline as deadline
    from chaoskit.runtime.deadlines import remaining as remaining
    from chaoskit.runtime.durable.files import AppendLog as AppendLog
    from chaoskit.runtime.durable.files import Flag as Flag
    from chaoskit.runtime.durable.files import FlagInfo as FlagInfo
    from chaoskit.runtime.durable.files import clean_leftovers as clean_leftovers
    from chaoskit.runtime.durable.files import make_directories as make_directories
    from chaoskit.runtime.durable.files import open_atomic as open_atomic
    from chaoskit.runtime.durable.files import publish_directory as publish_directory
    from chaoskit.runtime.durable.files import read_log as read_log
    from chaoskit.runtime.durable.files import write_file as write_file
    from chaoskit.runtime.durable.levels import Durability as Durability
    from chaoskit.runtime.durable.store.protocol import VerifyReport as VerifyReport
    from chaoskit.runtime.durable.store.store import Store as Store
    from chaoskit.runtime.failures import Classifier as Classifier
    from chaoskit.runtime.failures import Decision as Decision
    from chaoskit.runtime.failures import Rule as Rule
    from chaoskit.runtime.failures import classify as classify
    from chaoskit.runtime.failures.stored import LeaseLost as LeaseLost
    from chaoskit.runtime.failures.stored import OutcomeUnknown as OutcomeUnknown
    from chaoskit.runtime.failures.stored import RecordCorrupt as RecordCorrupt
    from chaoskit.runtime.failures.stored import StoreBusy as StoreBusy
    from chaoskit.runtime.failures.stored import StoreCorrupt as StoreCorrupt
    from chaoskit.runtime.failures.stored import StoreForked as StoreForked
    from chaoskit.runtime.failures.stored import StoreGone as StoreGone
    from chaoskit.runtime.failures.stored import StoreTooNew as StoreTooNew
    from chaoskit.runtime.guarding.archives.extracting import extract as extract
    from chaoskit.runtime.guarding.archives.extracting import inspect_archive as inspect_archive
    from chaoskit.runtime.guarding.archives.limits import ArchiveLimits as ArchiveLimits
    from chaoskit.runtime.guarding.archives.manifest import Manifest as Manifest
    from chaoskit.runtime.guarding.inputs.rows import Row as Row
    from chaoskit.runtime.guarding.inputs.rows import read_rows as read_rows
    from chaoskit.runtime.guarding.inputs.text import read_text as read_text
    from chaoskit.runtime.observing.anomaly import AnomalyDetector as AnomalyDetector
    from chaoskit.runtime.observing.details import ErrorDetails as ErrorDetails
    from chaoskit.runtime.observing.events import Event as Event
    from chaoskit.runtime.observing.events import subscribe as subscribe
    from chaoskit.runtime.observing.logs import log_to as log_to
    from chaoskit.runtime.observing.metrics import AlertRule as AlertRule
    from chaoskit.runtime.observing.metrics import ErrorMetrics as ErrorMetrics
    from chaoskit.runtime.observing.tracing import Telemetry as Telemetry
    from chaoskit.runtime.retrying import AdaptiveThrottle as AdaptiveThrottle
    from chaoskit.runtime.retrying import Constant as Constant
    from chaoskit.runtime.retrying import Decorrelated as Decorrelated
    from chaoskit.runtime.retrying import Exponential as Exponential
    from chaoskit.runtime.retrying import Jitter as Jitter
    from chaoskit.runtime.retrying import Linear as Linear
    from chaoskit.runtime.retrying import PolicyRegistry as PolicyRegistry
    from chaoskit.runtime.retrying import RetryBudget as RetryBudget
    from chaoskit.runtime.retrying import RetryContext as RetryContext
    from chaoskit.runtime.retrying import RetryPolicy as RetryPolicy
    from chaoskit.runtime.retrying import band as band
    from chaoskit.runtime.retrying import reference_policies as reference_policies
    from chaoskit.runtime.retrying import retry as retry
    from chaoskit.runtime.retrying.hedge import hedge as hedge
    from chaoskit.runtime.running.board import JobBoard as JobBoard
    from chaoskit.runtime.running.lifecycle import Shutdown as Shutdown
    from chaoskit.runtime.running.partial import PartialFailureCollector as PartialFailureCollector
    from chaoskit.runtime.running.queues import HandoffQueue as HandoffQueue
    from chaoskit.runtime.running.runner import JobRunner as JobRunner
    from chaoskit.runtime.running.supervise import Supervisor as Supervisor
    from chaoskit.runtime.settings import RuntimeSettings as RuntimeSettings

# name: module that defines it. No module or folder here may have the name of an export: importing a
# submodule sets it as an attribute of this package, and would replace the function that users asked for.
_HOMES = {
    "AdaptiveThrottle": "retrying",
    "AlertRule": "observing.metrics",
    "AnomalyDetector": "observing.anomaly",
    "AppendLog": "durable.files",
    "ArchiveLimits": "guarding.archives.limits",
    "BreakerLink": "breaker",
    "Bulkhead": "calling.bulkhead",
    "Candidate": "calling.fallback",
    "CircuitBreaker": "breaker",
    "Classifier": "failures",
    "Constant": "retrying",
    "Deadline": "calling.timeout",
    "Decision": "failures",
    "Decorrelated": "retrying",
    "Durability": "durable.levels",
    "ErrorDetails": "observing.details",
    "ErrorMetrics": "observing.metrics",
    "Event": "observing.events",
    "Exponential": "retrying",
    "FallbackChain": "calling.fallback",
    "Flag": "durable.files",
    "FlagInfo": "durable.files",
    "HandoffQueue": "running.queues",
    "Jitter": "retrying",
    "JobBoard": "running.board",
    "JobRunner": "running.runner",
    "LastGood": "calling.fallback",
    "LeaseLost": "failures.stored",
    "Linear": "retrying",
    "Manifest": "guarding.archives.manifest",
    "OutcomeUnknown": "failures.stored",
    "PartialFailureCollector": "running.partial",
    "Pipeline": "calling.pipeline",
    "PolicyRegistry": "retrying",
    "RateLimiter": "calling.ratelimit",
    "RecordCorrupt": "failures.stored",
    "RetryBudget": "retrying",
    "RetryContext": "retrying",
    "RetryPolicy": "retrying",
    "Row": "guarding.inputs.rows",
    "Rule": "failures",
    "RuntimeSettings": "settings",
    "Shutdown": "running.lifecycle",
    "Store": "durable.store.store",
    "StoreBusy": "failures.stored",
    "StoreCorrupt": "failures.stored",
    "StoreForked": "failures.stored",
    "StoreGone": "failures.stored",
    "StoreTooNew": "failures.stored",
    "Supervisor": "running.supervise",
    "Telemetry": "observing.tracing",
    "Timeout": "calling.timeout",
    "VerifyReport": "durable.store.protocol",
    "band": "retrying",
    "classify": "failures",
    "clean_leftovers": "durable.files",
    "deadline": "deadlines",
    "extract": "guarding.archives.extracting",
    "hedge": "retrying.hedge",
    "inspect_archive": "guarding.archives.extracting",
    "log_to": "observing.logs",
    "make_directories": "durable.files",
    "open_atomic": "durable.files",
    "publish_directory": "durable.files",
    "read_log": "durable.files",
    "read_rows": "guarding.inputs.rows",
    "read_text": "guarding.inputs.text",
    "reference_policies": "retrying",
    "remaining": "deadlines",
    "retry": "retrying",
    "subscribe": "observing.events",
    "write_file": "durable.files",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
