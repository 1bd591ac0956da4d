"""The savers: the runtime's snapshots, and files of safetensors and joblib, written so that they last."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import joblib
import numpy
import safetensors.numpy

from chaoskit.runtime import Snapshots, clean_leftovers, make_directories, write_file
from scenarios.training.loop import State

KEEP = 2


class SnapshotSaver:
    """Arrays and all in one file of the runtime's, with a checksum; a damaged one is passed over."""

    def __init__(self, folder: Path) -> None:
        self._snapshots = Snapshots(folder, keep=KEEP)

    def save(self, state: State) -> None:
        self._snapshots.save(state.plain(), description=f"step {state.step}")

    def load(self) -> State | None:
        kept = self._snapshots.load("latest-intact", default=None)
        return None if kept is None else State.of(kept)


class NumberedFiles:
    """One file for each step, published whole; the newest is the one with the highest number."""

    suffix = ""

    def __init__(self, folder: Path) -> None:
        make_directories(folder)
        clean_leftovers(folder)
        self._folder = folder

    def save(self, state: State) -> None:
        self.write(self._folder / f"{state.step:06}{self.suffix}", state)
        for old in self._files()[:-KEEP]:
            old.unlink()

    def load(self) -> State | None:
        files = self._files()
        return self.read(files[-1]) if files else None

    def write(self, path: Path, state: State) -> None:
        """Synced under another name, then renamed, then the directory synced."""
        write_file(path, self.encoded(state))

    def encoded(self, state: State) -> bytes:
        raise NotImplementedError

    def read(self, path: Path) -> State:
        raise NotImplementedError

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{self.suffix}"))


class SafetensorsSaver(NumberedFiles):
    """Tensors as tensors, the rest as metadata: what is loaded runs no code."""

    suffix = ".safetensors"

    def encoded(self, state: State) -> bytes:
        return safetensors.numpy.save(*self.parts(state))

    def parts(self, state: State) -> tuple[dict[str, numpy.ndarray[Any, Any]], dict[str, str]]:
        plain = state.plain()
        tensors = {name: plain[name] for name in ("weights", "momentum")}
        # As text: the state of the generator has 128 bits.
        rest = {"step": plain["step"], "drawn": {name: str(value) for name, value in plain["drawn"].items()}}
        return tensors, {"rest": json.dumps(rest)}

    def read(self, path: Path) -> State:
        with safetensors.safe_open(path, framework="numpy") as opened:
            rest = json.loads(opened.metadata()["rest"])
            tensors = {name: opened.get_tensor(name) for name in ("weights", "momentum")}
            return State.of({**rest, **tensors})


class JoblibSaver(NumberedFiles):
    """Pickle with arrays beside it, so only for files that no stranger writes."""

    suffix = ".joblib"

    def encoded(self, state: State) -> bytes:
        target = BytesIO()
        joblib.dump(state.plain(), target)
        return target.getvalue()

    def read(self, path: Path) -> State:
        return State.of(joblib.load(path))


SAVERS = {"snapshots": SnapshotSaver, "safetensors": SafetensorsSaver, "joblib": JoblibSaver}
