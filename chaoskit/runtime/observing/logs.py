"""Standard-library logging with structured fields: context in every line, JSON lines, no secrets.

:func:`log_to` sets up a handler and returns the guard that removes it. The parts can also be used alone:
:class:`ContextFilter` for any handler, :class:`JsonFormatter` and :class:`TextFormatter` for any stream,
:func:`add_context` as a structlog processor, :class:`EventLog` as a listener to events.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import IO, Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.clock import utc
from chaoskit.runtime.closing import ClosedOnExit
from chaoskit.runtime.context import Context, current
from chaoskit.runtime.numbers import is_whole
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Subscription, subscribe
from chaoskit.runtime.redact import DEFAULT, Redactor

__all__ = ["ContextFilter", "EventLog", "JsonFormatter", "LogGuard", "TextFormatter", "add_context", "log_to"]

# The attributes that every record has; all others came through ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "chaoskit"}


class ContextFilter(logging.Filter):
    """Adds the logging thread's or task's context to every record, as ``chaoskit``; drops no record.

    Put it on a handler, since a logger's filters do not see the records of its children. Records that crossed
    a queue keep the context in which they were made.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "chaoskit"):
            record.chaoskit = _fields(current())
        return True


def add_context(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor for structlog: adds the context's fields; fields of the call itself take precedence."""
    for key, value in _fields(current()).items():
        event_dict.setdefault(key, value)
    return event_dict


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, context, ``extra`` fields, error.

    An error has ``error_type``, ``error_message``, ``stack`` and, if it has a ``hint``, ``suggested_action``.
    Everything is redacted and bounded. Formatting never fails: a value that cannot be shown is replaced by a
    note.
    """

    def __init__(self, redactor: Redactor = DEFAULT) -> None:
        super().__init__()
        self._redactor = kinds.instance("redactor", redactor, Redactor)

    def format(self, record: logging.LogRecord) -> str:
        # ASCII only, because some other characters end a line or control a terminal.
        return json.dumps(self.to_dict(record), ensure_ascii=True, default=repr)

    def to_dict(self, record: logging.LogRecord) -> dict[str, Any]:
        """The content of the line, in order."""
        line: dict[str, Any] = {
            "time": utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _encodable(self._redactor.text(_message(record))),
        }
        for key, value in _record_fields(record).items():
            # A field must not be mistaken for the line's own time or level.
            line[f"{key}_" if key in line else _encodable(key)] = _encodable(self._redactor.plain(value, key))
        line.update(_error_fields(self, record, self._redactor))
        return line


class TextFormatter(logging.Formatter):
    """``time level logger: message [key=value …]`` for people, with the fields of :class:`JsonFormatter`.

    Line breaks in a message or a value are escaped, so that no input can forge a line; the stack of an error
    follows, indented.
    """

    def __init__(self, redactor: Redactor = DEFAULT) -> None:
        super().__init__()
        self._json = JsonFormatter(redactor)

    def format(self, record: logging.LogRecord) -> str:
        line = self._json.to_dict(record)
        stack = line.pop("stack", "")
        head = (
            f"{line.pop('time')} {line.pop('level')} {line.pop('logger')}: {_one_line(line.pop('message'))}"
        )
        fields = " ".join(f"{k}={_one_line(_short(v))}" for k, v in line.items() if v is not None)
        text = f"{head} [{fields}]" if fields else head
        return text + "".join(f"\n    {part}" for part in stack.splitlines())


class LogGuard(ClosedOnExit):
    """An installed handler; leaving the ``with`` block, or ``close()``, removes it."""

    def __init__(self, logger: logging.Logger, handler: logging.Handler, level: int) -> None:
        self.logger = logger
        self.handler = handler
        self._level = level

    def close(self) -> None:
        """Remove the handler, flush it, and restore the logger's level. Calling it again does nothing."""
        if self.handler in self.logger.handlers:
            self.logger.removeHandler(self.handler)
            self.logger.setLevel(self._level)
            self.handler.close()


def log_to(
    target: IO[str] | logging.Handler | None = None,
    *,
    level: int | str = logging.INFO,
    json_lines: bool = True,
    logger: str = "",
    redactor: Redactor = DEFAULT,
) -> LogGuard:
    """Log to a stream (default: standard error) or a handler, with context, as JSON lines or as text.

    ``logger`` is the name of the logger to attach to; by default the root logger. A handler that you pass
    gets our formatter and filter, and is closed with the guard; a stream stays open.

    Raises:
        UsageError: one of the arguments is impossible; nothing was attached.
    """
    if target is not None and not isinstance(target, logging.Handler):
        kinds.able("target", target, "a stream with write(), a logging.Handler, or None", "write")
    kinds.switch("json_lines", json_lines)
    kinds.text("logger", logger)
    level = _level(level)
    handler = target if isinstance(target, logging.Handler) else logging.StreamHandler(target)
    handler.addFilter(ContextFilter())
    handler.setFormatter(JsonFormatter(redactor) if json_lines else TextFormatter(redactor))
    attached = logging.getLogger(logger)
    guard = LogGuard(attached, handler, attached.level)
    attached.addHandler(handler)
    # Set the logger's level, not the handler's: records below it are then not even made.
    attached.setLevel(level)
    return guard


def _level(level: int | str) -> int:
    known = logging.getLevelNamesMapping()
    number = known.get(level) if isinstance(level, str) else level
    if is_whole(number):
        return number
    raise wrong("level", level, f"a number, or one of {', '.join(known)}")


class EventLog:
    """A listener that logs each event: its name is the message, its fields are extra fields.

    ``levels`` maps an event's name, or its part before a dot, to a level. Other events have their own level,
    or ``default`` if they have none. Its lines replace those that are logged without it.
    """

    logs_events = True

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        levels: Mapping[str, int] | None = None,
        default: int = logging.INFO,
    ) -> None:
        kinds.able("logger", logger, "a logging.Logger", "isEnabledFor", "log", optional=True)
        given = {} if levels is None else kinds.mapping("levels", levels, "a mapping of names to levels")
        for what, level in (
            ("default", default),
            *((f"levels[{name!r}]", one) for name, one in given.items()),
        ):
            if not is_whole(level):
                raise wrong(what, level, "a level as a number, such as logging.INFO")
        self._logger = logger or logging.getLogger("chaoskit")
        self._levels = dict(given)
        self._default = default

    def __call__(self, event: Event) -> None:
        own = self._default if event.log_level is None else event.log_level
        level = self._levels.get(event.name, self._levels.get(event.name.partition(".")[0], own))
        if self._logger.isEnabledFor(level):
            fields = event.to_dict()
            message = fields.pop("event")
            # logging refuses extra fields that would overwrite its own ("name", "args", "module").
            safe = {f"{k}_" if k in _STANDARD else k: v for k, v in fields.items()}
            self._logger.log(level, "%s", message, extra={"event": event.name, **safe})

    def subscribe(self) -> Subscription:
        """Listen to the events of all strategies until the guard is closed."""
        return subscribe(self)


