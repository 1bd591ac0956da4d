"""Within a budget the most suspicious cases come first, and the seed decides among equals."""

from __future__ import annotations

import pytest
from made import operation

from chaoskit.core.operation import Operation
from chaoskit.core.schedule import Schedule
from chaoskit.explore.border import Planned
from chaoskit.explore.choose import choose, ranked


def planned(*schedules: str) -> list[Planned]:
    return [Planned(Schedule.parse(text)) for text in schedules]


def many(call: str, line: int, count: int) -> tuple[list[Planned], list[Operation | None]]:
    struck: list[Operation | None] = [operation(call, "a", line=line)] * count
    return planned(*(f"{call}(a)#{i + 1}=EIO" for i in range(count))), struck


def test_without_a_limit_all_are_taken_in_their_order() -> None:
    """No budget, or one that is large enough, changes nothing."""
    cases, struck = many("write", 1, 5)
    assert choose(cases, struck, None, 0) == choose(cases, struck, 5, 0) == [0, 1, 2, 3, 4]


def test_every_call_site_comes_once_before_any_comes_twice() -> None:
    """A loop of a hundred writes does not use up what is there for three other calls."""
    loop, looped = many("write", 1, 100)
    others = planned("rename(b)#1=EIO", "fsync(c)#1=EIO", "unlink(d)#1=EIO")
    sites = [
        operation("rename", "b", line=2),
        operation("fsync", "c", line=3),
        operation("unlink", "d", line=4),
    ]
    chosen = choose([*loop, *others], [*looped, *sites], 4, 0)
    assert chosen[1:] == [100, 101, 102]


def test_changes_of_the_disk_come_before_reads() -> None:
    """Of call sites that are equally new, those that may lose data are taken."""
    cases = planned("open(a)#1=EIO", "read(a)#1=EIO", "write(a)#1=EIO", "rename(a)#1=EIO")
    struck = [operation(c, "a", line=i) for i, c in enumerate(("open", "read", "write", "rename"), 1)]
    assert choose(cases, struck, 2, 3) == [2, 3]


def test_kinds_of_faults_at_one_site_are_told_apart() -> None:
    """An error and a kill there before a second error, whatever its name."""
    cases = planned("write(a)#1=EIO", "write(a)#2=EIO", "write(a)#1=ENOSPC", "write(a)#1=kill")
    struck = [operation("write", "a", line=1)] * 4
    assert 3 in choose(cases, struck, 2, 0)


def test_b4_errors_of_other_names_come_after_every_site_has_had_one() -> None:
    """Even a budget no larger than the number of calls strikes at each of them."""
    names = ("EIO", "ENOSPC", "EDQUOT", "EROFS")
    sites = [operation("write", "a", line=line) for line in range(1, 9)]
    cases = planned(*(f"write(a)#{i + 1}={name}" for i in range(8) for name in names))
    struck = [site for site in sites for _ in names]
    for seed in range(5):
        assert {index // 4 for index in choose(cases, struck, 8, seed)} == set(range(8))
        assert {index // 4 for index in ranked(cases, struck, seed)[:8]} == set(range(8))


def test_all_errors_of_a_site_differ_before_one_is_repeated() -> None:
    """Of what is left, another error at the same line tells more than the same one in the next turn."""
    cases = planned("write(a)#1=EIO", "write(a)#2=EIO", "write(a)#3=EIO", "write(a)#1=ENOSPC")
    struck = [operation("write", "a", line=1)] * 4
    assert all(3 in choose(cases, struck, 2, seed) for seed in range(5))


@pytest.mark.parametrize("seed", range(5))
def test_equal_seeds_choose_alike_and_others_otherwise(seed: int) -> None:
    """The choice is a function of the seed; all cases have a chance."""
    cases, struck = many("write", 1, 50)
    assert choose(cases, struck, 10, seed) == choose(cases, struck, 10, seed)
    chosen = {index for other in range(60) for index in choose(cases, struck, 10, other)}
    assert chosen == set(range(50))
