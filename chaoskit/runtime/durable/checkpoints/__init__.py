"""Checkpoints: which steps are done, which are being done and by which worker, and which are left to do."""

from chaoskit.runtime.durable.checkpoints.batch import CheckpointBatch
from chaoskit.runtime.durable.checkpoints.checkpoints import Checkpoints
from chaoskit.runtime.durable.checkpoints.claims import Claim
from chaoskit.runtime.durable.checkpoints.inspecting import CheckpointStatistics, CheckpointVerification
from chaoskit.runtime.durable.checkpoints.records import CheckpointRecord
from chaoskit.runtime.durable.checkpoints.sources import Artefact, Checksum, Fingerprint
from chaoskit.runtime.durable.checkpoints.stages import StageDead, StageHeld, Stages

__all__ = [
    "Artefact",
    "CheckpointBatch",
    "CheckpointRecord",
    "CheckpointStatistics",
    "CheckpointVerification",
    "Checkpoints",
    "Checksum",
    "Claim",
    "Fingerprint",
    "StageDead",
    "StageHeld",
    "Stages",
]
