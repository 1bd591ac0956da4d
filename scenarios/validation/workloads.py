"""Generated programs: every single call with every kind of sync, pairs of these, random ones, and mappings.

Bounded workloads in the manner of ACE (Mohan et al., "Finding Crash-Consistency Bugs with Bounded Black-Box
Crash Testing", OSDI 2018): few calls on few files, with a sync after each. Their pairs are sampled.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

from disk_programs import Call, Program

KEEP, PUNCH, ZERO = 0x01, 0x02, 0x10
"""Modes of fallocate(2)."""
_CREATE, _APPEND, _EMPTY = os.O_CREAT, os.O_CREAT | os.O_APPEND, os.O_CREAT | os.O_TRUNC


def singles() -> Iterator[tuple[str, Call]]:
    """Every call by itself, with the file or directory that it is about."""
    for name in ("n", "d/n"):
        for size in (0, 3, 5000, 12288):
            yield name, ("put", name, size, _CREATE, "")
    for name in ("a", "big", "part"):
        for offset, size in (
            (0, 100),
            (0, 4096),
            (50, 100),
            (4000, 200),
            (4096, 4096),
            (8192, 100),
            (0, 12288),
        ):
            yield name, ("overwrite", name, offset, size)
        for size in (3, 100, 5000):
            yield name, ("put", name, size, _APPEND, "")
        for size in (100, 5000):
            yield name, ("put", name, size, _EMPTY, "")
        for size in (0, 50, 4096, 5000, 6000, 12000):
            yield name, ("truncate", name, size)
    for name in ("big", "part", "n"):
        for mode in (0, KEEP, PUNCH | KEEP, ZERO, ZERO | KEEP):
            for offset, size in ((0, 4096), (4000, 5000), (8192, 8192)):
                yield name, ("fallocate", name, offset, size, mode, 0)
    for one, other in (
        ("a", "b"), ("a", "part"), ("a", "d/n"), ("d/f", "a"), ("d/f", "e/n"), ("d/f", "n"), ("big", "a"),
        ("d", "x"), ("d", "e/x"),
    ):  # fmt: skip
        yield other, ("rename", one, other)
    yield "big", ("exchange", "a", "big")
    yield "d/f", ("exchange", "a", "d/f")
    for one, other in (("a", "b"), ("a", "d/n"), ("d/f", "n")):
        yield other, ("link", one, other)
    yield from ((name, ("unlink", name)) for name in ("a", "big", "d/f"))
    yield from ((name, ("mkdir", name)) for name in ("x", "d/x"))
    yield from ((name, ("symlink", name)) for name in ("s", "d/s"))
    yield "e", ("rmdir", "e")
    yield from ((name, ("chmod", name, 0o700)) for name in ("a", "d/f", "d"))
    yield from (("a", ("setxattr", "a", "user.p", size)) for size in (4, 60))
    yield from (("big", ("store", "big", at, size, False)) for at, size in ((0, 10), (4000, 3000)))
    yield from (("big", ("direct", "big", at, size)) for at, size in ((0, 4096), (4096, 8192), (8192, 4096)))
    yield "n", ("direct", "n", 0, 4096)


SYNCS = (
    "nothing",
    "fsync",
    "fdatasync",
    "fsync of the directory",
    "fsync of another file",
    "syncfs",
    "commit",
)


def synced(name: str, sync: str) -> Program:
    """One kind of sync after a call about ``name``; the last kind is the kernel's own, of all metadata."""
    directory = os.path.dirname(name) or "."
    return {
        "nothing": (),
        "fsync": (("sync", name, False),),
        "fdatasync": (("sync", name, True),),
        "fsync of the directory": (("sync", directory, False),),
        "fsync of another file": (("put", "other", 5000, _CREATE, "fsync"),),
        "syncfs": (("syncfs",),),
        "commit": (("~write-back", name), ("~commit",)),
    }[sync]


def of_one() -> Iterator[Program]:
    """All workloads of one call."""
    for name, call in singles():
        for sync in SYNCS:
            yield (call, *synced(name, sync))


def of_two(seed: int) -> Program:
    """One workload of two calls, each with a sync after it."""
    chance, calls = random.Random(f"two {seed}"), list(singles())
    program: Program = ()
    for _ in range(2):
        name, call = chance.choice(calls)
        program += (call, *synced(name, chance.choice(SYNCS)))
    return program


_NAMES = ("a", "big", "part", "n", "m", "d/f", "d/n", "e/n")
_DIRECTORIES = (".", "d", "e", "x", "d/x")
_SIZES = (3, 100, 600, 4096, 5000, 8192, 12288)
_OFFSETS = (0, 0, 50, 100, 4000, 4096, 5000, 8192, 10000)
_FLAGS = (
    0, 0, _CREATE, _CREATE, _EMPTY, _EMPTY, _APPEND,
    _CREATE | os.O_DSYNC, _CREATE | os.O_SYNC, _CREATE | os.O_EXCL,
)  # fmt: skip
_WEIGHTS = {
    "put": 18, "open": 8, "write": 12, "close": 5, "rename": 14, "exchange": 2, "link": 5, "symlink": 2,
    "mkdir": 5, "rmdir": 2, "unlink": 7, "setxattr": 3, "removexattr": 1, "chmod": 3, "truncate": 6,
    "fallocate": 6, "fsync": 6, "fdatasync": 3, "sync": 10, "range": 2, "store": 3, "direct": 2,
    "rename directory": 4, "syncfs": 1,
}  # fmt: skip


