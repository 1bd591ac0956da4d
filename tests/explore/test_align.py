"""Two recordings of one test: what varies gets a wildcard, what still differs is told."""

from __future__ import annotations

import random
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import operation, saving, trace

from chaoskit.core.operation import InsideDetail, Place
from chaoskit.core.schedule import Schedule, matcher
from chaoskit.explore.align import align, pattern_for, unaligned
from chaoskit.faults.shapes import shape_of
from chaoskit.inject.armed import Armed


def test_equal_recordings_have_no_wildcards_and_no_variations() -> None:
    """Two recordings that are alike give every point its plain name, all of them stable."""
    aligned = align(saving("a.tmp"), saving("a.tmp"))
    assert [str(p) for p in aligned.recording.points] == [
        "open(a.tmp)#1", "write(a.tmp)#1", "fsync(a.tmp)#1", "rename(a.tmp -> final)#1", "end()#1",
    ]  # fmt: skip
    assert all(aligned.recording.stable)
    assert aligned.variations == ()


def test_a_random_name_gets_one_wildcard_everywhere() -> None:
    """Every operation on a temporary file is named with the same pattern, and the pattern is told."""
    aligned = align(saving("cache/tmpa8xk_2qd.db"), saving("cache/tmp0v3lm7pz.db"))
    assert str(aligned.recording.points[3]) == "rename(cache/tmp*.db -> final)#1"
    assert aligned.recording.patterns == ("cache/tmp*.db",)
    assert all(aligned.recording.stable)
    assert [(v.kind, v.text) for v in aligned.variations] == [("name", "cache/tmp*.db")]


def test_a_line_has_no_more_allocations_than_in_both() -> None:
    """How many a line makes varies by a few; one that is not in both recordings need not come again."""
    line = operation("alloc", "a.py,f,1")
    first, second = (
        trace(*(replace(line, target=f"a.py,f,{n}", detail=InsideDetail(m)) for n, m in enumerate(made)))
        for made in ((9, 4), (7, 5))
    )
    assert [one.allocations for one in align(first, second).recording.trace] == [7, 4]


def test_names_under_one_wildcard_are_counted_together() -> None:
    """Two temporary files in one run are the first and the second under their pattern."""
    first = trace(operation("open", "tmpaaaaaaa1"), operation("open", "tmpbbbbbbb2"))
    second = trace(operation("open", "tmpcccccccx"), operation("open", "tmpddddddd4"))
    points = align(first, second).recording.points
    assert [str(p) for p in points] == ["open(tmp*)#1", "open(tmp*)#2"]


def test_c10_a_name_that_both_recordings_have_is_no_wildcard() -> None:
    """It keeps its name although a wildcard fits it, and is not told as a name that varies."""
    first = trace(operation("open", "tmp_fixed"), operation("open", "tmpa8xk_2qd"))
    second = trace(operation("open", "tmp_fixed"), operation("open", "tmp0v3lm7pz"))
    aligned = align(first, second)
    assert [str(p) for p in aligned.recording.points] == ["open(tmp_fixed)#1", "open(tmp*)#1"]
    assert [(v.kind, v.text) for v in aligned.variations] == [("name", "tmp*")]


def test_a_strike_at_a_wildcard_counts_as_the_recording_does() -> None:
    """The name that stands for itself goes by without being counted, and is struck by its own name."""
    first = trace(operation("open", "tmp_fixed"), operation("open", "tmpa8xk_2qd"))
    second = trace(operation("open", "tmp_fixed"), operation("open", "tmp0v3lm7pz"))
    patterns = align(first, second).recording.patterns
    [wild] = Schedule.parse("open(tmp*)#1=EIO").strikes
    [fixed] = Schedule.parse("open(tmp_fixed)#1=EIO").strikes
    eio = shape_of(wild.fault)
    at_wild = Armed(wild, eio, patterns)
    assert not at_wild.due("tmp_fixed", None)
    assert at_wild.due("tmpzzzzzzzz", None)
    assert Armed(fixed, eio, patterns).due("tmp_fixed", None)
    assert Armed(wild, eio).due("tmp_fixed", None)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (("sedAbC12x", "sedxY9qKp"), "sed*"),
        (("XXuHc3kB", "XX90aLqZ"), "XX*"),
        (("tmp.Ab3dE6gH9j", "tmp.kL2nO5qR8t"), "tmp.*"),
    ],
)
def test_c10_the_whole_common_prefix_is_kept(names: tuple[str, str], pattern: str) -> None:
    """sed, perl -i and mktemp draw six or ten letters with capitals: what is before them is fixed."""
    assert pattern_for(*names) == pattern


def test_in_place_editing_of_a_short_name_names_it() -> None:
    """perl -i of a file named s renames "XX…" over it: the wildcard takes nothing of the file's name."""
    first = trace(operation("open", "s"), operation("rename", "XXuHc3kB", "s"))
    second = trace(operation("open", "s"), operation("rename", "XX90aLqZ", "s"))
    points = align(first, second).recording.points
    assert [str(p) for p in points] == ["open(s)#1", "rename(XX* -> s)#1"]


def test_what_only_one_recording_has_is_unstable_and_told() -> None:
    """An operation without a partner is marked and listed with its call site, on either side."""
    extra = operation("unlink", "lock", line=9)
    aligned = align(saving("a.tmp", extra), saving("a.tmp", operation("mkdir", "late")))
    stable = dict(zip(map(str, aligned.recording.points), aligned.recording.stable, strict=True))
    assert not stable["unlink(lock)#1"]
    assert stable["end()#1"]
    assert [(v.kind, v.text) for v in aligned.variations] == [
        ("only in first", "unlink(lock)#1"), ("only in second", "mkdir(late)#1"),
    ]  # fmt: skip
    assert aligned.variations[0].site is not None
    assert aligned.variations[0].site.line == 9


