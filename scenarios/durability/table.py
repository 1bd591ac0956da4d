"""Write ``docs/explanation/real-programs.md`` from the report of ``test_stores.py``.

Run as ``python -m scenarios.durability.table REPORT.json …``. What the table says is what the report holds;
the column for 2014 is from ALICE (Pillai et al., OSDI 2014, table 3), for the versions of that time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chaoskit.core.finding import Finding
from chaoskit.core.result import ScenarioResult
from chaoskit.report import read
from scenarios.durability.stores import STORES, Store

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "real-programs.md"
MODELS = ("ext4", "xfs", "btrfs")
CONSEQUENCES = {"DataLoss": "data loss", "CannotOpen": "cannot open", "SilentError": "silent error"}
ALICE = {
    "SQLite, delete, synchronous=full": "1",
    "SQLite, wal, synchronous=full": "0",
    "Git, core.fsync=default": "9",
    "Mercurial": "10",
    "LMDB": "1",
    "LevelDB, sync=True": "10 (1.10), 6 (1.15)",
    "GDBM": "5",
}

HEAD = """# What real programs lose when the power goes

Each store below was set up with one value, then asked to keep two more; power was lost at every step, in
every way that the persistence models of ext4, xfs and btrfs allow (within the budget given); then the
store was opened again by its documented means and read. A finding is a call site and a consequence:
**data loss** (a value that the store had acknowledged is gone), **cannot open** (an error, or a crash,
where the values should be), **silent error** (a value that was never put). Each finding can be replayed by
the line that its scenario prints, and was made as small as it can be. Where another file system shows it
only with more missing, there is a line for that too. Each of these crash states was rebuilt from another
recording and confirmed to be one that the rules of the models named allow;
[the evidence](../reference/real-programs-evidence.md) has what is missing in each, and what the store's
documents lead one to expect. The rules are held against mounted file systems (see
[power loss](power-loss.md)).

What else was found in real programs, with a line that replays each, stands on
[another page](../reference/real-programs-found.md): network, clocks, damaged files, memory. What each of
their syncs is good for stands in [another table](../reference/real-programs-syncs.md).

What counts as acknowledged is stricter than what some documents promise: Git's own documents, for
example, say that with the default `core.fsync` a crash may cost recent work. The table says what
happens, not who is to blame.

The table is made by two commands, which anyone can run:

```console
$ python -m pytest scenarios/durability --chaoskit-report reports/durability
$ python -m scenarios.durability.table reports/durability/report.json
```

"""


def rows(results: Mapping[str, ScenarioResult]) -> Iterator[str]:
    """The lines of the table."""
    yield "| program | version | ext4 | xfs | btrfs | states checked of distinct (possible) | ALICE, 2014 |"
    yield "|---|---|---|---|---|---|---|"
    for store in STORES:
        result = results.get(store.name)
        cells = [store.name, store.version() if not store.missing() else "–"]
        if result is None or not result.tried:
            cells += ["not tried here", "", "", ""]
        else:
            cells += [_under(result.findings, model) for model in MODELS]
            cells.append(_counts(result))
        yield "| " + " | ".join((*cells, ALICE.get(store.name, ""))) + " |"


def _counts(result: ScenarioResult) -> str:
    """How many crash states were checked, of those that differ, and how many combinations leave these."""
    states = result.crash_states
    if states is None:
        return ""
    return f"{states.checked:,} of {states.distinct:,} ({states.possible:,})"


def _under(findings: tuple[Finding, ...], model: str) -> str:
    """What was found under one model: consequences with their numbers."""
    counts: dict[str, int] = {}
    for finding in findings:
        if model in finding.models:
            name = CONSEQUENCES.get(finding.failure.name, "cannot open" if _died(finding) else "other")
            counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "none"


def _died(finding: Finding) -> bool:
    return finding.failure.kind in ("death", "hang")


def details(results: Mapping[str, ScenarioResult]) -> Iterator[str]:
    """Each finding: what is to blame, what comes of it, and its schedule."""
    yield "## Each finding"
    for store in STORES:
        result = results.get(store.name)
        if result is None or not result.findings:
            continue
        yield f"\n### {store.name} {_version(store)}\n"
        for finding in result.findings:
            where = ", ".join(finding.models)
            blame = finding.advice.text if finding.advice is not None else finding.failure.message
            consequence = CONSEQUENCES.get(finding.failure.name, finding.failure.kind)
            yield f"- {consequence} under {where}: {blame}. {_schedules(finding)}"


def claims(results: Mapping[str, ScenarioResult]) -> Iterator[str]:
    """The lines of ``known.py``: by schedule, the models for which it stands."""
    for store in STORES:
        result = results.get(store.name)
        for finding in result.findings if result is not None else ():
            consequence = CONSEQUENCES.get(finding.failure.name, "cannot open" if _died(finding) else "other")
            for schedule, models in _by_schedule(finding).items():
                yield f"{store.name}: {consequence} under {', '.join(models)}: {schedule}"


def _by_schedule(finding: Finding) -> dict[str, list[str]]:
    """For each schedule the models for which no simpler one shows the finding; the shown one first."""
    found: dict[str, list[str]] = {finding.schedule: []}
    for model in finding.models:
        found.setdefault(finding.by_model.get(model, finding.schedule), []).append(model)
    return {schedule: models for schedule, models in found.items() if models}


def _schedules(finding: Finding) -> str:
    """The schedule, and further ones for models under which more has to be missing."""
    by_schedule = _by_schedule(finding)
    if len(by_schedule) == 1:
        return f"`{finding.schedule}`"
    return "; ".join(f"{', '.join(models)}: `{schedule}`" for schedule, models in by_schedule.items())


def _version(store: Store) -> str:
    return store.version()


def main(arguments: list[str]) -> None:
    """Write the page."""
    results: dict[str, Any] = {}
    for path in arguments:
        for entry in read(Path(path)).entries:
            if "scenarios/durability/" in entry.result.nodeid:
                name = entry.result.nodeid.partition("[")[2].removesuffix("]")
                results[name] = entry.result
    print(*claims(results), sep="\n")
    lines = [*rows(results), "", *details(results), ""]
    PAGE.write_text(HEAD + "\n".join(lines), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main(sys.argv[1:])
