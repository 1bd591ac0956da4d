"""Checks that the pipeline is healthy, and that its records agree with what is on the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaoskit.runtime import (
    CheckpointRows,
    CheckpointsHold,
    Consistency,
    Disagreement,
    FileExists,
    FileRows,
    Health,
    NoOrphans,
    RemoveRow,
    SqliteRows,
    database_answers,
    store_healthy,
)
from scenarios.imaging.program import PRODUCT, Imaging


def health(imaging: Imaging) -> Health:
    """The three databases, disk, programs, and how long the oldest observation waits."""
    settings = imaging.settings
    return Health(
        {
            "registry": database_answers(imaging.registry.connect, "SELECT count(*) FROM calibrations"),
            "products": store_healthy(imaging.products),
            "queue": store_healthy(imaging.queue),
            **settings.runtime.health.checks(imaging.queue, settings.state),
        },
        timeout=settings.runtime.health.timeout,
    )


def consistency(imaging: Imaging) -> Consistency:
    """Queue, products, registry and files held against each other.

    A repair has what is missing made again, and moves a file that no product names to ``orphans``.
    """

    def products() -> Iterator[Mapping[str, Any]]:
        for record in imaging.products.find(PRODUCT).records:
            yield {"id": record.key, **record.value}

    def forget(found: Disagreement) -> bool:
        # The next round makes the product again: what is not there is not called done.
        return bool(imaging.products.write(lambda tx: tx.delete(PRODUCT, found.row["id"])))

    images, state = imaging.images, imaging.settings.state
    return Consistency(
        {
            "products": products,
            "images": FileRows(images, quarantine=state / "orphans"),
            "registry": SqliteRows(imaging.registry.path, "calibrations", key="name"),
            "queue": CheckpointRows(imaging.queue, "imaging"),
        },
        [
            FileExists("products", images, size="size", checksum="checksum", remedy=forget),
            NoOrphans("images", of=[("products", "path")], remedy=RemoveRow()),
            NoOrphans("products", of=[("registry", "name")], column="calibration"),
            CheckpointsHold("queue", imaging.queue, state),
        ],
    )
