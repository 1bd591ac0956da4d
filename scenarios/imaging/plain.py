"""The imaging without the runtime: the same images, and nothing that would survive trouble.

It is what ``benchmarks/systems.py`` compares the imaging with.
"""

from __future__ import annotations

from pathlib import Path

from scenarios.imaging import work
from scenarios.imaging.work import Calibration, Observation


def main(incoming: Path, products: Path, solution: Calibration) -> None:
    """Make an image of each observation, one after the other."""
    for path in sorted(incoming.glob("*.json")):
        table = work.calibrated(work.converted(Observation.read(path)), solution)
        (products / f"{path.stem}.img").write_bytes(work.packed(work.imaged(table, robust=False)))
