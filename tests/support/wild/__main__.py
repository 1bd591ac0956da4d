"""Play programs in a cage, and print what differs: ``python -m wild --count 1000``."""

from __future__ import annotations

import argparse
import json
import os
import sys

from wild import caging
from wild.comparing import Stage
from wild.plants import PLANTS
from wild.programs import Draw, Program, parse
from wild.reducing import reduced


def main() -> int:
    """Play, print one line in JSON for each program that differs, and one with the counts at the end."""
    options = _options()
    if options.plant:
        PLANTS[options.plant].put_back()
    place = caging.enter(options.place, memory=options.memory, parent=os.getppid())
    # Once, for all that is imported late: another user may not be allowed to read it.
    Stage(place)
    if options.user:
        caging.become_user()
    stage = Stage(place)
    given = [(0, parse(text)) for text in options.program]
    programs = given or (
        (seed, Draw(seed).program()) for seed in range(options.first, options.first + options.count)
    )
    played = differing = 0
    for seed, program in programs:
        played += 1
        found = stage.differences(program, seed, options.way)
        if found:
            differing += 1
            if options.reduce:
                program = _shortest(stage, program, seed)
                found = stage.differences(program, seed) or found
            line = {"seed": seed, "differs": [str(one) for one in found], "program": program.text()}
            print(json.dumps(line), flush=True)
        if differing >= options.most:
            break
    print(
        json.dumps({"played": played, "differing": differing, "hung": stage.hung, "unsteady": stage.unsteady})
    )
    return 0


def _shortest(stage: Stage, program: Program, seed: int) -> Program:
    return reduced(program, lambda shorter: bool(stage.differences(shorter, seed)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m wild", description=__doc__)
    parser.add_argument("--place", required=True, help="an empty directory that may be filled")
    parser.add_argument("--memory", action="store_true", help="on a file system in memory, if root")
    parser.add_argument("--disk", dest="memory", action="store_false", help="where the place is")
    parser.add_argument("--user", action="store_true", help="as another user than root, if root")
    parser.add_argument("--root", dest="user", action="store_false", help="as the user that this is")
    parser.add_argument("--plant", choices=PLANTS, help="put a defect back")
    parser.add_argument("--way", action="append", default=[], help="'recorded', or a schedule; default: both")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=100, help="how many programs")
    parser.add_argument("--most", type=int, default=20, help="after how many that differ to end")
    parser.add_argument("--program", action="append", default=[], help="one, as it was printed; repeatable")
    parser.add_argument(
        "--no-reduce", dest="reduce", action="store_false", help="leave programs as long as they are"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
