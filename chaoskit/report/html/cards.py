"""A finding as a card: what is wrong, where, what struck, what it left, and what to do about it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from markupsafe import Markup

from chaoskit.core.case import Difference
from chaoskit.core.finding import Finding
from chaoskit.core.result import ScenarioResult
from chaoskit.report.document import Entry
from chaoskit.report.explain import as_read, replay_command
from chaoskit.report.html.code import highlighted
from chaoskit.report.visible import on_one_line, visible

CAUSES = {
    "": "it breaks without any fault",
    "stopped": "it is not safe to stop the program here",
    "answered": "the program reports an error and has made matters worse",
    "went on": "the program takes no notice of an error",
    "unsynced": "a power loss takes back what the program relies on",
    "damaged": "the program trusts what it finds",
}
"""The causes of findings in plain words; the first one needs no fault."""

SEVERITIES = {
    "local": "on any machine, with its own disk",
    "share": "only on a network file system",
    "interference": "only where other processes change these names or hold these locks",
}

_SHOWN, _LONGEST = 6, 400


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of source: its number, its text as HTML, and True if it is the line of interest."""

    number: int
    html: Markup
    meant: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs from the baseline; ``lines`` are marked like those of a diff."""

    path: str
    change: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Card:
    """Everything that the page says about one finding, ready to be shown."""

    anchor: str
    finding: Finding
    nodeid: str
    harm: str
    message: str
    place: str
    function: str
    source: tuple[SourceLine, ...]
    receipts: tuple[str, ...]
    changes: tuple[Change, ...]
    more_changes: int
    severity: str
    again: str
    replay: str
    bundle: str
    shown: str
    others: int
    also: tuple[Card, ...] = ()
    """The same finding in other scenarios, in brief."""


def joined(cards: Iterable[Card]) -> list[Card]:
    """One card for each finding: equal ids in several scenarios, as with other parameters, share a card."""
    found: dict[str, list[Card]] = {}
    for one in cards:
        found.setdefault(one.finding.id or one.anchor, []).append(one)
    return [replace(first, also=tuple(others)) for first, *others in found.values()]


def card(entry: Entry, finding: Finding) -> Card:
    """The card of one finding."""
    result = entry.result
    site = finding.excerpt.site if finding.excerpt is not None else finding.site
    message = finding.failure.message or finding.failure.name
    # Accepted findings need no fix, and there may be a hundred: without details the page stays small.
    shown = 1 if finding.known else _SHOWN
    return Card(
        anchor=anchor(result, finding),
        finding=finding,
        nodeid=result.nodeid,
        harm=CAUSES.get(finding.cause if finding.schedule else "", f"a case is {finding.verdict}"),
        message=_short(next(iter(visible(message).splitlines()), "")),
        place=f"{site.file}:{site.line}" if site else "",
        function=site.function if site else "",
        source=tuple(_source(finding)),
        receipts=tuple(_receipts(result, finding)),
        changes=tuple(map(_change, finding.differences[:shown])),
        more_changes=max(0, len(finding.differences) - shown),
        severity=f"{finding.fault_class}: {SEVERITIES[finding.fault_class]}",
        again=_again(finding),
        replay=replay_command(result, finding.schedule),
        bundle=f"chaoskit bundle {finding.id}" if finding.id else "",
        shown=as_read(finding.schedule),
        others=len(finding.schedules) - 1,
    )


def anchor(result: ScenarioResult, finding: Finding) -> str:
    """The anchor of a card on the page; a finding may be in several scenarios, whose names are long."""
    where = hashlib.blake2b(result.nodeid.encode("utf-8", "backslashreplace"), digest_size=4).hexdigest()
    return f"f-{finding.id or finding.index}-{where}"


def _again(finding: Finding) -> str:
    if finding.reproduced is None:
        return "run once"
    return "reproduced 2 of 2" if finding.reproduced else "unstable: it did not show when run once more"


def _source(finding: Finding) -> Iterator[SourceLine]:
    found = finding.excerpt
    if found is None:
        if finding.site is not None and finding.source and finding.source[0]:
            yield SourceLine(finding.site.line, highlighted((finding.source[0],))[0], meant=True)
        return
    for number, html in enumerate(highlighted(found.lines), found.first):
        yield SourceLine(number, html, number == found.site.line)


def _receipts(result: ScenarioResult, finding: Finding) -> Iterator[str]:
    case = next((case for case in result.cases if case.schedule == finding.schedule), None)
    for run in case.runs if case is not None else ():
        for receipt in run.receipts:
            yield visible(f"{receipt.operation}, {receipt.effect}")


def _change(one: Difference) -> Change:
    lines = [("-", one.expected), ("+", one.found)]
    if parts := re.fullmatch(r"expected (.+?), found (.+)", one.detail, re.DOTALL):
        lines += [("-", parts[1]), ("+", parts[2])]
    elif one.detail:
        lines.append((" ", one.detail))
    shown = tuple((sign, _short(on_one_line(text))) for sign, text in lines if text)
    return Change(on_one_line(one.path), one.change, shown)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
