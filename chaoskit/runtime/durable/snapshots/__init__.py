"""Snapshots of state: a codec whose loading executes nothing, and a directory with the newest snapshots."""

from __future__ import annotations

from chaoskit.runtime.durable.snapshots.codec import StateCodec
from chaoskit.runtime.durable.snapshots.folder import SnapshotInfo, Snapshots
from chaoskit.runtime.durable.snapshots.signed import SignedPickle

__all__ = ["SignedPickle", "SnapshotInfo", "Snapshots", "StateCodec"]
