"""The names that users import, by the module that has them, relative to ``chaoskit.runtime``.

This is the loader's list; ``__init__.pyi`` has the same names for type checkers, and a test compares the two.
"""

from __future__ import annotations

# No module or folder of the runtime may have the name of an export: importing a submodule sets it as an
# attribute of the package, which would replace the function that users asked for.
EXPORTS = {
    "breaker.breaker": "BreakerGuard CircuitBreaker",
    "breaker.events": "BreakerChanged BreakerJudged BreakerRejected BreakerStoreFailed",
    "breaker.machine": "BreakerReason BreakerState",
    "breaker.options": "BreakerOptions",
    "breaker.shared": "BreakerLink BreakerStore SharedRecord",
    "calling.bulkhead": "Bulkhead BulkheadRejected",
    "calling.candidates": "Candidate CandidateRejected Choice ChoiceMade LastGood Rejection Why",
    "calling.fallback": "FallbackChain",
    "calling.keyed": "PerKey",
    "calling.pipeline": "Pipeline Strategy",
    "calling.ratelimit": "RateLimit RateLimiter RateWaited",
    "calling.recovery": "RecoveredCall Recovery RecoveryApplied RecoveryStep",
    "calling.timeout": "Deadline TimedOut Timeout",
    "clock": "Clock SystemClock VirtualClock",
    "core.errors": "ChaoskitError UsageError",
    "deadlines": "deadline remaining",
    "durable.breakers": "StoredBreakers",
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
    "durable.retries": "AttemptsUsedUp StoredRetries",
    "durable.snapshots": "SignedPickle SnapshotInfo Snapshots StateCodec",
    "durable.store.protocol": "DamagedRecord Kind Page Record Statistics Tx VerifyReport",
    "durable.store.store": "Store",
    "durable.transactions.atomic_stage": "AtomicStage",
    "durable.transactions.contents": "TransactionFiles",
    "durable.transactions.database": "database_transaction",
    "durable.transactions.objects.prefixes": "S3Target",
    "durable.transactions.places": "TransactionRecovery",
    "durable.transactions.records": "TransactionConflict TransactionMember TransactionReceipt",
    "durable.transactions.recovering": "TransactionReader recover_transactions",
    "durable.transactions.transaction": "Transaction",
    "failures.classifier": "Classifier Decision classify",
    "failures.rules": "Rule",
    "failures.stored": (
        "LeaseLost OutcomeUnknown RecordCorrupt StoreBusy StoreCorrupt StoreForked StoreGone StoreTooNew "
    ),
    "failures.symptoms": "Symptoms parse_retry_after",
    "failures.taxonomy": (
        "ArchiveTooBig AttemptTimedOut BreakerOpen BulkheadFull Category CheckpointError ConfigurationError "
        "CorruptArchive DataIntegrityError DeadlineExceeded DiskFull FileMissing FilesystemError "
        "MalformedData NoCandidate NonRetryableError OutOfMemory Overloaded PartialFailure PermanentError "
        "PermissionRefused QuotaExceeded RateLimited ReadOnlyFilesystem RecoverableError ResilienceError "
        "ResourceError ResultRejected RetryableError RollbackError SecurityError ServiceVersionMismatch "
        "StaleHandle StorageError Throttled TooManyFiles TransactionError TransactionValidationError "
        "TransientError Unreachable UnsafeArchive ValidationError "
    ),
    "guarding.archives.extracting": "extract inspect_archive",
    "guarding.archives.limits": "ArchiveLimits",
    "guarding.archives.manifest": "Manifest ManifestEntry",
    "guarding.archives.members": "ArchiveMember",
    "guarding.consistency.checkpoints": "CheckpointRows CheckpointsHold",
    "guarding.consistency.consistency": "Consistency",
    "guarding.consistency.disagreements": "ConsistencyReport Disagreement RepairReport",
    "guarding.consistency.rules": "Agree ConsistencyRule FileExists NoOrphans NotStuck RemoveRow SetColumns",
    "guarding.consistency.sources": "ChangeableRows FileRows RowSource SqliteRows",
    "guarding.gates.gate": "QualityGate",
    "guarding.gates.quarantine": "Quarantine Quarantined",
    "guarding.gates.records": "CrossCheck GateFinding GateJudged GateResult QualityMetric",
    "guarding.health.checks": (
        "breakers_closed database_answers disk_left memory_left queue_age store_healthy tools_present"
    ),
    "guarding.health.health": "Health",
    "guarding.health.publishing": "PublishedState StatePublisher",
    "guarding.health.records": "HealthFinding HealthReport HealthStatus",
    "guarding.health.serving": "HealthServer",
    "guarding.inputs.rows": "Row read_rows",
    "guarding.inputs.text": "read_text",
    "guarding.notify.email": "EmailChannel",
    "guarding.notify.letters": "LetterWatch",
    "guarding.notify.notifier": "Notifier",
    "guarding.notify.records": "Channel Notice NotifierStatistics Severity",
    "guarding.notify.webhook": "WebhookChannel",
    "guarding.resources.monitor": "ResourceAlert ResourceCleared ResourceMonitor ResourceThreshold",
    "guarding.resources.preflight": "Preflight PreflightReport ResourceCheck",
    "guarding.resources.pressure": "MemoryPressed MemoryPressure",
    "guarding.resources.quotas": "Quota QuotaUse StageBudget",
    "observing.anomaly": "AnomalyDetector AnomalyOptions Deviation",
    "observing.details": "DetailOptions ErrorDetails",
    "observing.events": "Event",
    "observing.observers": "Listener Subscription emit observer_errors subscribe",
    "observing.logs": "ContextFilter EventLog JsonFormatter LogGuard TextFormatter add_context log_to",
    "observing.metrics": "AlertCleared AlertRaised AlertRule ErrorMetrics MetricsOptions Rate",
    "observing.tracing": "Telemetry",
    "operations": (
        "CelerySettings DeadLetterSettings DiskNeed EmailSettings GateSettings HealthSettings "
        "ManagerSettings MemorySettings MonitorSettings "
        "NotificationSettings PreflightSettings QueueAgeSettings QuotaSettings StagingNeed WebhookSettings"
    ),
    "recovering.manager": "RecoveryDone RecoveryManager RecoveryOutcome RecoveryReport RecoveryResult",
    "recovering.remote_runs": "ReconcileReport RemoteRun RemoteRuns RemoteService RemoteStatus",
    "recovering.run_folders": "FlaggedRun RunFolders",
    "redact": "RedactionLimits Redactor is_secret_name redact_text",
    "retrying.backoff": "Backoff EQUAL Exponential FULL Jitter NONE band",
    "retrying.backoffs": "Constant Decorrelated Linear",
    "retrying.budget": "RetryBudget",
    "retrying.events": "BudgetExhausted HookFailed RetriesExhausted RetryScheduled RetrySucceeded",
    "retrying.hedge": "hedge",
    "retrying.history": "FailedAttempt RetryContext",
    "retrying.loop": "Attempt",
    "retrying.policy": "RetryPolicy policy_of retry",
    "retrying.switch": "retries_off retries_without_waits",
    "failures.base": "TRANSIENT_ERRORS",
    "retrying.registry": "PolicyRegistry ready_policies reference_policies",
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
    "running.pools": "ContextProcessPool ContextThreadPool",
    "running.program": "SupervisedProgram",
    "running.restarts": "Restart SupervisionOptions",
    "running.runner": "JobRunner",
    "running.supervise": (
        "Supervisor SuspectedDeadlock ThreadDied ThreadGivenUp ThreadRestarted ThreadStuck Worker join_all "
    ),
    "running.shutdown_records": (
        "CallbackOrder ShutdownFinished ShutdownForced ShutdownOptions ShutdownRequested ShutdownStep "
        "ShuttingDown "
    ),
    "running.tasks": "TaskDied TaskGivenUp TaskRestarted TaskStuck TaskSupervisor TaskWorker",
    "stop": "Stop",
    "transports.httpx": "AsyncRetryingTransport RetryingTransport",
    "transports.requests": "RetryingAdapter",
    "transports.urllib3": "RetryingPool",
    "settings": "ConfiguredStrategies LogSettings RuntimeSettings live_settings read_settings",
    "strategy_settings": (
        "BudgetSettings BulkheadSettings DeadlineSettings FallbackSettings LastGoodSettings "
        "RateLimitSettings RateSettings RecoverySettings RetrySettings ThrottleSettings "
        "TimeoutSettings WaitSettings "
    ),
}

OPTIONAL = {"transports.httpx": "httpx", "transports.requests": "requests", "transports.urllib3": "urllib3"}
"""The package without which a module cannot be loaded."""
