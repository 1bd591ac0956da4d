"""Hold a model against a mounted file system, with as many generated programs as asked for.

    python scenarios/validation/campaign.py xfs --one all --two 3000 --random 5000 --seconds 600

prints one line of JSON with what was run; each program that left something outside the model is made as
small as it can be and printed. Exit status 1 if there was one. Needs root and /dev/fuse.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
if __name__ == "__main__":
    # As pytest has it: see pythonpath in pyproject.toml.
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "tests" / "support")]

# ruff: noqa: E402

from bed import VARIANTS, Bed, Cut, Execution, Variant, unavailable
from disk_programs import Program
from judging import Judgement
from mounts import hide
from workloads import at_random, of_one, of_two, with_mappings

from chaoskit.explore.crash import MODELS, Model, Snapshot

CUTS = 8
"""Power losses that are looked at for each generated program, of all that its execution holds."""
LOSSY = 2
"""Power losses for each in which the device's own cache was lost in part."""


@dataclass
class Outside:
    """A program that left what the model does not allow; ``program`` was made smaller."""

    original: Program
    program: Program
    cut: Cut
    after: str
    left: str


@dataclass
class Tally:
    """What a campaign has seen. ``legal`` trees were allowed, and ``seen`` of these were found."""

    variant: str
    kernel: str = field(default_factory=platform.release)
    programs: int = 0
    cuts: int = 0
    too_many: int = 0
    outside: list[Outside] = field(default_factory=list)
    legal: int = 0
    seen: int = 0
    seconds: float = 0.0

    @property
    def share(self) -> float:
        """The share of legal states that were seen; it falls when a rule gets too wide."""
        return self.seen / self.legal if self.legal else 1.0

    def line(self) -> str:
        """Everything, as one line of JSON."""
        found = asdict(self) | {"share": round(self.share, 4), "seconds": round(self.seconds, 1)}
        return json.dumps(found | {"outside": [asdict(one) for one in self.outside]})


def campaign(bed: Bed, programs: Iterable[Program], seconds: float | None = None) -> Tally:
    """Run the programs, for so long at most."""
    tally = Tally(bed.variant.name)
    begin = time.monotonic()
    for program in programs:
        tally.seconds = time.monotonic() - begin
        if seconds is not None and tally.seconds > seconds:
            break
        bad = hold(bed, program, tally, most=CUTS)
        if bad is not None:
            tally.outside.append(_smaller(bed, program, bad))
    tally.seconds = time.monotonic() - begin
    return tally


Bad = tuple[Cut, str, str]
"""The cut, the last call that had returned, and what was left."""


def hold(
    bed: Bed,
    program: Program,
    tally: Tally,
    *,
    most: int | None = None,
    slow: float | None = None,
    model: Model | None = None,
) -> Bad | None:
    """Run one program and count it; what is outside the model (by default the variant's), if anything is.

    With ``most`` None every power loss is looked at, and none in which the device's cache was lost.
    """
    chance = random.Random(repr(program))
    execution = bed.run(program, chance, slow)
    return examine(bed, execution, tally, model or MODELS[bed.variant.model], most)


def examine(
    bed: Bed, execution: Execution, tally: Tally, model: Model, most: int | None = None
) -> Bad | None:
    """The same for what has just been executed."""
    judgements = [Judgement(execution, model, grain) for grain in bed.variant.grains]
    chance, found = random.Random(repr(execution.trace)), None
    for cut in execution.cuts(chance, most, LOSSY if most is not None else 0):
        left = bed.left(execution, cut)
        tally.cuts += 1
        verdict = None if left is None else _allowed(judgements, left, cut)
        if left is not None and verdict is None:
            tally.too_many += 1
        elif not verdict and found is None:
            last = execution.last(cut)
            after = str(execution.trace[last]) if last >= 0 else "nothing"
            found = (cut, after, "nothing at all" if left is None else shown(left))
    tally.programs += 1
    tally.legal += len(judgements[0].legal)
    tally.seen += len(judgements[0].seen)
    return found


