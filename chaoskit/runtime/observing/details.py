"""Error-detail files: a JSON file for each error, with the whole stack, its local variables, and the context.

Secrets are redacted by name and by pattern, but local variables are the program's own data: only the owner
can read the files (mode 0600), and the directory should be protected like that of core dumps.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any

from chaoskit.runtime import kinds
from chaoskit.runtime.calling.blocks import block
from chaoskit.runtime.clock import Clock, SystemClock, utc
from chaoskit.runtime.context import current
from chaoskit.runtime.numbers import whole
from chaoskit.runtime.redact import DEFAULT, Redactor

__all__ = ["FORMAT", "DetailOptions", "ErrorDetails", "describe_error"]

FORMAT = 1

# A recursion error has a thousand frames, but its two ends explain it.
_FRAMES_AT_EACH_END = 40
_MAX_ERRORS = 50
_MARK = "__chaoskit_details__"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")

logger = logging.getLogger("chaoskit")


@dataclass(frozen=True, slots=True)
class DetailOptions:
    """The directory of the files, and how many of the newest are kept (0: all).

    Raises:
        UsageError: the number of files is negative.
    """

    directory: Path
    keep: int = 1000

    def __post_init__(self) -> None:
        kinds.instance("directory", self.directory, Path)
        whole("keep", self.keep, 0, hint="0 keeps all files.")


class ErrorDetails:
    """Writes error-detail files to a directory, which is created when it is first needed.

    Threads may share an instance, and processes a directory: every file has a unique name.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | DetailOptions,
        *,
        keep: int = 1000,
        redactor: Redactor = DEFAULT,
        clock: Clock | None = None,
    ) -> None:
        kinds.instance("directory", directory, str, os.PathLike, DetailOptions)
        given = directory if isinstance(directory, DetailOptions) else DetailOptions(Path(directory), keep)
        self.options = given
        self._redactor = kinds.instance("redactor", redactor, Redactor)
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._count = itertools.count(1)

    def write(self, error: BaseException) -> Path:
        """Write the file for ``error`` and return its path; an error is written only once.

        The file appears as a whole or not at all, and is on disk when this returns (fsync of the file and of
        the directory). Raises ``OSError`` if it cannot be written; then nothing is left behind.
        """
        written: Path | None = getattr(error, _MARK, None)
        if written is not None and written.parent == self.options.directory:
            return written
        now = self._clock.time()
        # The format comes first, so that a reader can check it without parsing the rest.
        record = {"format": FORMAT, "time": utc(now, 6), **_process(self._redactor)}
        record["context"] = self._redactor.plain(_context())
        record["errors"] = describe_error(error, self._redactor)
        path = self.options.directory / self._name(now, error)
        _write_atomically(path, json.dumps(record, indent=1, ensure_ascii=True, default=repr).encode("ascii"))
        _mark(error, path)
        try:
            self._prune()
        except OSError as trouble:
            logger.warning("old error-detail files cannot be removed: %s", trouble)
        return path

    @block
    def capture(self) -> Iterator[None]:
        """Write a file for an ``Exception`` that leaves the block, note its path on it, and let it pass on.

        If writing fails, that is logged, and the error passes on unchanged.
        """
        try:
            yield
        except Exception as error:
            self._attach(error)
            raise

    def _attach(self, error: Exception) -> None:
        known = getattr(error, _MARK, None) is not None
        try:
            path = self.write(error)
            if not known:
                error.add_note(f"Details: {path}")
        except Exception as trouble:
            logger.error("no detail file for %s: %s", type(error).__name__, trouble)

    def _name(self, now: float, error: BaseException) -> str:
        kind = _UNSAFE.sub("", type(error).__name__)[:60] or "Error"
        # In UTC, because names must sort by time even when daylight saving time ends.
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        unique = f"{os.getpid():x}{next(self._count):04x}{os.urandom(3).hex()}"
        return f"error-{stamp}{int(now % 1 * 1e6):06d}-{kind}-{unique}.json"

    def _prune(self) -> None:
        if self.options.keep:
            # Names begin with the time, so sorting them sorts the files by age.
            files = sorted(self.options.directory.glob("error-*.json"))
            for old in files[: -self.options.keep]:
                old.unlink(missing_ok=True)
        # Left half-written by a killed process. Only after an hour: another process may still be writing.
        for temporary in self.options.directory.glob(".error-*.tmp"):
            if _modified(temporary) < self._clock.time() - 3600:
                temporary.unlink(missing_ok=True)


