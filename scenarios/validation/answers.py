"""The rules of a model as a key: what it allows of a corpus of programs, however its code is written.

A record of programs that a model has held against stays good as long as the model gives the same answers. The
text of its code says too little about that: most changes of it change no answer. So the programs of a corpus
are run, and the key is the digest of every tree that is allowed after each of their calls, torn writes
included. A change of a rule changes the key, if the corpus has a program that the rule is about: those
that have refuted a wrong one are in it, and a test plants each wrong rule and sees the key change.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Iterator

from bed import Bed, Execution
from disk_programs import Program
from judging import Judgement
from rules import WRONG
from workloads import at_random, of_one, of_two, with_mappings

from chaoskit.explore.crash import MODELS, Model

_APART = 1_000_000
"""The first seed of the corpus: its programs are none of those that count."""
_EACH_OF_ONE = 20
_MORE: tuple[Program, ...] = (
    (("put", "big", 6000, os.O_TRUNC, ""), ("put", "n", 10, os.O_CREAT, "fsync")),
    (("put", "n", 6000, os.O_CREAT, ""), ("fallocate", "n", 0, 100, 0, 9000), ("truncate", "n", 6000)),
)
"""Programs that two more rules of ext4 are about, and no other one of the corpus."""


def corpus() -> Iterator[Program]:
    """The programs: those of the wrong rules, a part of those of one call, and some of the others."""
    yield from (one.program for one in WRONG.values())
    yield from _MORE
    yield from list(of_one())[::_EACH_OF_ONE]
    yield from map(of_two, range(_APART, _APART + 15))
    yield from map(at_random, range(_APART, _APART + 25))
    yield from map(with_mappings, range(_APART, _APART + 15))


def answers_of(bed: Bed) -> str:
    """The key of the model of a mounted file system: the corpus is run there, on a disk that is not slow."""
    executions = (bed.run(program, random.Random(0), slow=0.0) for program in corpus())
    return key_of(executions, MODELS[bed.variant.model], bed.variant.grains)


def key_of(executions: Iterable[Execution], model: Model, grains: tuple[tuple[int, int], ...]) -> str:
    """The digest of all that ``model`` allows in these executions, with blocks of these sizes."""
    # By name, too: of two rules that say the same of the corpus one may be missing.
    found = hashlib.sha256(repr(sorted(rule.name for rule in model.rules)).encode())
    for execution in executions:
        for grain in grains:
            judgement = Judgement(execution, model, grain)
            for last in range(-1, len(execution.trace)):
                trees = judgement.trees(last)
                found.update(repr(None if trees is None else sorted(trees)).encode())
    return found.hexdigest()[:12]
