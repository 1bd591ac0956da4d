"""A scenario's result without the secrets that its texts may contain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from chaoskit.core.case import Difference
from chaoskit.core.errors import ScheduleError
from chaoskit.core.evidence import BrokenCase
from chaoskit.core.plain import with_text
from chaoskit.core.result import ScenarioResult
from chaoskit.core.schedule import Schedule
from chaoskit.report.secrets import Secrets, is_secret_file

NOT_SHOWN = "contents not shown: by its name this file may hold secrets"

_WORD = re.compile(r"[^\s'\"\\=:,;{}\[\]()<>]{8,200}")
_TELLING = re.compile(r"[^a-z]")
"""A word of lower-case letters alone is in any file: hiding it everywhere would hide half of the text."""


def concealed(result: ScenarioResult, secrets: Secrets | None) -> ScenarioResult:
    """``result`` as it may be shown: without texts that look secret, and without contents of secret files.

    The content of a file that is secret by its name is hidden wherever else it occurs: an assertion prints
    contents, too. Schedules and test names stay whole, or nothing could be replayed. If ``secrets`` is None
    everything is shown.
    """
    if secrets is None:
        return result
    hide = _hiding(secrets.knowing(_contents(result)))
    cases = tuple(
        case if not case.differences else replace(case, differences=_without_contents(case.differences))
        for case in result.cases
    )
    findings = tuple(
        replace(finding, differences=_without_contents(finding.differences)) for finding in result.findings
    )
    part = None if result.part is None else replace(result.part, broken=_concealed_cases(result.part.broken))
    whole = replace(result, cases=cases, findings=findings, part=part)
    shown: ScenarioResult = with_text(whole, hide, str)
    options = replace(shown.options, test=result.options.test)
    return replace(shown, nodeid=result.nodeid, file=result.file, options=options)


def _concealed_cases(broken: Iterable[BrokenCase]) -> tuple[BrokenCase, ...]:
    return tuple(
        replace(one, case=replace(one.case, differences=_without_contents(one.case.differences)))
        for one in broken
    )


def _hiding(secrets: Secrets) -> Callable[[str], str]:
    # Thousands of cases have the same few texts.
    @lru_cache(maxsize=1 << 14)
    def hide(text: str) -> str:
        return text if _is_schedule(text) else secrets.hide(text)

    return hide


def _is_schedule(text: str) -> bool:
    if "#" not in text or "=" not in text:
        return False
    try:
        return bool(Schedule.parse(text))
    except ScheduleError:
        return False


def _without_contents(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    return tuple(
        replace(one, detail=NOT_SHOWN) if one.detail and is_secret_file(one.path) else one
        for one in differences
    )


def _contents(result: ScenarioResult) -> Iterator[str]:
    """The distinctive words of all contents that must not be shown."""
    several = [*(case.differences for case in result.cases), *(one.differences for one in result.findings)]
    several += [one.case.differences for one in (() if result.part is None else result.part.broken)]
    details = {one.detail for some in several for one in some if one.detail and is_secret_file(one.path)}
    for detail in details:
        yield from (word for word in _WORD.findall(detail) if _TELLING.search(word))
