"""What broke a scenario is read back from a file that anything may have written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from chaoskit.core.schedule import Schedule
from chaoskit.session.remembered import FOLDER, Remembered


def test_only_schedules_that_can_be_read_are_remembered(tmp_path: Path) -> None:
    """One of another version, or of an editor, is left out; the others keep their order."""
    digest = hashlib.sha256(b"test_a.py::test_a").hexdigest()[:20]
    file = tmp_path / FOLDER / "broke" / f"{digest}.json"
    file.parent.mkdir(parents=True)
    texts = ["write(a)#1=EIO", 7, "write(a)#0=EIO", None, "rename(a -> b)#2=kill; write(c)#1=torn[4096]"]
    file.write_text(json.dumps({"scenario": "test_a.py::test_a", "schedules": texts}), "utf-8")
    remembered = Remembered(tmp_path)
    assert remembered.of("test_a.py::test_a") == (
        Schedule.parse(str(texts[0])),
        Schedule.parse(str(texts[-1])),
    )
    assert remembered.of("test_a.py::test_b") == ()
