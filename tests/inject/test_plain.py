"""What leaves a workload, and what reading it does not do."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import math
import os
import pathlib
import subprocess
import types
import uuid
from typing import Any, NamedTuple

import pytest

from chaoskit.inject import plain


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    name: str
    inner: Any = None


@dataclasses.dataclass
class Checked:
    value: int

    def __post_init__(self) -> None:
        assert self.value >= 0


class Doomed(Exception):
    """Runs code when it goes."""

    def __del__(self) -> None:
        raise AssertionError


class Picky(Exception):
    """Its constructor wants something else than it keeps, and counts how often it was called."""

    calls = 0

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)
        type(self).calls += 1


def there_and_back(value: Any) -> Any:
    """``value`` as it arrives."""
    (part,) = plain.split(b"[" + plain.dumps(value) + b"]")
    return plain.read(part)


VALUES = [
    *(None, True, 0, -(2**80), 1.5, math.inf, "", "a\udc80\0ü", b"\0\xff", bytearray(b"x"), 2j),
    *([1, [2]], (1, (2,)), {1, 2}, frozenset({(1, 2)}), {(1, 2): {"a": b"x"}, None: []}, {"tuple": 1}),
    *(range(3, 9, 2), pathlib.Path("/a"), pathlib.PureWindowsPath("C:/a"), uuid.UUID(int=5)),
    *(datetime.datetime(2024, 1, 2, 3, 4, 5, 6, datetime.UTC), datetime.date(2024, 1, 2), datetime.time(1)),
    *(datetime.timedelta(1, 2, 3), decimal.Decimal("1.10"), fractions.Fraction(1, 3), os.stat("/")),
    *(Colour.RED, Point(1, 2), Slotted("a", Slotted("b")), Checked(1), types.SimpleNamespace(a=(1,))),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_plain_data_arrives_as_it_was(value: Any) -> None:
    """Value and type are the same."""
    arrived = there_and_back(value)
    assert arrived == value
    assert type(arrived) is type(value)
    assert repr(arrived) == repr(value)


@pytest.mark.parametrize(
    "error",
    [
        *(ValueError("a", 1), KeyError("k"), SystemExit(3), KeyboardInterrupt()),
        *(FileNotFoundError(2, "no", "f"), OSError(18, "no", "a", None, "b"), BlockingIOError(11, "later")),
        *(
            UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
            ExceptionGroup("all", [ValueError(1), OSError(5, "x")]),
        ),
        subprocess.CalledProcessError(3, ["x"], b"out"),
    ],
    ids=repr,
)
def test_errors_arrive_as_they_were(error: BaseException) -> None:
    """Type, text, arguments, errno and notes are the same."""
    error.add_note("noted")
    arrived = there_and_back(error)
    assert (type(arrived), str(arrived), repr(arrived)) == (type(error), str(error), repr(error))
    assert arrived.__notes__ == ["noted"]
    assert getattr(arrived, "errno", None) == getattr(error, "errno", None)
    assert getattr(arrived, "filename", None) == getattr(error, "filename", None)


def test_an_error_loses_only_what_cannot_travel() -> None:
    """One attribute that does not travel costs the error nothing else."""
    error = ValueError("a")
    error.source, error.code = iter([]), 7  # type: ignore[attr-defined]
    arrived = there_and_back(error)
    assert (arrived.args, vars(arrived)) == (("a",), {"code": 7})


def test_no_constructor_is_called() -> None:
    """What a class does when it is made, it has done in the workload."""
    error = Picky(1, 2)
    arrived = there_and_back(error)
    assert (type(arrived), arrived.args, Picky.calls) == (Picky, (3,), 1)


@pytest.mark.parametrize(
    ("value", "named"),
    [(lambda: 1, "function"), (object(), "object"), ([{1: iter([])}], "list_iterator"), (type, "type")],
)
def test_what_does_not_travel_is_named(value: Any, named: str) -> None:
    """The error names the type, however deep it lies."""
    with pytest.raises(plain.NotPlain, match=named):
        plain.dumps(value)


def test_what_contains_itself_does_not_travel() -> None:
    """Neither does it end in a recursion without end."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(plain.NotPlain, match="contains itself"):
        plain.dumps(value)


HOSTILE: list[Any] = [
    {"no such tag": 1},
    {"tuple": [], "list": []},
    {"bytes": 5},
    {"tuple": 5},
    {"dict": [[[], 1]]},
    {"set": [{"set": []}]},
    {"error": ["os", "system", [], {"dict": []}]},
    {"error": ["subprocess", "Popen", ["id"], {"dict": []}]},
    {"error": ["no.such.module", "Error", [], {"dict": []}]},
    {"error": ["builtins", "ValueError", [], {"dict": [["__class__", 1]]}]},
    {"error": [__name__, "Doomed", [], {"dict": []}]},
    {"record": ["tempfile", "_TemporaryFileCloser", {"dict": [["name", "/etc/passwd"]]}]},
    {"record": ["subprocess", "Popen", {"dict": []}]},
    {"enum": ["os", "environ", "PATH"]},
    {"enum": [__name__, "Colour", "BLUE"]},
    {"named": [__name__, "Point", [1]]},
    {"stat_result": [1]},
    {"datetime": "yesterday"},
    {"decimal": {"decimal": "1"}},
]


@pytest.mark.parametrize("part", HOSTILE, ids=json.dumps)
def test_what_nothing_sends_is_refused(part: Any) -> None:
    """Forged messages end in one error, make nothing and call nothing."""
    with pytest.raises(plain.Malformed):
        plain.read(part)


@pytest.mark.parametrize("data", [b"", b"{", b"\x80\x04.", b"1", b"[" * 100_000])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    """So does what is not even a list."""
    with pytest.raises(plain.Malformed):
        plain.split(data)
