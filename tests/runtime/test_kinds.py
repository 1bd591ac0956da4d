"""The checks of everything that is not a number: what they let pass is kept as it is, the rest is told."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from chaoskit.runtime import AnomalyOptions, Bulkhead, UsageError, VirtualClock, kinds

SILENT = SimpleNamespace(monotonic=len, time=len, sleep=len)
SERVES = SimpleNamespace(read=len, write=len)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (lambda value: kinds.text("a", value), "x"),
        (lambda value: kinds.text("a", value, optional=True), None),
        (lambda value: kinds.switch("a", value), True),
        (lambda value: kinds.instance("a", value, int, str), "x"),
        (lambda value: kinds.instance("a", value, int, optional=True), None),
        (lambda value: kinds.able("a", value, "a file", "read", "write"), SERVES),
        (lambda value: kinds.able("a", value, "a file", "read", optional=True), None),
        (kinds.clock, VirtualClock()),
        (lambda value: kinds.clock(value, optional=True), None),
        (lambda value: kinds.event("a", value), threading.Event()),
        (lambda value: kinds.event("a", value), None),
        (kinds.chance, random),
        (lambda value: kinds.errors("a", value), (OSError, KeyError)),
        (lambda value: kinds.mapping("a", value, "a mapping"), {1: 2}),
    ],
)
def test_what_passes_is_returned(check: Callable[[Any], object], value: object) -> None:
    """So that the check stands where the value is kept."""
    assert check(value) is value


def test_a_list_becomes_a_tuple() -> None:
    """A generator is read once, and not again where its values are needed."""
    assert kinds.listed("a", (one for one in [1, "x"]), int, str) == (1, "x")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (lambda: kinds.text("name", 3), "name is 3 (int); expected a text."),
        (lambda: kinds.text("name", 3, optional=True), "name is 3 (int); expected a text, or None."),
        (lambda: kinds.switch("a", "no"), "a is 'no' (str); expected True or False."),
        (lambda: kinds.instance("a", 3, Bulkhead), "a is 3 (int); expected a Bulkhead."),
        (lambda: kinds.instance("a", 3, AnomalyOptions), "a is 3 (int); expected an AnomalyOptions."),
        (lambda: kinds.instance("a", 3, str, bytes), "a is 3 (int); expected a str or bytes."),
        (
            lambda: kinds.instance("a", 3, Bulkhead, optional=True),
            "a is 3 (int); expected a Bulkhead, or None.",
        ),
        (lambda: kinds.able("a", 3, "a file", "read"), "a is 3 (int); expected a file."),
        (lambda: kinds.able("a", 3, "a file", "read", optional=True), "expected a file, or None."),
        (lambda: kinds.clock(SILENT), "expected a clock, such as SystemClock() or VirtualClock()."),
        (lambda: kinds.clock(VirtualClock), "This is the class; make one: VirtualClock(...)."),
        (lambda: kinds.instance("a", Bulkhead, Bulkhead), "This is the class; make one: Bulkhead(...)."),
        (lambda: kinds.listed("rules", 3, Bulkhead), "rules is 3 (int); expected Bulkheads in a list."),
        (lambda: kinds.listed("rules", [3], Bulkhead), "one of rules is 3 (int); expected a Bulkhead."),
    ],
)
def test_what_does_not_pass_is_told(check: Callable[[], object], said: str) -> None:
    """With the value, what was expected and, for a class in the place of its object, the next step."""
    with pytest.raises(UsageError) as error:
        check()
    assert str(error.value).endswith(said)