def describe_error(error: BaseException, redactor: Redactor = DEFAULT) -> list[dict[str, Any]]:
    """``error`` and everything that led to it (causes, contexts, members of groups), as plain data.

    The first entry is ``error``; entries refer to one another by ``index``. Cycles end, and at most 50 errors
    are described.
    """
    order: list[BaseException] = [error]
    index = {id(error): 0}
    for one in order:
        for other in _related(one):
            # By identity: errors may define equality in any way.
            if id(other) not in index and len(order) < _MAX_ERRORS:
                index[id(other)] = len(order)
                order.append(other)
    return [_describe(one, index, redactor, whole_stack=one is error) for one in order]


def _related(error: BaseException) -> Iterator[BaseException]:
    if error.__cause__ is not None:
        yield error.__cause__
    if error.__context__ is not None and not error.__suppress_context__:
        yield error.__context__
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions


def _describe(
    error: BaseException, index: dict[int, int], redactor: Redactor, *, whole_stack: bool
) -> dict[str, Any]:
    kind = type(error)
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    context = None if error.__suppress_context__ else error.__context__
    return {
        "index": index[id(error)],
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "message": redactor.message(error),
        "hint": redactor.plain(getattr(error, "hint", None)),
        "attributes": redactor.plain(dict(vars(error)) if hasattr(error, "__dict__") else {}),
        "cause": index.get(id(error.__cause__)),
        "context": index.get(id(context)),
        "members": [index[id(m)] for m in members if id(m) in index],
        "stack": _stack(error.__traceback__, redactor, whole_stack),
    }


def _stack(traceback: TracebackType | None, redactor: Redactor, whole: bool) -> list[dict[str, Any]]:
    """The frames from the outermost call to the raising one; ``whole`` adds those above the handler."""
    frames: list[tuple[FrameType, int]] = []
    above = traceback.tb_frame.f_back if whole and traceback is not None else None
    while above is not None:
        frames.append((above, above.f_lineno))
        above = above.f_back
    frames.reverse()
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    skipped = len(frames) - 2 * _FRAMES_AT_EACH_END
    if skipped <= 0:
        return [_frame(f, line, redactor) for f, line in frames]
    head = [_frame(f, line, redactor) for f, line in frames[:_FRAMES_AT_EACH_END]]
    tail = [_frame(f, line, redactor) for f, line in frames[-_FRAMES_AT_EACH_END:]]
    return [*head, {"skipped": skipped}, *tail]


def _frame(frame: FrameType, line: int, redactor: Redactor) -> dict[str, Any]:
    code = frame.f_code
    return {
        "file": code.co_filename,
        "line": line,
        "function": code.co_qualname,
        "source": redactor.text(_source(frame, line)),
        # At module level the locals are the module's globals: hundreds, and not about a call.
        "locals": {} if code.co_name == "<module>" else _locals(frame, redactor),
    }


def _source(frame: FrameType, line: int) -> str:
    import linecache

    return linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()[:500]


def _locals(frame: FrameType, redactor: Redactor) -> Any:
    # Modules tell nothing, and their repr is long.
    kept = {k: v for k, v in frame.f_locals.items() if not isinstance(v, ModuleType)}
    return redactor.plain(kept)


def _context() -> dict[str, Any] | None:
    context = current()
    return None if context is None else {**context.to_dict(), "operations": context.operations}


def _process(redactor: Redactor) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "thread": threading.current_thread().name,
        "python": sys.version.split()[0],
        "argv": redactor.plain(getattr(sys, "argv", [])),
    }


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    # Before the try block that removes it: a file that exists already belongs to another process.
    made = open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600))  # noqa: SIM115
    try:
        with made as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a directory cannot be opened, and the rename is as durable as it gets
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")  # gone meanwhile


def _mark(error: BaseException, path: Path) -> None:
    try:
        setattr(error, _MARK, path)
    except Exception:
        pass  # an error with slots is written again by an outer capture, which is better than not at all
