"""A small training: a linear model by stochastic gradient descent with momentum, on data drawn by a seed.

What a checkpoint of a real one holds is all here: weights, state of the optimizer, of the random generator,
and the step. Without any of these a resumed training ends elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

STEPS, EVERY, FEATURES = 6, 2, 5


@dataclass
class State:
    """Everything that the next step depends on."""

    step: int
    weights: numpy.ndarray[Any, Any]
    momentum: numpy.ndarray[Any, Any]
    generator: numpy.random.Generator

    @classmethod
    def first(cls) -> State:
        zeros = numpy.zeros(FEATURES)
        return cls(0, zeros, zeros.copy(), numpy.random.Generator(numpy.random.PCG64(7)))

    def advance(self) -> None:
        """One step, on a batch that the generator draws."""
        inputs = self.generator.normal(size=(16, FEATURES))
        targets = inputs @ numpy.arange(FEATURES) + self.generator.normal(scale=0.1, size=16)
        gradient = inputs.T @ (inputs @ self.weights - targets) / len(targets)
        self.momentum = 0.9 * self.momentum - 0.05 * gradient
        self.weights = self.weights + self.momentum
        self.step += 1

    def plain(self) -> dict[str, Any]:
        """As arrays, numbers and text."""
        drawn = self.generator.bit_generator.state
        return {
            "step": self.step,
            "weights": self.weights,
            "momentum": self.momentum,
            "drawn": {**drawn["state"], "has_uint32": drawn["has_uint32"], "uinteger": drawn["uinteger"]},
        }

    @classmethod
    def of(cls, kept: dict[str, Any]) -> State:
        state, drawn = cls.first(), dict(kept["drawn"])
        rest = {name: int(drawn.pop(name)) for name in ("has_uint32", "uinteger")}
        number = {name: int(value) for name, value in drawn.items()}
        state.generator.bit_generator.state = {"bit_generator": "PCG64", "state": number, **rest}
        state.step, state.weights, state.momentum = int(kept["step"]), kept["weights"], kept["momentum"]
        return state


class Saver(Protocol):
    """Keeps checkpoints in a directory."""

    def save(self, state: State) -> None:
        """Keep it; when this returns, no crash may take it back."""

    def load(self) -> State | None:
        """The newest that was kept; None if there is none."""


def train(saver: Saver, saved: Callable[[int], object] = lambda step: None) -> list[float]:
    """Train to the end, from wherever it stands; the weights. ``saved`` hears of every checkpoint."""
    state = saver.load() or State.first()
    while state.step < STEPS:
        state.advance()
        if state.step % EVERY == 0:
            saver.save(state)
            saved(state.step)
    return [float(weight) for weight in state.weights]


def resume(saver: Saver) -> int:
    """The step from which a training would go on."""
    state = saver.load()
    return 0 if state is None else state.step


def expected() -> list[float]:
    """What comes of it when nothing goes wrong."""
    state = State.first()
    while state.step < STEPS:
        state.advance()
    return [float(weight) for weight in state.weights]
