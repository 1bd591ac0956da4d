"""Schedules are one line of text that parses back, whatever the names in it are."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import ScheduleError
from chaoskit.core.operation import Place
from chaoskit.core.schedule import (
    Fault,
    Point,
    Schedule,
    Strike,
    fits,
    literal,
    matcher,
    plain_name,
    unescape,
)

NAMES = st.binary(min_size=1, max_size=12).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"\n")))
"""Any name that a file can have, line feeds and bytes other than UTF-8 included."""
SHORT = st.text("ab*\\/. \n", max_size=6)
PATTERNS = st.lists(st.one_of(st.just("*"), NAMES.map(literal)), min_size=1, max_size=4).map(
    # Two halves of a character, each no UTF-8 by itself, are one character when they meet in a name.
    lambda parts: os.fsdecode(os.fsencode("".join(parts)))
)
PLACES = st.builds(
    Place,
    st.integers(1, 30),
    st.sampled_from(["", "git~1", "child~12", "sh.real~3", "a_b-c+d~1"]),
    st.integers(0, 12),
)
POINTS = st.builds(
    Point,
    st.sampled_from(["write", "open", "sync_file_range", "end"]),
    PATTERNS,
    st.one_of(st.none(), PATTERNS),
    st.integers(1, 10**6),
    PLACES,
)
FAULTS = st.builds(
    Fault,
    st.sampled_from(["ENOSPC", "kill", "short", "SIGTERM", "power_loss"]),
    st.text(max_size=10),
)
SCHEDULES = st.lists(st.builds(Strike, POINTS, FAULTS), max_size=3).map(lambda all_: Schedule(tuple(all_)))


@given(SCHEDULES)
def test_every_schedule_parses_back_from_one_line_of_ascii(schedule: Schedule) -> None:
    """Blanks, stars, semicolons, brackets, quotes, bytes other than UTF-8: all of it comes back."""
    text = str(schedule)
    assert text.isascii()
    assert "\n" not in text
    assert Schedule.parse(text) == schedule


@given(POINTS)
def test_every_point_parses_back(point: Point) -> None:
    """What a report says of a point is read from its name alone."""
    assert Point.parse(str(point)) == point


@pytest.mark.parametrize("text", ["", "write(a)", "write(a)#0", "write(a)#1=EIO", "write(ä)#1", "tick"])
def test_what_is_no_point_is_refused(text: str) -> None:
    """A strike, a call without a number and words of an older report are not names of points."""
    with pytest.raises(ScheduleError, match="does not parse; expected something like"):
        Point.parse(text)


@given(SCHEDULES)
def test_blanks_around_the_signs_are_optional(schedule: Schedule) -> None:
    """As somebody types it."""
    text = str(schedule)
    assert Schedule.parse(text.replace("; ", ";").replace(" -> ", "->")) == schedule
    assert Schedule.parse(f"  {text.replace('; ', ' ;   ')}  ") == schedule


@given(st.one_of(PATTERNS, SHORT), st.one_of(NAMES, SHORT))
def test_the_quick_test_of_a_name_agrees_with_the_expression(pattern: str, name: str) -> None:
    """With a wildcard or without, with a star that is part of the name or without."""
    if pattern.replace("\\\\", "").endswith("\\"):
        pattern += "x"  # A single backslash at the end stands for nothing.
    assert bool(fits(pattern)(name)) == (matcher(pattern).fullmatch(name) is not None)


@given(NAMES)
def test_a_literal_pattern_fits_its_name_alone(name: str) -> None:
    """Stars and backslashes of the name itself are not wildcards."""
    assert plain_name(literal(name)) == name
    assert fits(literal(name))(name)
    assert not fits(literal(name))(f"{name}x")


def test_a_wildcard_stays_within_one_part_of_a_path() -> None:
    """As in the shell."""
    assert fits("d/tmp*.db")("d/tmp8x_.db")
    assert not fits("d/tmp*.db")("d/tmp/8.db")
    assert plain_name("a*") is None
    assert plain_name("a\\*") == "a*"
    assert unescape("a%2A*") == "a\\**"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("write", "write"),
        ("write(a)=EIO", "write(a)=EIO"),
        ("write(a)#0=EIO", "write(a)#0=EIO"),
        ("write(a)#1", "write(a)#1"),
        ("write(a)#1=EIO; ", "''"),
        ("write(a)#1=EIO; nonsense", "nonsense"),
        ("run0:write(a)#1=EIO", "run0"),
        ("write(a b)#1=EIO", "write(a b)"),
        ("write(a)#1=EIO[", "EIO["),
    ],
)
def test_what_does_not_parse_is_named(text: str, named: str) -> None:
    """The error has the part that does not fit, and an example of one that does."""
    with pytest.raises(ScheduleError) as caught:
        Schedule.parse(text)
    assert named in str(caught.value)
    assert "expected" in str(caught.value)
