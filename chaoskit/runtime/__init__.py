"""The resilience runtime: everything that a program uses is imported from here.

It never loads the harness, pytest or Hypothesis. A name is loaded when it is first used, so that a
program pays for what it needs. Each name stands twice below, for the type checkers and for the loader;
a test holds the two together. ``chaoskit.runtime.config`` and ``chaoskit.runtime.context`` are spaces with
names that make sense behind a dot only: ``context.bind(...)``, ``config.load(...)``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoskit.core.errors import ChaoskitError as ChaoskitError
    from chaoskit.core.errors import UsageError as UsageError
    from chaoskit.runtime import config as config
    from chaoskit.runtime import context as context
    from chaoskit.runtime.breaker.breaker import BreakerGuard as BreakerGuard
    from chaoskit.runtime.breaker.breaker import CircuitBreaker as CircuitBreaker
    from chaoskit.runtime.breaker.events import BreakerChanged as BreakerChanged
    from chaoskit.runtime.breaker.events import BreakerJudged as BreakerJudged
    from chaoskit.runtime.breaker.events import BreakerRejected as BreakerRejected
    from chaoskit.runtime.breaker.events import BreakerStoreFailed as BreakerStoreFailed
    from chaoskit.runtime.breaker.machine import BreakerReason as BreakerReason
    from chaoskit.runtime.breaker.machine import BreakerState as BreakerState
    from chaoskit.runtime.breaker.options import BreakerOptions as BreakerOptions
    from chaoskit.runtime.breaker.shared import BreakerLink as BreakerLink
    from chaoskit.runtime.breaker.shared import BreakerStore as BreakerStore
    from chaoskit.runtime.breaker.shared import SharedRecord as SharedRecord
    from chaoskit.runtime.calling.bulkhead import Bulkhead as Bulkhead
    from chaoskit.runtime.calling.bulkhead import BulkheadRejected as BulkheadRejected
    from chaoskit.runtime.calling.candidates import Candidate as Candidate
    from chaoskit.runtime.calling.candidates import CandidateRejected as CandidateRejected
    from chaoskit.runtime.calling.candidates import Choice as Choice
    from chaoskit.runtime.calling.candidates import ChoiceMade as ChoiceMade
    from chaoskit.runtime.calling.candidates import LastGood as LastGood
    from chaoskit.runtime.calling.candidates import Rejection as Rejection
    from chaoskit.runtime.calling.candidates import Why as Why
    from chaoskit.runtime.calling.fallback import FallbackChain as FallbackChain
    from chaoskit.runtime.calling.pipeline import Pipeline as Pipeline
    from chaoskit.runtime.calling.pipeline import Strategy as Strategy
    from chaoskit.runtime.calling.ratelimit import RateLimiter as RateLimiter
    from chaoskit.runtime.calling.ratelimit import RateWaited as RateWaited
    from chaoskit.runtime.calling.timeout import Deadline as Deadline
    from chaoskit.runtime.calling.timeout import TimedOut as TimedOut
    from chaoskit.runtime.calling.timeout import Timeout as Timeout
    from chaoskit.runtime.clock import Clock as Clock
    from chaoskit.runtime.clock import SystemClock as SystemClock
    from chaoskit.runtime.clock import VirtualClock as VirtualClock
    from chaoskit.runtime.deadlines import deadline as deadline
    from chaoskit.runtime.deadlines import remaining as remaining
    from chaoskit.runtime.durable.checkpoints import Artefact as Artefact
    from chaoskit.runtime.durable.checkpoints import CheckpointBatch as CheckpointBatch
    from chaoskit.runtime.durable.checkpoints import CheckpointRecord as CheckpointRecord
    from chaoskit.runtime.durable.checkpoints import Checkpoints as Checkpoints
    from chaoskit.runtime.durable.checkpoints import CheckpointStatistics as CheckpointStatistics
    from chaoskit.runtime.durable.checkpoints import CheckpointVerification as CheckpointVerification
    from chaoskit.runtime.durable.checkpoints import Checksum as Checksum
    from chaoskit.runtime.durable.checkpoints import Claim as Claim
    from chaoskit.runtime.durable.checkpoints import Fingerprint as Fingerprint
    from chaoskit.runtime.durable.checkpoints import StageDead as StageDead
    from chaoskit.runtime.durable.checkpoints import StageHeld as StageHeld
    from chaoskit.runtime.durable.checkpoints import Stages as Stages
    from chaoskit.runtime.durable.dead_letters import DeadLetter as DeadLetter
    from chaoskit.runtime.durable.dead_letters import DeadLetters as DeadLetters
    from chaoskit.runtime.durable.dead_letters import DeadLetterStatistics as DeadLetterStatistics
    from chaoskit.runtime.durable.dead_letters import RedriveLimit as RedriveLimit
    from chaoskit.runtime.durable.dead_letters import RedrivePlan as RedrivePlan
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
    from chaoskit.runtime.durable.outbox import Outbox as Outbox
    from chaoskit.runtime.durable.outbox import OutboxMessage as OutboxMessage
    from chaoskit.runtime.durable.snapshots import SignedPickle as SignedPickle
    from chaoskit.runtime.durable.snapshots import SnapshotInfo as SnapshotInfo
    from chaoskit.runtime.durable.snapshots import Snapshots as Snapshots
    from chaoskit.runtime.durable.snapshots import StateCodec as StateCodec
    from chaoskit.runtime.durable.store.protocol import DamagedRecord as DamagedRecord
    from chaoskit.runtime.durable.store.protocol import Kind as Kind
    from chaoskit.runtime.durable.store.protocol import Page as Page
    from chaoskit.runtime.durable.store.protocol import Record as Record
    from chaoskit.runtime.durable.store.protocol import Statistics as Statistics
    from chaoskit.runtime.durable.store.protocol import Tx as Tx
    from chaoskit.runtime.durable.store.protocol import VerifyReport as VerifyReport
    from chaoskit.runtime.durable.store.store import Store as Store
    from chaoskit.runtime.failures.classifier import Classifier as Classifier
    from chaoskit.runtime.failures.classifier import Decision as Decision
    from chaoskit.runtime.failures.classifier import classify as classify
    from chaoskit.runtime.failures.rules import Rule as Rule
    from chaoskit.runtime.failures.stored import LeaseLost as LeaseLost
    from chaoskit.runtime.failures.stored import OutcomeUnknown as OutcomeUnknown
    from chaoskit.runtime.failures.stored import RecordCorrupt as RecordCorrupt
    from chaoskit.runtime.failures.stored import StoreBusy as StoreBusy
    from chaoskit.runtime.failures.stored import StoreCorrupt as StoreCorrupt
    from chaoskit.runtime.failures.stored import StoreForked as StoreForked
    from chaoskit.runtime.failures.stored import StoreGone as StoreGone
    from chaoskit.runtime.failures.stored import StoreTooNew as StoreTooNew
    from chaoskit.runtime.failures.symptoms import Symptoms as Symptoms
    from chaoskit.runtime.failures.symptoms import parse_retry_after as parse_retry_after
    from chaoskit.runtime.failures.taxonomy import ArchiveTooBig as ArchiveTooBig
    from chaoskit.runtime.failures.taxonomy import AttemptTimedOut as AttemptTimedOut
    from chaoskit.runtime.failures.taxonomy import BreakerOpen as BreakerOpen
    from chaoskit.runtime.failures.taxonomy import BulkheadFull as BulkheadFull
    from chaoskit.runtime.failures.taxonomy import Category as Category
    from chaoskit.runtime.failures.taxonomy import CheckpointError as CheckpointError
    from chaoskit.runtime.failures.taxonomy import ConfigurationError as ConfigurationError
    from chaoskit.runtime.failures.taxonomy import CorruptArchive as CorruptArchive
    from chaoskit.runtime.failures.taxonomy import DataIntegrityError as DataIntegrityError
    from chaoskit.runtime.failures.taxonomy import DeadlineExceeded as DeadlineExceeded
    from chaoskit.runtime.failures.taxonomy import DiskFull as DiskFull
    from chaoskit.runtime.failures.taxonomy import FileMissing as FileMissing
    from chaoskit.runtime.failures.taxonomy import FilesystemError as FilesystemError
    from chaoskit.runtime.failures.taxonomy import MalformedData as MalformedData
    from chaoskit.runtime.failures.taxonomy import NoCandidate as NoCandidate
    from chaoskit.runtime.failures.taxonomy import NonRetryableError as NonRetryableError
    from chaoskit.runtime.failures.taxonomy import OutOfMemory as OutOfMemory
    from chaoskit.runtime.failures.taxonomy import Overloaded as Overloaded
    from chaoskit.runtime.failures.taxonomy import PartialFailure as PartialFailure
    from chaoskit.runtime.failures.taxonomy import PermanentError as PermanentError
    from chaoskit.runtime.failures.taxonomy import PermissionRefused as PermissionRefused
    from chaoskit.runtime.failures.taxonomy import QuotaExceeded as QuotaExceeded
    from chaoskit.runtime.failures.taxonomy import RateLimited as RateLimited
    from chaoskit.runtime.failures.taxonomy import ReadOnlyFilesystem as ReadOnlyFilesystem
    from chaoskit.runtime.failures.taxonomy import RecoverableError as RecoverableError
    from chaoskit.runtime.failures.taxonomy import ResilienceError as ResilienceError
    from chaoskit.runtime.failures.taxonomy import ResourceError as ResourceError
    from chaoskit.runtime.failures.taxonomy import ResultRejected as ResultRejected
    from chaoskit.runtime.failures.taxonomy import RetryableError as RetryableError
    from chaoskit.runtime.failures.taxonomy import RollbackError as RollbackError
    from chaoskit.runtime.failures.taxonomy import SecurityError as SecurityError
    from chaoskit.runtime.failures.taxonomy import ServiceVersionMismatch as ServiceVersionMismatch
    from chaoskit.runtime.failures.taxonomy import StaleHandle as StaleHandle
    from chaoskit.runtime.failures.taxonomy import StorageError as StorageError
    from chaoskit.runtime.failures.taxonomy import Throttled as Throttled
    from chaoskit.runtime.failures.taxonomy import TooManyFiles as TooManyFiles
    from chaoskit.runtime.failures.taxonomy import TransactionError as TransactionError
    from chaoskit.runtime.failures.taxonomy import TransactionValidationError as TransactionValidationError
    from chaoskit.runtime.failures.taxonomy import TransientError as TransientError
    from chaoskit.runtime.failures.taxonomy import Unreachable as Unreachable
    from chaoskit.runtime.failures.taxonomy import UnsafeArchive as UnsafeArchive
    from chaoskit.runtime.failures.taxonomy import ValidationError as ValidationError
    from chaoskit.runtime.guarding.archives.extracting import extract as extract
    from chaoskit.runtime.guarding.archives.extracting import inspect_archive as inspect_archive
    from chaoskit.runtime.guarding.archives.limits import ArchiveLimits as ArchiveLimits
    from chaoskit.runtime.guarding.archives.manifest import Manifest as Manifest
    from chaoskit.runtime.guarding.archives.manifest import ManifestEntry as ManifestEntry
    from chaoskit.runtime.guarding.archives.members import ArchiveMember as ArchiveMember
    from chaoskit.runtime.guarding.inputs.rows import Row as Row
    from chaoskit.runtime.guarding.inputs.rows import read_rows as read_rows
    from chaoskit.runtime.guarding.inputs.text import read_text as read_text
    from chaoskit.runtime.observing.anomaly import AnomalyDetector as AnomalyDetector
    from chaoskit.runtime.observing.anomaly import AnomalyOptions as AnomalyOptions
    from chaoskit.runtime.observing.anomaly import Deviation as Deviation
    from chaoskit.runtime.observing.details import DetailOptions as DetailOptions
    from chaoskit.runtime.observing.details import ErrorDetails as ErrorDetails
    from chaoskit.runtime.observing.events import Event as Event
    from chaoskit.runtime.observing.events import Listener as Listener
    from chaoskit.runtime.observing.events import Subscription as Subscription
    from chaoskit.runtime.observing.events import emit as emit
    from chaoskit.runtime.observing.events import observer_errors as observer_errors
    from chaoskit.runtime.observing.events import subscribe as subscribe
    from chaoskit.runtime.observing.logs import ContextFilter as ContextFilter
    from chaoskit.runtime.observing.logs import EventLog as EventLog
    from chaoskit.runtime.observing.logs import JsonFormatter as JsonFormatter
    from chaoskit.runtime.observing.logs import LogGuard as LogGuard
    from chaoskit.runtime.observing.logs import TextFormatter as TextFormatter
    from chaoskit.runtime.observing.logs import add_context as add_context
    from chaoskit.runtime.observing.logs import log_to as log_to
    from chaoskit.runtime.observing.metrics import AlertCleared as AlertCleared
    from chaoskit.runtime.observing.metrics import AlertRaised as AlertRaised
    from chaoskit.runtime.observing.metrics import AlertRule as AlertRule
    from chaoskit.runtime.observing.metrics import ErrorMetrics as ErrorMetrics
    from chaoskit.runtime.observing.metrics import MetricsOptions as MetricsOptions
    from chaoskit.runtime.observing.metrics import Rate as Rate
    from chaoskit.runtime.observing.tracing import Telemetry as Telemetry
    from chaoskit.runtime.redact import RedactionLimits as RedactionLimits
    from chaoskit.runtime.redact import Redactor as Redactor
    from chaoskit.runtime.redact import is_secret_name as is_secret_name
    from chaoskit.runtime.redact import redact_text as redact_text
    from chaoskit.runtime.retrying.backoff import EQUAL as EQUAL
    from chaoskit.runtime.retrying.backoff import FULL as FULL
    from chaoskit.runtime.retrying.backoff import NONE as NONE
    from chaoskit.runtime.retrying.backoff import Backoff as Backoff
    from chaoskit.runtime.retrying.backoff import Constant as Constant
    from chaoskit.runtime.retrying.backoff import Decorrelated as Decorrelated
    from chaoskit.runtime.retrying.backoff import Exponential as Exponential
    from chaoskit.runtime.retrying.backoff import Jitter as Jitter
    from chaoskit.runtime.retrying.backoff import Linear as Linear
    from chaoskit.runtime.retrying.backoff import band as band
    from chaoskit.runtime.retrying.budget import RetryBudget as RetryBudget
    from chaoskit.runtime.retrying.events import BudgetExhausted as BudgetExhausted
    from chaoskit.runtime.retrying.events import HookFailed as HookFailed
    from chaoskit.runtime.retrying.events import RetriesExhausted as RetriesExhausted
    from chaoskit.runtime.retrying.events import RetryScheduled as RetryScheduled
    from chaoskit.runtime.retrying.events import RetrySucceeded as RetrySucceeded
    from chaoskit.runtime.retrying.hedge import hedge as hedge
    from chaoskit.runtime.retrying.history import FailedAttempt as FailedAttempt
    from chaoskit.runtime.retrying.history import RetryContext as RetryContext
    from chaoskit.runtime.retrying.loop import Attempt as Attempt
    from chaoskit.runtime.retrying.policy import RetryPolicy as RetryPolicy
    from chaoskit.runtime.retrying.policy import retry as retry
    from chaoskit.runtime.retrying.registry import PolicyRegistry as PolicyRegistry
    from chaoskit.runtime.retrying.registry import reference_policies as reference_policies
    from chaoskit.runtime.retrying.throttle import AdaptiveThrottle as AdaptiveThrottle
    from chaoskit.runtime.running.batches import BatchProgress as BatchProgress
    from chaoskit.runtime.running.batches import ItemFailed as ItemFailed
    from chaoskit.runtime.running.batches import ItemFailure as ItemFailure
    from chaoskit.runtime.running.batches import ItemSuccess as ItemSuccess
    from chaoskit.runtime.running.batches import Summary as Summary
    from chaoskit.runtime.running.board import JobBoard as JobBoard
    from chaoskit.runtime.running.jobs import JobCancelled as JobCancelled
    from chaoskit.runtime.running.jobs import JobEnded as JobEnded
    from chaoskit.runtime.running.jobs import JobOptions as JobOptions
    from chaoskit.runtime.running.jobs import JobRequeued as JobRequeued
    from chaoskit.runtime.running.jobs import JobState as JobState
    from chaoskit.runtime.running.jobs import JobStuck as JobStuck
    from chaoskit.runtime.running.jobs import JobStuckError as JobStuckError
    from chaoskit.runtime.running.jobs import JobTimedOut as JobTimedOut
    from chaoskit.runtime.running.jobs import JobTimedOutError as JobTimedOutError
    from chaoskit.runtime.running.jobs import Ticket as Ticket
    from chaoskit.runtime.running.lifecycle import Shutdown as Shutdown
    from chaoskit.runtime.running.partial import PartialFailureCollector as PartialFailureCollector
    from chaoskit.runtime.running.queues import HandoffQueue as HandoffQueue
    from chaoskit.runtime.running.queues import HandoffTimeout as HandoffTimeout
    from chaoskit.runtime.running.queues import QueueClosed as QueueClosed
    from chaoskit.runtime.running.queues import QueueOptions as QueueOptions
    from chaoskit.runtime.running.runner import JobRunner as JobRunner
    from chaoskit.runtime.running.shutdown_records import CallbackOrder as CallbackOrder
    from chaoskit.runtime.running.shutdown_records import ShutdownFinished as ShutdownFinished
    from chaoskit.runtime.running.shutdown_records import ShutdownForced as ShutdownForced
    from chaoskit.runtime.running.shutdown_records import ShutdownOptions as ShutdownOptions
    from chaoskit.runtime.running.shutdown_records import ShutdownRequested as ShutdownRequested
    from chaoskit.runtime.running.shutdown_records import ShutdownStep as ShutdownStep
    from chaoskit.runtime.running.shutdown_records import ShuttingDown as ShuttingDown
    from chaoskit.runtime.running.supervise import Restart as Restart
    from chaoskit.runtime.running.supervise import SupervisionOptions as SupervisionOptions
    from chaoskit.runtime.running.supervise import Supervisor as Supervisor
    from chaoskit.runtime.running.supervise import SuspectedDeadlock as SuspectedDeadlock
    from chaoskit.runtime.running.supervise import ThreadDied as ThreadDied
    from chaoskit.runtime.running.supervise import ThreadGivenUp as ThreadGivenUp
    from chaoskit.runtime.running.supervise import ThreadRestarted as ThreadRestarted
    from chaoskit.runtime.running.supervise import ThreadStuck as ThreadStuck
    from chaoskit.runtime.running.supervise import Worker as Worker
    from chaoskit.runtime.running.supervise import join_all as join_all
    from chaoskit.runtime.settings import BudgetSettings as BudgetSettings
    from chaoskit.runtime.settings import LogSettings as LogSettings
    from chaoskit.runtime.settings import RetrySettings as RetrySettings
    from chaoskit.runtime.settings import RuntimeSettings as RuntimeSettings
    from chaoskit.runtime.settings import WaitSettings as WaitSettings
    from chaoskit.runtime.settings import live_settings as live_settings
    from chaoskit.runtime.settings import read_settings as read_settings
    from chaoskit.runtime.stop import Stop as Stop

# What each module gives to users. No module or folder here may have the name of an export: importing a
# submodule sets it as an attribute of this package, and would replace the function that users asked for.
_EXPORTS = {
    "breaker.breaker": "BreakerGuard CircuitBreaker",
    "breaker.events": "BreakerChanged BreakerJudged BreakerRejected BreakerStoreFailed",
    "breaker.machine": "BreakerReason BreakerState",
    "breaker.options": "BreakerOptions",
    "breaker.shared": "BreakerLink BreakerStore SharedRecord",
    "calling.bulkhead": "Bulkhead BulkheadRejected",
    "calling.candidates": "Candidate CandidateRejected Choice ChoiceMade LastGood Rejection Why",
    "calling.fallback": "FallbackChain",
    "calling.pipeline": "Pipeline Strategy",
    "calling.ratelimit": "RateLimiter RateWaited",
    "calling.timeout": "Deadline TimedOut Timeout",
    "clock": "Clock SystemClock VirtualClock",
    "core.errors": "ChaoskitError UsageError",
    "deadlines": "deadline remaining",
    "durable.checkpoints": (
        "Artefact CheckpointBatch CheckpointRecord CheckpointStatistics CheckpointVerification Checkpoints"
        " Checksum Claim Fingerprint StageDead StageHeld Stages"
    ),
    "durable.dead_letters": "DeadLetter DeadLetterStatistics DeadLetters RedriveLimit RedrivePlan",
    "durable.files": (
        "AppendLog Flag FlagInfo clean_leftovers make_directories open_atomic publish_directory "
        "read_log write_file "
    ),
    "durable.levels": "Durability",
    "durable.outbox": "Outbox OutboxMessage",
    "durable.snapshots": "SignedPickle SnapshotInfo Snapshots StateCodec",
    "durable.store.protocol": "DamagedRecord Kind Page Record Statistics Tx VerifyReport",
    "durable.store.store": "Store",
    "failures.classifier": "Classifier Decision classify",
    "failures.rules": "Rule",
    "failures.stored": (
        "LeaseLost OutcomeUnknown RecordCorrupt StoreBusy StoreCorrupt StoreForked StoreGone StoreTooNew "
    ),
    "failures.symptoms": "Symptoms parse_retry_after",
    "failures.taxonomy": (
        "ArchiveTooBig AttemptTimedOut BreakerOpen BulkheadFull Category CheckpointError ConfigurationError "
        "CorruptArchive DataIntegrityError DeadlineExceeded DiskFull FileMissing FilesystemError "
        "MalformedData NoCandidate NonRetryableError OutOfMemory Overloaded PartialFailure "
        "PermanentError PermissionRefused QuotaExceeded RateLimited ReadOnlyFilesystem "
        "RecoverableError ResilienceError ResourceError ResultRejected RetryableError RollbackError "
        "SecurityError ServiceVersionMismatch StaleHandle StorageError Throttled TooManyFiles "
        "TransactionError TransactionValidationError TransientError Unreachable UnsafeArchive "
        "ValidationError "
    ),
    "guarding.archives.extracting": "extract inspect_archive",
    "guarding.archives.limits": "ArchiveLimits",
    "guarding.archives.manifest": "Manifest ManifestEntry",
    "guarding.archives.members": "ArchiveMember",
    "guarding.inputs.rows": "Row read_rows",
    "guarding.inputs.text": "read_text",
    "observing.anomaly": "AnomalyDetector AnomalyOptions Deviation",
    "observing.details": "DetailOptions ErrorDetails",
    "observing.events": "Event Listener Subscription emit observer_errors subscribe",
    "observing.logs": "ContextFilter EventLog JsonFormatter LogGuard TextFormatter add_context log_to",
    "observing.metrics": "AlertCleared AlertRaised AlertRule ErrorMetrics MetricsOptions Rate",
    "observing.tracing": "Telemetry",
    "redact": "RedactionLimits Redactor is_secret_name redact_text",
    "retrying.backoff": "Backoff Constant Decorrelated EQUAL Exponential FULL Jitter Linear NONE band",
    "retrying.budget": "RetryBudget",
    "retrying.events": "BudgetExhausted HookFailed RetriesExhausted RetryScheduled RetrySucceeded",
    "retrying.hedge": "hedge",
    "retrying.history": "FailedAttempt RetryContext",
    "retrying.loop": "Attempt",
    "retrying.policy": "RetryPolicy retry",
    "retrying.registry": "PolicyRegistry reference_policies",
    "retrying.throttle": "AdaptiveThrottle",
    "running.board": "JobBoard",
    "running.jobs": (
        "JobCancelled JobEnded JobOptions JobRequeued JobState JobStuck JobStuckError JobTimedOut "
        "JobTimedOutError Ticket "
    ),
    "running.lifecycle": "Shutdown",
    "running.batches": "BatchProgress ItemFailed ItemFailure ItemSuccess Summary",
    "running.partial": "PartialFailureCollector",
    "running.queues": "HandoffQueue HandoffTimeout QueueClosed QueueOptions",
    "running.runner": "JobRunner",
    "running.supervise": (
        "Restart SupervisionOptions Supervisor SuspectedDeadlock ThreadDied ThreadGivenUp "
        "ThreadRestarted ThreadStuck Worker join_all "
    ),
    "running.shutdown_records": (
        "CallbackOrder ShutdownFinished ShutdownForced ShutdownOptions ShutdownRequested ShutdownStep "
        "ShuttingDown "
    ),
    "stop": "Stop",
    "settings": (
        "BudgetSettings LogSettings RetrySettings RuntimeSettings WaitSettings live_settings read_settings "
    ),
}

_HOMES = {name: module for module, names in _EXPORTS.items() for name in names.split()}

_SPACES = ("config", "context")

__all__ = [*_HOMES, *_SPACES]


def __getattr__(name: str) -> object:
    if name in _SPACES:
        return import_module(f"{__name__}.{name}")
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    above = "chaoskit" if home.startswith("core.") else __name__
    value = getattr(import_module(f"{above}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
