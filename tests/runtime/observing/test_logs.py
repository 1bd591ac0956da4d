"""Every line has its context, no line can be forged, none is lost, and none holds a secret."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from chaoskit.runtime import context
from chaoskit.runtime.failures.taxonomy import DiskFull
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.logs import (
    ContextFilter,
    EventLog,
    JsonFormatter,
    TextFormatter,
    add_context,
    log_to,
)
from chaoskit.runtime.observing.observers import emit

SECRET = "hunter" + str(2)  # not literally in a source line, which a stack quotes


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What was logged to the logger ``app`` as JSON lines."""
    target = io.StringIO()
    with log_to(target, logger="app", level=logging.DEBUG):
        yield target


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


log = logging.getLogger("app.part")


def test_a_line_has_the_context(stream: io.StringIO) -> None:
    """Operation, correlation id, fields and duration are on each line of an operation."""
    with context.operation("upload", correlation_id="mine", sample="S1", attempt=2):
        log.info("sent %d bytes", 7, extra={"size": 7})
    (line,) = lines(stream)
    assert line["message"] == "sent 7 bytes"
    assert (line["operation"], line["correlation_id"], line["sample"], line["attempt"], line["size"]) == (
        "upload", "mine", "S1", 2, 7,
    )  # fmt: skip
    assert line["duration"] >= 0
    assert line["time"].endswith("Z")


def test_without_a_context_a_line_is_plain(stream: io.StringIO) -> None:
    """Outside operations a line has the standard parts and nothing else."""
    log.warning("hello")
    assert set(lines(stream)[0]) == {"time", "level", "logger", "message"}


def test_an_error_has_type_message_stack_and_action(stream: io.StringIO) -> None:
    """A logged error says what it was, where, and what to do about it."""
    try:
        raise DiskFull("no room")
    except DiskFull:
        log.exception("failed")
    (line,) = lines(stream)
    assert line["error_type"] == "DiskFull"
    assert line["error_message"] == "no room"
    assert line["suggested_action"] == "Free space on the device or write elsewhere."
    assert "test_logs.py" in line["stack"]


def test_secrets_stay_out(stream: io.StringIO) -> None:
    """A secret in a message, an argument, a field or an error does not reach the stream."""
    try:
        raise ValueError(f"token={SECRET}")
    except ValueError:
        log.exception("login with password=%s", SECRET, extra={"api_key": SECRET})
    with context.operation("login", password=SECRET):
        log.info("x")
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_line_breaks_cannot_forge_a_line(formatter: logging.Formatter) -> None:
    """Whatever is logged, one record is one line; escapes for terminals are not passed on."""
    record = logging.makeLogRecord(
        {"msg": "a\nFAKE\r\x1b[31m\u2028x", "name": "app", "levelname": "INFO", "field": "b\nFAKE"}
    )
    text = formatter.format(record)
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_a_field_cannot_pass_for_the_lines_own(stream: io.StringIO) -> None:
    """A field called time or level does not replace the record's own."""
    with context.bind(level="FAKE", time="FAKE"):
        log.info("x")
    (line,) = lines(stream)
    assert line["level"] == "INFO"
    assert line["level_"] == "FAKE"
    assert line["time"] != "FAKE"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize("json_lines", [True, False])
def test_no_record_is_lost(json_lines: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong arguments, objects that cannot be shown, lone surrogates: the line is written all the same."""
    monkeypatch.setattr(logging.getLogger("app"), "propagate", False)  # pytest's own handler would fail
    target = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with log_to(target, logger="app", json_lines=json_lines):
        log.error("too few %s %s", 1)
        log.error("bad %s", Unprintable())
        log.error("name %s", "\udcff", extra={"thing": Unprintable(), "path": "\udcff"})
        target.flush()
        written = target.buffer.getvalue()  # type: ignore[attr-defined]
    assert written.count(b"\n") == 3
    assert b"too few" in written


def test_the_thread_that_logs_decides(stream: io.StringIO) -> None:
    """A line has the context of its own thread, also when another one formats it."""
    from logging.handlers import QueueHandler
    from queue import SimpleQueue

    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = QueueHandler(records)
    handler.addFilter(ContextFilter())
    log.addHandler(handler)
    log.propagate = False
    try:

        def work() -> None:
            with context.operation("there", correlation_id="theirs"):
                log.info("x")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        log.removeHandler(handler)
        log.propagate = True
    with context.operation("here", correlation_id="mine"):
        line = JsonFormatter().to_dict(records.get())
    assert (line["operation"], line["correlation_id"]) == ("there", "theirs")


def test_text_lines_show_the_fields_and_indent_the_stack() -> None:
    """The text form is one readable line, with the stack on lines of its own below it."""
    target = io.StringIO()
    with log_to(target, logger="app", json_lines=False), context.operation("upload", correlation_id="mine"):
        try:
            raise ValueError("boom")
        except ValueError:
            log.exception("failed")
    first, *rest = target.getvalue().splitlines()
    assert "ERROR app.part: failed [" in first
    assert "operation=upload" in first
    assert "error_message=boom" in first
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_the_guard_puts_everything_back() -> None:
    """After the block the logger has its old level and handlers; closing it again does nothing."""
    logger = logging.getLogger("app")
    before = (logger.level, list(logger.handlers))
    with log_to(io.StringIO(), logger="app", level="DEBUG") as guard:
        assert logger.level == logging.DEBUG
    assert (logger.level, logger.handlers) == before
    guard.close()
    assert (logger.level, logger.handlers) == before


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Event):
    name: ClassVar[str] = "test.told"
    args: int
    password: str = ""


def test_events_are_logged_with_their_fields(stream: io.StringIO) -> None:
    """EventLog logs name and fields, fields that logging reserves too, at the level of the event's kind."""
    listener = EventLog(log, levels={"test": logging.WARNING})
    emit((listener,), Told(at=1.0, args=3, password="hunter2"))
    (line,) = lines(stream)
    assert (line["message"], line["level"], line["event"], line["args_"]) == (
        "test.told",
        "WARNING",
        "test.told",
        3,
    )
    assert "hunter2" not in stream.getvalue()


def test_event_log_subscribes(stream: io.StringIO) -> None:
    """subscribe() logs the events of all strategies until its guard is closed."""
    with EventLog(log).subscribe():
        emit((), Told(at=1.0, args=1))
    emit((), Told(at=2.0, args=2))
    assert [line["args_"] for line in lines(stream)] == [1]


def test_structlog_gets_the_context() -> None:
    """As a structlog processor add_context() adds the context, and what the call gave wins."""
    structlog = pytest.importorskip("structlog")
    captured: list[dict[str, Any]] = []

    def keep(logger: Any, method: str, event_dict: dict[str, Any]) -> dict[str, Any]:
        captured.append(event_dict)
        raise structlog.DropEvent

    logger = structlog.wrap_logger(None, processors=[add_context, keep], wrapper_class=structlog.BoundLogger)
    with context.operation("upload", correlation_id="mine", sample="S1"):
        logger.info("sent", sample="other")
    assert captured[0]["correlation_id"] == "mine"
    assert captured[0]["sample"] == "other"
    assert captured[0]["event"] == "sent"


def test_structlog_is_not_imported() -> None:
    """The processor needs nothing of structlog itself."""
    import subprocess

    code = "import sys, chaoskit.runtime.observing.logs; sys.exit('structlog' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
