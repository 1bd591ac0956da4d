"""logging.handlers.RotatingFileHandler: files are renamed in a chain while records keep coming."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
from pathlib import Path

from chaoskit import Chaos, faults, scenario

KEPT = 3


def log(path: Path, first: int, last: int, promise=lambda _: None) -> None:
    """Each record is 100 bytes and a file takes four of them."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=450, backupCount=KEPT)
    logger = logging.Logger("scenario")
    logger.addHandler(handler)
    try:
        for n in range(first, last):
            logger.info("%05d %s", n, "x" * 93)
            promise(n)
    finally:
        # As logging.shutdown does it, which closes the handlers of most programs.
        with contextlib.suppress(OSError, ValueError):
            handler.close()


def records(directory: Path) -> list[int]:
    """The numbers of all whole records, from the oldest file to the newest."""
    files = [directory / f"app.log.{n}" for n in range(KEPT, 0, -1)] + [directory / "app.log"]
    lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    return [int(line[:5]) for line in lines if len(line) == 99]


@scenario(faults.kill())
def test_a_killed_program_loses_no_record(chaos: Chaos) -> None:
    """After a kill in the middle of a rotation all records are there, in order, each once."""
    log(chaos.path / "app.log", 0, 6)
    chaos.run(log, chaos.path / "app.log", 6, 12, chaos.promise)
    found = records(chaos.path)
    assert found == list(range(len(found)))
    assert set(chaos.promised) <= set(found)


@scenario(faults.disk().on(call=("open", "write", "close", "rename", "unlink"), site="Logger.info"))
def test_trouble_with_the_log_never_reaches_the_program(chaos: Chaos) -> None:
    """Whatever fails in it, ``logger.info`` returns; what is found is in order, the old ones too."""
    log(chaos.path / "app.log", 0, 6)
    outcome = chaos.run(log, chaos.path / "app.log", 6, 12)
    found = records(chaos.path)
    assert outcome.ok
    assert found == sorted(set(found))
    assert set(range(6)) <= set(found)


@scenario(
    faults.disk().on(call="stat", site="RotatingFileHandler.doRollover"),
    known={
        "997424": "os.path.exists is false for a file that cannot be looked up, so the rotation "
        "renames over it",
    },
)
def test_a_file_that_cannot_be_looked_up_is_not_overwritten(chaos: Chaos) -> None:
    """What an earlier rotation has put aside is still there, whatever a look-up says."""
    log(chaos.path / "app.log", 0, 6)
    chaos.run(log, chaos.path / "app.log", 6, 12)
    assert set(range(6)) <= set(records(chaos.path))


@scenario(
    faults.disk().on(call=("rename", "close"), site="RotatingFileHandler.doRollover"),
    known={
        "cdbade": "when a rotation fails a record is dropped, or all that follow, although the "
        "file can still be written",
    },
)
def test_a_failed_rotation_loses_no_record(chaos: Chaos) -> None:
    """A record whose ``logger.info`` returned is in one of the files, as long as these can be written."""
    log(chaos.path / "app.log", 0, 6)
    chaos.run(log, chaos.path / "app.log", 6, 12, chaos.promise)
    assert set(chaos.promised) <= set(records(chaos.path))
