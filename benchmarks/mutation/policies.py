"""Mutation of the policy half of the runtime: every mutant is one small change that some test has to notice.

    python benchmarks/mutation/policies.py [--group NAME ...] [--only MODULE ...] [--again] [--write]

Each group of modules is run in forks of one process that has collected the group's tests; what changes at
import, and what survives, is run once more from the start, on a copy. ``--results`` keeps a line for each
mutant, so that a run can be ended and gone on with: mutants that it has are not run again, or, with
``--again``, those alone that were not killed. ``--write`` makes ``results/mutation.md`` of it. Exits with 1
if fewer than 95 % of those that are not equivalent are killed; ``equivalent.txt`` argues each of these.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forked import AT_IMPORT, KILLED, SURVIVED, TIMED_OUT, UNREACHED, Forked
from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "chaoskit" / "runtime"
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
TABLE = ROOT / "benchmarks" / "results" / "mutation.md"
GATE = 0.95


class Group(NamedTuple):
    modules: str
    """Files below ``chaoskit/runtime``, or patterns of them."""
    tests: str
    """Files and folders below ``tests/runtime`` that stand for them."""


GROUPS: Mapping[str, Group] = {
    "retrying": Group(
        "retrying/*.py deadlines.py",
        "retrying test_deadline.py test_forked.py calling/test_transparency.py "
        "calling/test_limited_blocks.py calling/test_loops.py calling/test_recovery_steps.py "
        "observing/test_default_lines.py",
    ),
    "breaker": Group(
        "breaker/*.py",
        "breaker failures/test_read_late.py test_forked.py calling/test_transparency.py "
        "observing/test_default_lines.py",
    ),
    "calling": Group(
        "calling/*.py timers.py stop.py numbers.py kinds.py locks.py",
        "calling test_numbers.py test_kinds.py test_wrong_kinds.py test_interrupted_anywhere.py "
        "test_deadline.py test_forked.py running/test_stopping.py observing/test_default_lines.py "
        "test_nothing_is_ignored.py",
    ),
    "running": Group("running/*.py", "running calling/test_loops.py"),
    "failures": Group("failures/*.py", "failures"),
    "recovering": Group("recovering/*.py", "recovering calling/test_recovery_steps.py"),
    "transports": Group("transports/*.py", "transports"),
    "redaction": Group("redact.py secret_*.py", "test_redact.py"),
}


def modules_of(group: Group) -> list[Path]:
    return sorted(
        path for one in group.modules.split() for path in RUNTIME.glob(one) if path.name != "__init__.py"
    )


def run_group(group: Group, todo: Sequence[Mutant], results: Path) -> None:
    """In a child, so that the next group starts with modules of its own."""
    child = os.fork()
    if not child:
        os.chdir(ROOT)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        tests = [f"tests/runtime/{one}" for one in group.tests.split()]
        with tempfile.TemporaryDirectory() as place:
            plain = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--basetemp", f"{place}/tests"]
            # A stuck mutant must not be waited for; nothing else is wanted of the process that collects.
            pytest.main([*plain, *tests], plugins=[Forked(RUNTIME, todo, results)])
        os._exit(0)
    os.waitpid(child, 0)


def run_from_the_start(mutant: Mutant, tests: Sequence[str], copy: Path) -> str:
    """The verdict on a mutant that stands in a file when the tests start."""
    path = copy / "chaoskit" / "runtime" / mutant.module
    whole = path.read_text("utf-8")
    path.write_text(ast.unparse(mutant.tree()), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider"]
    files = [str(copy / Path(one).relative_to(ROOT)) for one in tests]
    done = subprocess.Popen(
        [*command, "--basetemp", str(copy / "tmp"), *files],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return SURVIVED if done.wait(timeout=300) not in (1, 2, 3, 4) else KILLED
    except subprocess.TimeoutExpired:
        os.killpg(done.pid, signal.SIGKILL)
        done.wait()
        return TIMED_OUT
    finally:
        path.write_text(whole, "utf-8")


def read(results: Path) -> tuple[dict[str, dict[str, Any]], dict[str, set[str]]]:
    """The last line of each mutant, and the test files that reach each module."""
    verdicts: dict[str, dict[str, Any]] = {}
    tests: dict[str, set[str]] = defaultdict(set)
    for line in results.read_text().splitlines() if results.exists() else ():
        told = json.loads(line)
        if "key" in told:
            verdicts[told["key"]] = told
        else:
            tests[told["module"]] |= set(told["tests"])
    return verdicts, tests


def equivalent() -> dict[str, str]:
    """The reason for each mutant that no caller can tell from the original."""
    lines = EQUIVALENT.read_text().splitlines() if EQUIVALENT.exists() else []
    pairs = [line.split(" ## ") for line in lines if " ## " in line]
    return {key.strip(): reason.strip() for key, reason in pairs}


def planted(paths: Iterable[Path]) -> Iterator[Mutant]:
    for path in paths:
        yield from mutants(str(path.relative_to(RUNTIME)), path.read_text("utf-8"))


def finish(todo: Sequence[Mutant], results: Path) -> None:
    """Run from the start what the forks could not decide, or did not notice."""
    verdicts, tests = read(results)
    open_ones = [one for one in todo if verdicts[one.key]["verdict"] in (AT_IMPORT, SURVIVED, UNREACHED)]
    known = equivalent()
    with tempfile.TemporaryDirectory() as directory, results.open("a") as lines:
        copy = Path(directory)
        for name in ("chaoskit", "tests", "conftest.py", "pyproject.toml"):
            source = ROOT / name
            shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
        for mutant in open_ones:
            if mutant.key in known:
                continue
            verdict = run_from_the_start(mutant, sorted(tests[mutant.module]), copy)
            told = {"key": mutant.key, "line": mutant.line, "verdict": verdict, "by": "from the start"}
            lines.write(json.dumps(told) + "\n")
            lines.flush()
            if verdict == SURVIVED:
                print(f"{mutant.module}:{mutant.line}: {mutant.change}", flush=True)


def table(todo: Sequence[Mutant], results: Path) -> tuple[str, float]:
    """The table of ``results/mutation.md``, and the share that is killed."""
    verdicts, _ = read(results)
    known = equivalent()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    survivors, same = [], []
    for mutant in todo:
        counts[mutant.module]["planted"] += 1
        verdict = verdicts.get(mutant.key, {}).get("verdict", AT_IMPORT)
        if verdict == AT_IMPORT and mutant.key not in known:
            continue
        counts[mutant.module]["tried"] += 1
        if verdict in (KILLED, TIMED_OUT):
            counts[mutant.module]["killed"] += 1
            counts[mutant.module][verdict] += verdict == TIMED_OUT
        elif mutant.key in known:
            counts[mutant.module]["equivalent"] += 1
            same.append((mutant, known[mutant.key]))
        else:
            counts[mutant.module]["survived"] += 1
            survivors.append(mutant)
    total = sum(counts.values(), Counter())
    share = total["killed"] / max(1, total["tried"] - total["equivalent"])
    rows = [
        f"| {name} | {one['planted']} | {one['tried']} | {one['killed']} | {one['equivalent']} | "
        f"{one['survived']} | {one['killed'] / max(1, one['tried'] - one['equivalent']):.1%} |"
        for name, one in [*((f"`{module}`", one) for module, one in counts.items()), ("**all**", total)]
        if one["tried"]
    ]
    said = [
        "# Mutation of the policy half of the runtime",
        "",
        f"Made by `benchmarks/mutation/policies.py --write` on CPython {platform.python_version()}, which",
        "says how. Planted are flipped comparisons and operators, negated conditions, lost returns, other",
        "numbers and booleans, dropped `not`, exchanged `break` and `continue`, and calls left out. Texts",
        "are not changed. Where fewer are tried than there are, it is a sample that a seed has drawn.",
        f"{total[TIMED_OUT]} of the killed ones were ended by a time limit: the tests did not end.",
        "",
        "| module | mutants | tried | killed | equivalent | survived | killed of the others |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *rows,
        "",
        "## Survived",
        "",
        *([f"- `{one.module}:{one.line}`: `{one.change}`" for one in survivors] or ["None."]),
        "",
        "## Equivalent",
        "",
        *([f"- `{one.module}:{one.line}`: `{one.change}`: {reason}" for one, reason in same] or ["None."]),
    ]
    return "\n".join(said) + "\n", share


def main() -> int:
    """Run the mutants; 1 if too many survive."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--group", action="append", choices=GROUPS, help="these groups; all by default")
    parser.add_argument(
        "--only", action="append", help="these modules of the groups, such as calling/loops.py"
    )
    parser.add_argument("--sample", type=int, help="so many of a group's mutants, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="run those again that were not killed")
    parser.add_argument(
        "--forks-only", action="store_true", help="leave out the mutants that need a process started for each"
    )
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--write", action="store_true", help="only write the table of what is in the results")
    options = parser.parse_args()
    everything: list[Mutant] = []
    for name in options.group or GROUPS:
        group = GROUPS[name]
        paths = modules_of(group)
        all_of_it = [one for one in planted(paths) if not options.only or one.module in options.only]
        everything += all_of_it
        if options.write:
            continue
        done, _ = read(options.results)
        if options.again:
            verdicts = {one.key: done[one.key]["verdict"] for one in all_of_it if one.key in done}
            todo = [one for one in all_of_it if verdicts.get(one.key, KILLED) not in (KILLED, TIMED_OUT)]
        else:
            todo = [one for one in all_of_it if one.key not in done]
        if options.sample:
            todo = random.Random(options.seed).sample(todo, min(options.sample, len(todo)))
        run_group(group, todo, options.results)
        if not options.forks_only:
            finish(todo, options.results)
    text, share = table(everything, options.results)
    if options.write:
        TABLE.write_text(text)
    print(text.split("## Equivalent")[0])
    return int(share < GATE)


if __name__ == "__main__":
    sys.exit(main())
