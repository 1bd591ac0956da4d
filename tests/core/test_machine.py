from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.core import machine
from chaoskit.core.machine import filesystem_of

MOUNTS = "\n".join(
    [
        "proc /proc proc rw 0 0",
        "/dev/vda / ext4 rw 0 0",
        "tmpfs /tmp tmpfs rw 0 0",
        "tmpfs /srv/with\\040blank tmpfs rw 0 0",
        "/dev/vdb /srv/twice xfs rw 0 0",
        "/dev/vdc /srv/twice btrfs rw 0 0",
    ]
)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/nowhere/x", "ext4"),
        ("/tmp", "tmpfs"),
        ("/tmp/x/y", "tmpfs"),
        ("/tmpfile", "ext4"),
        ("/srv/with blank/x", "tmpfs"),
        ("/srv/twice/x", "btrfs"),
        ("/", "ext4"),
    ],
)
def test_file_system_is_that_of_the_deepest_mount(place, kind, tmp_path):
    """The type comes from the innermost and topmost mount that holds the place."""
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert filesystem_of(Path(place), mounts) == kind


def test_file_system_is_unknown_without_a_mount_table(tmp_path):
    """Where there is no mount table the type is left empty."""
    assert filesystem_of(tmp_path, tmp_path / "none") == ""


def test_memory_is_a_place_where_it_can_be_written_and_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a sweep would meet a full disk that no fault has made."""
    monkeypatch.setattr(machine, "MEMORY", tmp_path)
    monkeypatch.setattr(machine, "SMALL", 1)
    assert machine.memory() == tmp_path
    monkeypatch.setattr(machine, "SMALL", 1 << 60)
    assert machine.memory() is None
    monkeypatch.setattr(machine, "SMALL", 1)
    monkeypatch.setattr(machine, "MEMORY", tmp_path / "none")
    assert machine.memory() is None
