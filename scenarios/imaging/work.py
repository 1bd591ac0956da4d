"""The work of the stages itself, with nothing in it that can fail for the world's sake."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.runtime import ValidationError


@dataclass(frozen=True, slots=True)
class Observation:
    """Samples of a target, and when they were taken, in seconds since the epoch."""

    target: str
    at: float
    samples: tuple[float, ...]
    noise: float

    @classmethod
    def read(cls, path: Path) -> Observation:
        """Read one.

        Raises:
            ValidationError: it is none.
            OSError: it cannot be read.
        """
        try:
            told = json.loads(path.read_text("utf-8"))
            samples = tuple(float(one) for one in told["samples"])
            return cls(path.stem, float(told["at"]), samples, float(told["noise"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ValidationError(f"{path.name} is not an observation: {error!r}", stage="convert") from error


@dataclass(frozen=True, slots=True)
class Calibration:
    """A solution from the registry: valid from ``since`` until before ``until``."""

    name: str
    gain: float
    noise: float
    since: float
    until: float

    def covers(self, at: float) -> bool:
        """True if it is valid at that time."""
        return self.since <= at < self.until


def converted(observation: Observation) -> dict[str, Any]:
    flux = sum(observation.samples) / len(observation.samples)
    return {"samples": observation.samples, "noise": observation.noise, "flux": flux}


def calibrated(table: dict[str, Any], solution: Calibration) -> dict[str, Any]:
    samples = [one * solution.gain for one in table["samples"]]
    return {
        "samples": samples,
        "noise": table["noise"] * solution.noise,
        "flux": sum(samples) / len(samples),
        "calibration": solution.name,
    }


def imaged(table: dict[str, Any], *, robust: bool) -> dict[str, Any]:
    """The image. Robust weights halve the noise and widen the beam."""
    factor, beam = (0.5, 12.0) if robust else (1.0, 6.0)
    return {**table, "noise": table["noise"] * factor, "beam": beam, "robust": robust}


def packed(table: dict[str, Any]) -> bytes:
    """As it is kept in a file."""
    return json.dumps(table, sort_keys=True).encode()
