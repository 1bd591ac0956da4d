"""The optimizer without the runtime: the same steps, and nothing that would survive trouble.

It is what ``benchmarks/systems.py`` compares the optimizer with.
"""

from __future__ import annotations

import json
from pathlib import Path


def main(drop: Path, results: Path) -> None:
    """Fit every job in the drop folder, one after the other."""
    results.mkdir(exist_ok=True)
    for path in sorted(drop.glob("*.json")):
        told = json.loads(path.read_bytes())
        points, centre = [float(one) for one in told["points"]], 0.0
        for _ in range(int(told["steps"])):
            slopes = [centre - point for point in points]
            centre -= 0.5 * sum(slopes) / len(slopes)
        document = {"job": path.stem, "centre": centre, "steps": told["steps"]}
        (results / path.name).write_text(json.dumps(document))
