"""Savers as examples have them: each of these scenarios must be violated.

Run by ``test_training.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
import numpy
import safetensors.numpy

from chaoskit import Chaos, faults, scenario
from scenarios.training.loop import State
from scenarios.training.savers import JoblibSaver, NumberedFiles, SafetensorsSaver
from scenarios.training.test_training import CRASHES, LAST, ends_alike


class SaveFile(SafetensorsSaver):
    """``save_file`` to the final name."""

    def write(self, path: Path, state: State) -> None:
        safetensors.numpy.save_file(self.parts(state)[0], path, self.parts(state)[1])


class Dump(JoblibSaver):
    """``dump`` to the final name."""

    def write(self, path: Path, state: State) -> None:
        joblib.dump(state.plain(), path)


class Savez(NumberedFiles):
    """``savez`` to the final name."""

    suffix = ".npz"

    def write(self, path: Path, state: State) -> None:
        plain = state.plain()
        drawn = numpy.array([str(value) for value in plain.pop("drawn").values()])
        numpy.savez(path, **plain, drawn=drawn)

    def read(self, path: Path) -> State:
        names = ("state", "inc", "has_uint32", "uinteger")
        with numpy.load(path) as kept:
            return State.of({**kept, "drawn": dict(zip(names, kept["drawn"].tolist(), strict=True))})


class Renamed(JoblibSaver):
    """Under another name first, but without a sync."""

    def write(self, path: Path, state: State) -> None:
        joblib.dump(state.plain(), path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)


class Forgetful(JoblibSaver):
    """Whole and durable, but the generator begins again."""

    def read(self, path: Path) -> State:
        kept: dict[str, Any] = joblib.load(path)
        return State.of({**kept, "drawn": State.first().plain()["drawn"]})


@scenario(CRASHES, invariants=LAST, model="strict", budget=16, oracle="off")
def test_save_file_of_safetensors(chaos: Chaos) -> None:
    ends_alike(chaos, SaveFile)


@scenario(faults.kill(), invariants=LAST, budget=16, oracle="off")
def test_dump_of_joblib(chaos: Chaos) -> None:
    ends_alike(chaos, Dump)


@scenario(faults.kill(), invariants=LAST, budget=16, oracle="off")
def test_savez_of_numpy(chaos: Chaos) -> None:
    ends_alike(chaos, Savez)


@scenario(CRASHES, invariants=LAST, model="strict", budget=16, oracle="off")
def test_renamed_and_not_synced(chaos: Chaos) -> None:
    ends_alike(chaos, Renamed)


@scenario(faults.kill(), invariants=LAST, budget=16, oracle="off")
def test_the_generator_is_not_saved(chaos: Chaos) -> None:
    ends_alike(chaos, Forgetful)