def _fields(context: Context | None) -> dict[str, Any]:
    if context is None:
        return {}
    fields = context.to_dict()
    # The duration of an operation is most valuable in the line that reports its failure.
    if context.started is not None:
        fields["duration"] = round(time.monotonic() - context.started, 6)
    return fields


def _record_fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "chaoskit", None)
    given = dict(fields) if isinstance(fields, dict) else _fields(current())
    given.update((k, v) for k, v in vars(record).items() if k not in _STANDARD)
    return given


def _error_fields(
    formatter: logging.Formatter, record: logging.LogRecord, redactor: Redactor
) -> dict[str, Any]:
    error = record.exc_info[1] if record.exc_info else None
    fields: dict[str, Any] = {}
    if error is not None and record.exc_info:
        fields["error_type"] = type(error).__qualname__
        fields["error_message"] = redactor.message(error)
        fields["suggested_action"] = redactor.plain(_guarded(lambda: getattr(error, "hint", None)))
        fields["stack"] = _guarded(lambda: formatter.formatException(record.exc_info))  # type: ignore[arg-type]
    elif record.exc_text:
        fields["stack"] = record.exc_text
    if record.stack_info:
        fields["stack"] = f"{fields.get('stack', '')}{record.stack_info}"
    if "stack" in fields:
        fields["stack"] = _encodable(redactor.text(fields["stack"]))
    return {k: _encodable(v) for k, v in fields.items() if v is not None}


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        return f"{record.msg!s} <arguments cannot be shown: {type(error).__name__}>"


def _guarded(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        return f"<cannot be shown: {type(error).__name__}>"


def _encodable(value: Any) -> Any:
    # A lone surrogate (a file name that is not UTF-8) would make the encoder fail, and lose the line.
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [_encodable(v) for v in value]
    if isinstance(value, dict):
        return {_encodable(k): _encodable(v) for k, v in value.items()}
    return value


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