def at_random(seed: int) -> Program:
    """A program of three to eight calls, with hidden write-back and commits between them."""
    chance = random.Random(f"random {seed}")
    calls: list[Call] = []
    slots = 0
    for _ in range(chance.randint(3, 8)):
        (kind,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        if kind == "open":
            calls.append((kind, slots, chance.choice(_NAMES), chance.choice(_FLAGS)))
            slots += 1
        else:
            calls.append(_random_call(kind, chance, chance.randrange(slots) if slots else 0))
        if chance.random() < 0.18:
            calls.append(("~write-back", chance.choice(_NAMES)))
        if chance.random() < 0.12:
            calls.append(("~commit",))
    return tuple(calls)


_PAGES = (0, 4096, 8192, 12288)
_MAPPED_WEIGHTS = {
    "store into": 14, "msync": 9, "overwrite": 3, "append": 2, "truncate": 1, "fallocate": 1, "fsync": 1,
    "fdatasync": 1, "rename": 2, "chmod": 1, "sync": 2,
}  # fmt: skip


def with_mappings(seed: int) -> Program:
    """A program that stores into a shared mapping and syncs parts of it, with hidden calls in between."""
    chance = random.Random(f"mapped {seed}")
    name = chance.choice(("big", "big", "part", "n", "n", "n"))
    calls: list[Call] = []
    if name == "n":
        calls.append(
            ("put", name, chance.choice((5000, 16384, 16384)), _CREATE, chance.choice(("", "fsync")))
        )
    calls.append(("map", 0, name))
    for _ in range(chance.randint(3, 7)):
        (kind,) = chance.choices(list(_MAPPED_WEIGHTS), list(_MAPPED_WEIGHTS.values()))
        calls.append(_mapped_call(kind, chance, name))
        if chance.random() < 0.15:
            calls.append((chance.choice(("~write-back", "~begin write-back")), name))
        if chance.random() < 0.1:
            calls.append(("~commit",))
    return tuple(calls)


def _mapped_call(kind: str, chance: random.Random, name: str) -> Call:
    pick = chance.choice
    return {
        "store into": lambda: (kind, 0, pick(_PAGES) + pick((0, 0, 50, 4000)), pick((10, 100, 3000))),
        "msync": lambda: (kind, 0, pick(_PAGES), pick((1, 1024, 4096, 4096, 5000, 8192))),
        "overwrite": lambda: (kind, name, pick(_OFFSETS), pick((100, 4096))),
        "append": lambda: ("put", name, pick((100, 5000)), _APPEND, ""),
        "truncate": lambda: (kind, name, pick((4096, 5000, 12000))),
        "fallocate": lambda: (kind, name, pick(_PAGES), 4096, pick((PUNCH | KEEP, ZERO)), 0),
        "fsync": lambda: (kind, 0),
        "fdatasync": lambda: (kind, 0),
        "rename": lambda: (kind, name, pick(("a", "m", "d/n"))),
        "chmod": lambda: (kind, name, pick((0o600, 0o755))),
        "sync": lambda: (kind, pick((".", "a", "d")), False),
    }[kind]()


def _random_call(kind: str, chance: random.Random, slot: int) -> Call:
    name, second, pick = chance.choice(_NAMES), chance.choice(_NAMES), chance.choice
    place = pick(("x", "d/x", "e/x"))
    return {
        "put": lambda: (kind, name, pick(_SIZES), pick(_FLAGS), pick(("", "", "", "fsync", "fdatasync"))),
        "write": lambda: (kind, slot, pick(_SIZES), pick((None, pick(_OFFSETS), pick(_OFFSETS)))),
        "close": lambda: (kind, slot),
        "fsync": lambda: (kind, slot),
        "fdatasync": lambda: (kind, slot),
        "range": lambda: (kind, slot, pick(_OFFSETS), 8192),
        "rename": lambda: (kind, name, second),
        "exchange": lambda: (kind, name, second),
        "link": lambda: (kind, name, second),
        "rename directory": lambda: ("rename", pick(_DIRECTORIES[1:]), pick((place, "y"))),
        "symlink": lambda: (kind, pick(("s", "d/s", "e/s"))),
        "mkdir": lambda: (kind, place),
        "rmdir": lambda: (kind, pick((place, "e"))),
        "unlink": lambda: (kind, name),
        "setxattr": lambda: (kind, name, pick(("user.p", "user.q")), pick((4, 60))),
        "removexattr": lambda: (kind, name, pick(("user.p", "user.q"))),
        "chmod": lambda: (kind, name, pick((0o600, 0o755))),
        "truncate": lambda: (kind, name, pick((0, 50, 4096, 5000, 6000, 12000))),
        "fallocate": lambda: (
            kind, name, pick(_OFFSETS), pick((100, 4096, 5000, 8192)),
            pick((0, KEEP, PUNCH | KEEP, ZERO, ZERO | KEEP)), pick((0, 0, pick(_SIZES))),
        ),
        "store": lambda: (kind, name, pick(_OFFSETS), pick((10, 3000)), chance.random() < 0.4),
        "direct": lambda: (kind, name, pick((0, 4096, 8192)), pick((4096, 8192))),
        "sync": lambda: (kind, pick((name, second, ".", "d", "e", "x")), chance.random() < 0.3),
        "syncfs": lambda: (kind,),
    }[kind]()  # fmt: skip
