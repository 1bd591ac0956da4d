"""A program that writes down where it works finds itself there after a power loss."""

from __future__ import annotations

import os
from pathlib import Path

from chaoskit import faults, scenario
from chaoskit.session.chaos import Chaos


def put(path: Path, name: str, text: str) -> None:
    with open(path / f"{name}.tmp", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path / f"{name}.tmp", path / name)
    directory = os.open(path, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def settle(path: Path, chaos: Chaos) -> None:
    put(path, "home", str(path))
    os.symlink(path / "home", path / "link")
    chaos.promise(str(path / "home"))
    chaos.promise({"paths": [path / "home"]})


@scenario(faults.power_loss())
def test_crash_states_name_the_directory_they_are_in(chaos: Chaos) -> None:
    """Files, links and promises of a crash state name the case's directory, not that of the recording."""
    put(chaos.path, "home", str(chaos.path))
    chaos.run(settle, chaos.path, chaos)
    assert (chaos.path / "home").read_text() == str(chaos.path)
    if (chaos.path / "link").is_symlink():
        assert (chaos.path / "link").read_text() == str(chaos.path)
    for promise in chaos.promised:
        name = promise if isinstance(promise, str) else promise["paths"][0]
        assert Path(name).read_text() == str(chaos.path)


def write_until_synced(path: Path) -> None:
    with open(path / "log", "w") as file:
        file.write(str(path))
        file.flush()
        for _ in range(2):
            try:
                os.fsync(file.fileno())
            except OSError:
                continue
            break


@scenario(faults.fsync_lies())
def test_states_after_a_lie_name_the_directory_they_are_in(chaos: Chaos) -> None:
    """A state that is built from a second recording has no paths of the first one, nor of the second."""
    put(chaos.path, "home", str(chaos.path))
    chaos.run(write_until_synced, chaos.path)
    assert (chaos.path / "home").read_text() == str(chaos.path)
    if (chaos.path / "log").exists():
        assert (chaos.path / "log").read_text().strip("\0") in ("", str(chaos.path))
