"""The cost of crash states grows with the size of a write, not with its square."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from crash_recorder import Recorder

from chaoskit.core.operation import Bytes, Trace
from chaoskit.explore.crash import Materialiser, Snapshot, crash_states, script

MEGABYTE = 1 << 20


@dataclass
class Counted:
    """A payload that counts what is taken of it."""

    content: bytes
    taken: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.content)

    def read(self) -> bytes:
        self.taken.append(len(self.content))
        return self.content

    def part(self, start: int, length: int) -> bytes | memoryview:
        self.taken.append(length)
        return Bytes(self.content).part(start, length)


def recorded(place: Path, size: int) -> tuple[Snapshot, Trace, Counted]:
    """One write of ``size`` bytes, and its data."""
    before, r = Snapshot.take(place), Recorder(place)
    r.put("f", bytes(range(256)) * (size // 256))
    trace, data = r.trace(), Counted(b"")
    operations = []
    for operation in trace:
        detail = operation.file
        if detail.data is not None:
            data.content = detail.data.read()
            detail = replace(detail, data=data)
        operations.append(replace(operation, detail=detail))
    return before, replace(trace, operations=tuple(operations)), data


@pytest.mark.parametrize("size", [MEGABYTE, 8 * MEGABYTE])
def test_what_is_copied_for_all_states_is_in_proportion_to_the_data(tmp_path: Path, size: int) -> None:
    """Each page is read once for each set of steps that touches it, and nothing but the page."""
    before, trace, data = recorded(tmp_path, size)
    states = crash_states(script(trace, before))
    assert len(states) > 4
    assert sum(data.taken) < 4 * size


@pytest.mark.parametrize("size", [MEGABYTE, 8 * MEGABYTE])
def test_a_state_is_written_with_one_look_at_the_data(tmp_path: Path, size: int) -> None:
    """Whatever part of a write persisted is copied at once."""
    place = tmp_path / "work"
    place.mkdir()
    before, trace, data = recorded(place, size)
    states = crash_states(script(trace, before))
    materialiser, target = Materialiser(states), tmp_path / "state"
    target.mkdir()
    complete = next(state for state in reversed(states.states) if state.complete)
    data.taken.clear()
    materialiser.write(complete, target)
    assert (target / "f").read_bytes() == data.content
    assert sum(data.taken) == size
    assert len(data.taken) <= 4