def _allowed(judgements: list[Judgement], left: Snapshot, cut: Cut) -> bool | None:
    """One of them allows it; None if none does, and one of them cannot say."""
    answers = []
    for judgement in judgements:
        answers.append(judgement.allows(left, cut))
        if answers[-1]:
            return True
    return None if None in answers else False


def _smaller(bed: Bed, program: Program, bad: Bad) -> Outside:
    """The same with as few calls as still leave something outside."""
    kept, where = list(program), 0
    while where < len(kept):
        shorter = (*kept[:where], *kept[where + 1 :])
        # Twice, since a race in the kernel may need a second try.
        tries = (hold(bed, shorter, Tally(bed.variant.name)) for _ in range(2))
        again = next((one for one in tries if one), None)
        if again is None:
            where += 1
        else:
            kept, bad = list(shorter), again
    return Outside(program, tuple(kept), *bad)


def shown(left: Snapshot) -> str:
    """A tree in one line: names, and contents as runs of equal bytes."""
    parts, waiting = [], [("", 0)]
    while waiting:
        path, inode = waiting.pop()
        for name, child in sorted(left.entries.get(inode, {}).items()):
            node = left.nodes[child]
            parts.append(f"{path}{name}={_runs(node.content.read()) or node.kind.value}")
            waiting.append((f"{path}{name}/", child))
    return ", ".join(sorted(parts))


def _runs(content: bytes, most: int = 6) -> str:
    found: list[list[int]] = []
    for byte in content:
        if found and found[-1][0] == byte:
            found[-1][1] += 1
        else:
            found.append([byte, 1])
    text = " ".join(f"{chr(byte) if byte else '0'}*{count}" for byte, count in found[:most])
    return text + (" …" if len(found) > most else "")


def workloads(one: str, two: int, by_chance: int, first: int = 0, mapped: int = 0) -> Iterator[Program]:
    """Workloads of one call, so many of two, and random programs, the seeds beginning at ``first``.

    ``mapped`` more of these store into a mapping.

    ``one`` is how many, ``all``, or a part of all such as ``2/5``.
    """
    every = list(of_one())
    part, _, parts = one.partition("/")
    if parts:
        yield from every[int(part) - 1 :: int(parts)]
    elif one == "all":
        yield from every
    else:
        yield from random.Random(first).sample(every, min(int(one), len(every)))
    yield from map(of_two, range(first, first + two))
    yield from map(at_random, range(first, first + by_chance))
    yield from map(with_mappings, range(first, first + mapped))


@contextlib.contextmanager
def made(variant: Variant) -> Iterator[Bed]:
    """The bed of this variant, in a mount namespace that this process alone has from now on."""
    hide()
    parent = "/dev/shm" if Path("/dev/shm").is_dir() else None
    bed = Bed(variant, Path(tempfile.mkdtemp(prefix="chaoskit-bed-", dir=parent)) / "bed")
    try:
        yield bed
    finally:
        bed.close()
        bed.place.parent.rmdir()


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--one", default="0", help="how many workloads of one call, or all, or a part: 2/5")
    parser.add_argument("--two", type=int, default=0, help="how many of two")
    parser.add_argument("--random", type=int, default=0, help="how many random programs")
    parser.add_argument("--mapped", type=int, default=0, help="how many that store into a mapping")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    given = parser.parse_args(arguments)
    variant: Variant = VARIANTS[given.variant]
    if (reason := unavailable(variant)) is not None:
        print(f"{variant.name}: {reason}", file=sys.stderr)
        return 2
    with made(variant) as bed:
        programs = workloads(given.one, given.two, given.random, given.first, given.mapped)
        tally = campaign(bed, programs, given.seconds)
    print(tally.line())
    return 1 if tally.outside else 0


if __name__ == "__main__":
    sys.exit(main())
