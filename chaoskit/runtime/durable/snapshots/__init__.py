"""Snapshots of state: a codec that executes nothing, and a directory that keeps the newest."""

from __future__ import annotations

from chaoskit.runtime.durable.snapshots.codec import StateCodec
from chaoskit.runtime.durable.snapshots.folder import SnapshotInfo, Snapshots
from chaoskit.runtime.durable.snapshots.signed import SignedPickle

__all__ = ["SignedPickle", "SnapshotInfo", "Snapshots", "StateCodec"]
