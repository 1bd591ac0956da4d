"""Collect the results of a test run into its report."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chaoskit.core.result import ScenarioResult
from chaoskit.report import project
from chaoskit.report.concealing import concealed
from chaoskit.report.document import Entry, Outcome, Report, Run, in_order
from chaoskit.report.environment import detect
from chaoskit.report.secrets import Secrets

# Not taken from ``chaoskit`` itself: a module inside must not import the face, which imports everything.
_PACKAGE = Path(__file__).parent.parent


class Collector:
    """Collects the results of one test run, from all of its processes, in any order.

    ``rootdir`` is the project's directory: paths below it are written relative to it, so that reports
    compare between machines. ``hide`` maps further prefixes of paths to what is written instead (a
    temporary directory to ``<tmp>``); the interpreter's own directories are hidden in any case. What looks
    secret is hidden unless ``show_secrets``.
    """

    def __init__(
        self, rootdir: Path, hide: Mapping[Path, str] | None = None, *, show_secrets: bool = False
    ) -> None:
        self._root = rootdir
        self._shorten = shortener({**(hide or {}), rootdir: ""})
        self._secrets = None if show_secrets else Secrets.of()
        self._entries: dict[tuple[str, str], Entry] = {}
        # Monotonic: the wall clock may be set during a run, but a duration must not be negative.
        self._began = time.monotonic()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, plain: Mapping[str, Any], *, outcome: Outcome, reason: str = "") -> None:
        """Add one scenario, as :meth:`ScenarioResult.to_dict` gives it.

        A second result of the same test, or of the same shard of it, replaces the first: that is a rerun.
        """
        # Plain data even within one process, so that xdist and a single process take the same path.
        whole = ScenarioResult.from_dict(plain).aggregated()
        result = concealed(whole, self._secrets).renamed(self._shorten)
        reason = reason if self._secrets is None else self._secrets.hide(reason)
        part = "" if result.part is None else str(result.part.shard)
        self._entries[result.nodeid, part] = Entry(result, outcome, self._shorten(reason))

    def report(
        self,
        *,
        command: Sequence[str] = (),
        interrupted: bool = False,
        place: Path | None = None,
        seconds: float | None = None,
    ) -> Report:
        """The report of the run so far.

        ``place`` is where the scenarios' directories were, ``seconds`` how long the run took; without it, the
        time since this object was made.
        """
        words = command if self._secrets is None else self._secrets.hide_words(command)
        run = Run(
            created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            seconds=round(time.monotonic() - self._began if seconds is None else seconds, 3),
            command=tuple(map(self._shorten, words)),
            interrupted=interrupted,
            environment=detect(place),
            project=project.detect(self._root),
        )
        return Report((run,), in_order(self._entries.values()))


# The directories of cases, as plugin/state.py and session/program.py name them: a new one for every case.
_CASE = re.compile(
    r"(?<![\w.~-])(?:/[^\s/'\":;,]+)*/chaoskit-[a-z0-9_]{8}/(?:(w\d\d-\d{6})|case-[a-z0-9_]{8}/work)\b"
)


def _case(match: re.Match[str]) -> str:
    return "chaos.path" if match[1] else "$CHAOSKIT_PATH"


def shortener(prefixes: Mapping[Path, str]) -> Callable[[str], str]:
    """A function that replaces each of these directories, wherever it occurs in a text, by its short form.

    An empty short form makes the path relative. If one prefix lies within another, the longer one wins. The
    directory of a case is named as its test names it.
    """
    # Python's directories are hidden, too: where Python is installed says whose machine it is.
    python = {Path(sys.base_prefix): "<python>", Path(sys.prefix): "<python>", _PACKAGE: "chaoskit"}
    short = {str(path).rstrip("/"): text for path, text in python.items()}
    short |= {str(path).rstrip("/"): text for path, text in prefixes.items()}
    # The root directory is empty without its slash, and would match everywhere.
    short = {path: text for path, text in short.items() if path}
    longest_first = sorted(short, key=len, reverse=True)
    # The end of a name must follow: /srv/app is not a prefix of /srv/app2.
    pattern = re.compile(rf"(?<![\w.~/-])({'|'.join(map(re.escape, longest_first))})(/|(?![\w.~-]))")

    def replaced(match: re.Match[str]) -> str:
        prefix, end = short[match[1]], match[2]
        if prefix:
            return prefix + end
        # The directory itself, made relative, would vanish from the sentence that names it.
        return "" if end else "."

    return lambda text: pattern.sub(replaced, _CASE.sub(_case, text))
