"""Write ``docs/reference/real-programs-syncs.md`` from a report of ``test_stores.py`` with the sync audit.

Run as ``python -m scenarios.durability.audit_table REPORT …``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaoskit.core.result import ScenarioResult
from chaoskit.report import read
from chaoskit.report.auditing import AuditRow, audit_rows
from scenarios.durability.stores import STORES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "real-programs-syncs.md"

HEAD = """# What each sync of real programs is good for

For each call by which the stores of [the table of real programs](../explanation/real-programs.md) make
something durable, this is what `--chaoskit-sync-audit` says: *needed* if some power loss breaks the scenario
without it, under the rules of ext4, XFS or btrfs; *superfluous* if none does; *not settled* if none of those
that were tried does, within the budget. A store with known findings is judged by what else breaks.
[Decide on a release](../how-to/release.md#what-is-each-sync-good-for) has more on the words.

```console
$ python -m pytest scenarios/durability --chaoskit-sync-audit --chaoskit-report reports/durability
$ python -m scenarios.durability.audit_table reports/durability
```

| program | sync | calls | states that it prevents | tried | word | without it |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Joined:
    """The rows of one name and word, whatever line of the store's set-up they come from."""

    word: str
    call: str
    syncs: int
    states: int
    checked: int
    harm: str


def joined(rows: tuple[AuditRow, ...]) -> Iterator[Joined]:
    """One row for each name and word, in the order of the first."""
    groups: dict[tuple[str, str], list[AuditRow]] = {}
    for row in rows:
        groups.setdefault((row.word, row.call), []).append(row)
    for (word, call), several in groups.items():
        sums = (sum(row.syncs for row in several), sum(row.states for row in several))
        yield Joined(word, call, *sums, sum(row.checked for row in several), several[0].harm)


def lines(results: Mapping[str, ScenarioResult]) -> Iterator[str]:
    """The lines of the table; a store that was not audited is named as such."""
    for store in STORES:
        result = results.get(store.name)
        rows = tuple(joined(audit_rows(result))) if result is not None and result.syncs is not None else None
        if not rows:
            said = "not audited here" if rows is None else "no sync at all"
            yield f"| {store.name} | {said} | | | | | |"
            continue
        for row in rows:
            # The kind of the error; its text may hold anything.
            harm = row.harm.partition(":")[0]
            counts = f"{row.syncs:,} | {row.states:,} | {row.checked:,}"
            yield f"| {store.name} | `{row.call}` | {counts} | {row.word} | {harm} |"


def main(arguments: list[str]) -> None:
    """Write the page."""
    results = {}
    for name in arguments:
        for entry in read(Path(name)).entries:
            test, _, store = entry.result.nodeid.partition("[")
            if test.endswith("test_what_was_acknowledged_survives_a_power_loss"):
                results[store.removesuffix("]")] = entry.result
    PAGE.write_text(HEAD + "\n".join(lines(results)) + "\n", "utf-8")
    print(PAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