def test_another_outcome_is_told() -> None:
    """A call that succeeds in one run and fails in the other is a variation."""
    first, second = trace(operation("open", "a")), trace(operation("open", "a", result=-2))
    assert [v.text for v in align(first, second).variations] == ["open(a)#1: 0, then -2"]


def test_threads_may_interleave_in_any_way() -> None:
    """The order between threads is not a variation; the order within one is what counts."""
    one, two = Place(thread=0), Place(thread=1)
    a, b = operation("write", "a", place=one), operation("write", "b", place=two)
    aligned = align(trace(a, b), trace(b, a))
    assert aligned.variations == ()
    assert all(aligned.recording.stable)


@pytest.mark.parametrize(
    ("one", "other", "pattern"),
    [
        ("tmpa8xk_2qd.db", "tmp0v3lm7pz.db", "tmp*.db"),
        ("log.1041", "log.1049", "log.*"),
        ("objects/3f/0a1b2c", "objects/3e/991b2c", "objects/*/*"),
        ("run-2024", "run-2024", "run-2024"),
        ("a*b1", "a*b2", "a\\*b*"),
    ],
)
def test_patterns_do_not_hold_accidents(one: str, other: str, pattern: str) -> None:
    """What two samples share by accident at the border of a random part belongs to the wildcard."""
    assert pattern_for(one, other) == pattern


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tmpqwertyua.db", "tmplkjhgfda.db"),
        ("tmpaqwertyu.db", "tmpalkjhgfd.db"),
        ("tmpabqwerty.db", "tmpablkjhgf.db"),
        ("tmpaqwertyb.db", "tmpalkjhgfb.db"),
    ],
)
def test_a_wildcard_takes_no_letter_of_the_fixed_part(one: str, other: str) -> None:
    """mkstemp draws eight letters: those that agree by chance are not taken from the other end as well."""
    assert pattern_for(one, other) == "tmp*.db"


def test_a_side_that_cannot_be_told_is_widened_at_both_ends() -> None:
    """Too wide still fits the third run, too narrow does not."""
    assert pattern_for("tmpqwertyua_old", "tmplkjhgfda_old") == "tm*_old"


def test_the_fixed_part_of_all_names_is_kept() -> None:
    """What the names of another pair show to be fixed holds for those in which it cannot be told."""
    first = trace(operation("open", "tmpqwertyua_old"), operation("open", "tmpzxcvbnml_old"))
    second = trace(operation("open", "tmplkjhgfda_old"), operation("open", "tmpasdfghjk_old"))
    assert align(first, second).recording.patterns == ("tmp*_old",)


_LETTERS = string.ascii_lowercase + string.digits + "_"


@given(st.integers(0, 2**32))
def test_a_third_random_name_fits_the_pattern_of_two(seed: int) -> None:
    """The pattern of two names from mkstemp fits every other one, whatever the two have in common."""
    chance = random.Random(seed)
    one, other, third = ("tmp" + "".join(chance.choices(_LETTERS, k=8)) + ".db" for _ in range(3))
    if one != other:
        assert matcher(pattern_for(one, other)).fullmatch(third)


@pytest.mark.parametrize("other", ["M834362P4553Q60", "M834362P4554Q59", "M834362P4554Q69"])
def test_microseconds_that_begin_alike_are_one_number(other: str) -> None:
    """A Maildir's names have a clock in microseconds: equal first digits are chance."""
    one, two = "new/1795938775.M813362P4553Q59.vm", f"new/1795938775.{other}.vm"
    assert pattern_for(one, two).startswith("new/*.")
    assert ".M8" not in pattern_for(one, two)


def test_a_clock_in_a_varying_name_does_not_stand_still() -> None:
    """Two recordings within one second agree on the seconds in a name; the third run's are others."""
    pattern = pattern_for("new/1795443572.M118P9.host", "new/1795443572.M733P9.host")
    assert matcher(pattern).fullmatch("new/1795443599.M004P9.host")
    assert pattern.endswith("P9.host")


@pytest.mark.parametrize(
    ("one", "other", "third"),
    [
        (".out.28013.1800711-1", ".out.28019.1800933-1", ".out.30207.1911845-1"),
        ("s-3fa1-99ab.sock", "s-3fb2-97cb.sock", "s-4411-0000.sock"),
    ],
)
def test_two_numbers_side_by_side_are_both_wild_as_a_whole(one: str, other: str, third: str) -> None:
    """Process and start time begin alike in two runs that follow each other, and not in the hundredth."""
    assert matcher(pattern_for(one, other)).fullmatch(third)
    assert pattern_for(one, other)[:2] + pattern_for(one, other)[-2:] == one[:2] + one[-2:]


def test_points_of_an_aligned_recording_parse_back() -> None:
    """The names given to points are schedule text."""
    for point in align(saving("tmpa8xk_2qd"), saving("tmp0v3lm7pz")).recording.points:
        text = f"{point}=kill"
        assert str(Schedule.parse(text)) == text


def test_a_recording_compared_with_nothing_is_all_stable() -> None:
    """Given patterns are applied, and nothing is marked."""
    recording = unaligned(saving("tmpa8xk_2qd"), ("tmp*",))
    assert str(recording.points[0]) == "open(tmp*)#1"
    assert all(recording.stable)
