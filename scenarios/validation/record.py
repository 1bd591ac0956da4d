"""Sum up over several runs how many generated programs each model has held against.

    python scenarios/validation/record.py run xfs --seconds 600
    python scenarios/validation/record.py show

``run`` goes on where the record of this file system ends, and writes down each hundred programs as they
are done, so a run may be ended at any time. ``show`` prints the sums as the tables of
docs/explanation/power-loss.md, which a test compares with the record. Programs are numbered, and no number
counts twice, on whichever kernel it was run: each line says on which. What was run with other rules or
another generator does not count together: a change of what a model allows begins a new record, and
``earlier.jsonl`` has the sums of those before. A change that only allows more leaves
what was inside there, so the lines may be given the new key by hand, by a commit that says why.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
if __name__ == "__main__":
    # As pytest has it: see pythonpath in pyproject.toml.
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

# ruff: noqa: E402

from answers import answers_of
from bed import VARIANTS, Bed, unavailable
from campaign import Tally, campaign, made
from workloads import at_random, of_one, of_two, with_mappings

RECORDS = HERE / "records"
GOALS = {"one": len(list(of_one())), "two": 3000, "random": 5000, "mapped": 1000}
"""Workloads of one call: all; samples of two; random programs; those that store into a mapping."""
_CHUNK = 100
"""Programs between two lines of the record: what a run that is ended loses at most."""
_TITLES = {
    "ext4": "ext4, 4 KiB blocks",
    "ext4-1k": "ext4, 1 KiB blocks",
    "xfs": "xfs",
    "btrfs": "btrfs",
}


@dataclass(frozen=True)
class Part:
    """The programs ``first`` to ``end`` (without it) of one kind, and what they have shown.

    ``untold`` power losses could not be judged: the model allows too many states there. ``rules`` is
    :func:`rules`, ``runs`` the number of runs that these programs were spread over.
    """

    kind: str
    first: int
    end: int
    kernel: str
    rules: str
    cuts: int
    outside: tuple[Any, ...]
    untold: int
    legal: int
    seen: int
    seconds: float
    runs: int = 1

    def joined(self, other: Part, runs: int) -> Part:
        """Both together, where ``other`` goes on with what this one ends with."""
        return dataclasses.replace(
            self,
            end=other.end,
            cuts=self.cuts + other.cuts,
            outside=(*self.outside, *other.outside),
            untold=self.untold + other.untold,
            legal=self.legal + other.legal,
            seen=self.seen + other.seen,
            seconds=round(self.seconds + other.seconds, 1),
            runs=runs,
        )


@dataclass(frozen=True)
class Earlier:
    """The sums of a record that a change of the models has ended.

    ``programs`` are counts by kind; ``outside`` has what was left that the models did not allow then.
    """

    variant: str
    programs: dict[str, int]
    kernel: str
    rules: str
    cuts: int
    outside: tuple[Any, ...]
    untold: int
    legal: int
    seen: int
    seconds: float


def rules(bed: Bed) -> str:
    """A digest of what decides whether a program holds there: what the model allows, and how that is tried.

    Of the models only their answers count, and of the generator, the device and the comparison their text,
    without comments and docstrings.
    """
    found = hashlib.sha256(answers_of(bed).encode())
    for name in ("bed", "device", "disk_programs", "judging", "workloads"):
        found.update(f"{name}\n{_without_words((HERE / f'{name}.py').read_text())}\n".encode())
    return found.hexdigest()[:12]


def _without_words(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
            ] or [ast.Pass()]
    return ast.unparse(tree)


def read(name: str, records: Path = RECORDS) -> list[Part]:
    """The record of one variant of :data:`bed.VARIANTS`; empty if there is none.

    Raises ValueError if a program counts twice.
    """
    path = records / f"{name}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    parts = [Part(**{**json.loads(line), "outside": tuple(json.loads(line)["outside"])}) for line in lines]
    for number, part in enumerate(parts):
        for other in parts[:number]:
            same = (part.kind, part.rules) == (other.kind, other.rules)
            if same and part.first < other.end and other.first < part.end:
                raise ValueError(
                    f"{path}: programs {part.kind} {part.first} to {part.end} count twice: remove one line"
                )
    return parts


def write(name: str, parts: Iterable[Part], records: Path = RECORDS) -> None:
    """Put the whole record of a variant in place."""
    records.mkdir(exist_ok=True)
    draft = records / f"{name}.jsonl.tmp"
    draft.write_text("".join(json.dumps(dataclasses.asdict(part)) + "\n" for part in parts))
    os.replace(draft, records / f"{name}.jsonl")


def missing(parts: Iterable[Part]) -> Iterator[tuple[str, int, int]]:
    """The next programs to run, each time of the kind of which the smallest share is done."""
    done = {kind: max((p.end for p in parts if p.kind == kind), default=0) for kind in GOALS}
    while any(done[kind] < GOALS[kind] for kind in GOALS):
        kind = min(GOALS, key=lambda one: done[one] / GOALS[one])
        end = min(done[kind] + _CHUNK, GOALS[kind])
        yield kind, done[kind], end
        done[kind] = end


def run(bed: Bed, seconds: float, records: Path = RECORDS) -> bool:
    """Go on for about so long; False as soon as a program has left something outside the model."""
    name, stamp, kernel = bed.variant.name, rules(bed), platform.release()
    begin, one, joining = time.monotonic(), list(of_one()), set[str]()
    parts = read(name, records)
    current = [part for part in parts if part.rules == stamp]
    for kind, first, end in missing(current):
        if time.monotonic() - begin > seconds:
            break
        programs = {"one": one.__getitem__, "two": of_two, "random": at_random, "mapped": with_mappings}[kind]
        tally = campaign(bed, map(programs, range(first, end)))
        part = _part(kind, first, end, stamp, kernel, tally)
        last = next(
            (p for p in parts if (p.kind, p.rules, p.kernel, p.end) == (kind, stamp, kernel, first)), None
        )
        if last is None:
            parts.append(part)
        else:
            parts[parts.index(last)] = last.joined(part, last.runs + (kind not in joining))
        joining.add(kind)
        write(name, parts, records)
        print(
            f"{name}: {kind} {first} to {end}, {len(tally.outside)} outside, {tally.seconds:.0f} s",
            flush=True,
        )
        if tally.outside:
            return False
    return True


def _part(kind: str, first: int, end: int, stamp: str, kernel: str, tally: Tally) -> Part:
    outside = tuple(dataclasses.asdict(one) for one in tally.outside)
    figures = (tally.cuts, outside, tally.too_many, tally.legal, tally.seen, round(tally.seconds, 1))
    return Part(kind, first, end, kernel, stamp, *figures)


def earlier(records: Path = RECORDS) -> list[Earlier]:
    """The sums of the records before this one."""
    path = records / "earlier.jsonl"
    lines = map(json.loads, path.read_text().splitlines() if path.exists() else ())
    return [Earlier(**{**line, "outside": tuple(line["outside"])}) for line in lines]


def summed(name: str, records: Path = RECORDS) -> Earlier:
    """The sums of one record, of its newest rules."""
    parts = read(name, records)
    newest = [p for p in parts if p.rules == parts[-1].rules]
    return Earlier(
        name,
        {kind: sum(p.end - p.first for p in newest if p.kind == kind) for kind in GOALS},
        ", ".join(sorted({p.kernel for p in newest})),
        newest[-1].rules if newest else "",
        sum(p.cuts for p in newest),
        tuple(one for p in newest for one in p.outside),
        *(sum(getattr(p, name) for p in newest) for name in ("untold", "legal", "seen", "seconds")),
    )


def table(sums: Iterable[Earlier]) -> str:
    """Sums in Markdown, one line for each file system."""
    kinds = {"one": "one call", "two": "two calls", "random": "random", "mapped": "mappings"}
    columns = (*kinds.values(), "power losses", "outside the model", "legal states seen")
    rows = ["| file system | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for one in sums:
        counts = " | ".join(f"{count:,}" for count in (*(one.programs.get(k, 0) for k in kinds), one.cuts))
        told = f"{len(one.outside)}" + (f"; {one.untold} cannot be told" if one.untold else "")
        seen = f"{100 * one.seen / max(one.legal, 1):.0f} %"
        rows.append(f"| {_TITLES[one.variant]} | {counts} | {told} | {seen} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show", help="print the sums")
    going = commands.add_parser("run", help="go on where the record ends")
    going.add_argument("variant", choices=_TITLES)
    going.add_argument("--seconds", type=float, default=600.0, help="stop after about so long")
    given = parser.parse_args(arguments)
    if given.command == "show":
        print(table(map(summed, _TITLES)), table(earlier()), sep="\n\n")
        return 0
    variant = VARIANTS[given.variant]
    if (reason := unavailable(variant)) is not None:
        print(f"{variant.name}: {reason}", file=sys.stderr)
        return 2
    with made(variant) as bed:
        return 0 if run(bed, given.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
