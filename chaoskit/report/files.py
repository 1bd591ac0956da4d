"""Reports on disk: written whole or not at all, read back with a check of the version."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.report.document import READABLE, SCHEMA_VERSION, Report
from chaoskit.report.markdown import markdown

JSON_NAME = "report.json"
MARKDOWN_NAME = "summary.md"


class ReportError(UsageError):
    """A file that is not a report, or is one of a version that this chaoskit cannot read."""


def write(report: Report, directory: Path, views: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Write ``report.json``, ``summary.md`` and ``views`` (texts by name of file) into ``directory``.

    The directory is made if needed. Each file is replaced in one step: a reader sees the old or the new one,
    even if the writer is killed. The JSON is written last, so that a new one is never beside an old view.

    Returns: the paths of the files, the JSON first.

    Raises:
        OSError: if the directory cannot be made or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    texts = {MARKDOWN_NAME: markdown(report), **(views or {})}
    for name, text in texts.items():
        replace_file(directory / name, text)
    replace_file(directory / JSON_NAME, to_json(report))
    return (directory / JSON_NAME, *(directory / name for name in texts))


def to_json(report: Report) -> str:
    """The report as text, in ASCII, so that names that are not UTF-8 survive; one line for each scenario."""
    *head, (_, scenarios) = report.to_dict().items()
    lines = [f"{json.dumps(key)}: {_line(value)},\n" for key, value in head]
    listed = ",\n".join(map(_line, scenarios))
    return f'{{{"".join(lines)}"scenarios": [\n{listed}\n]}}\n'


def _line(value: Any) -> str:
    # Without blanks or indentation: half of thousands of small records would be white space.
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def read(path: Path) -> Report:
    """Read a report: a JSON file, or a directory that holds ``report.json``.

    Raises:
        ReportError: if it is not a report, or one of a later version. OSError: if it cannot be read.
    """
    file = path / JSON_NAME if path.is_dir() else path
    try:
        plain = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{file} is not JSON ({error}); expected a chaoskit report.") from error
    _check_version(plain, file)
    try:
        return Report.from_dict(plain)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ReportError(
            f"{file} does not follow the schema of reports ({type(error).__name__}: {error}); "
            f"was it edited, or cut short?"
        ) from error


_READABLE = f"{', '.join(map(str, READABLE[:-1]))} or {READABLE[-1]}"


def _check_version(plain: Any, file: Path) -> None:
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    # A bool is an int too: true == 1.
    if type(version) is int and version in READABLE:
        return
    if type(version) is int and version > SCHEMA_VERSION:
        raise ReportError(
            f"{file} has schema_version {version}; this chaoskit reads {_READABLE}. "
            f"Upgrade chaoskit to read it."
        )
    raise ReportError(f"{file} has schema_version {version!r}; expected {_READABLE}, as in every report.")


def replace_file(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` in one step.

    Nothing is left behind if that fails. Raises OSError if the directory cannot be written.
    """
    # In the same directory, since a rename does not cross file systems. The name is new and unpredictable, so
    # that no planted link is followed, and the file is private to its owner.
    number, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with open(number, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            # Before the rename: otherwise ext4, XFS and btrfs may make the name durable without the content.
            os.fsync(file.fileno())
        os.replace(draft, path)
    # Ctrl-C included: the draft is of no use to anyone.
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
