"""Records become plain dictionaries and back, and their texts are changed, without a second description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from chaoskit.core.plain import with_text
from chaoskit.core.schedule import Schedule


@dataclass(frozen=True)
class Leaf:
    text: str
    number: int = 1


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    named: Mapping[str, Leaf] = field(default_factory=dict)
    schedule: Schedule | None = None
    kind: type | None = None


def loud(text: str) -> str:
    return text.replace("quiet", "LOUD")


def test_every_text_is_changed_and_nothing_else() -> None:
    """In tuples and mappings, keys included; numbers, classes and None stay."""
    tree = Tree((Leaf("quiet", 7), Leaf("other")), MappingProxyType({"a quiet key": Leaf("b")}), kind=Leaf)
    changed = Tree((Leaf("LOUD", 7), Leaf("other")), {"a LOUD key": Leaf("b")}, kind=Leaf)
    assert with_text(tree, loud, str) == changed


def test_schedules_have_a_change_of_their_own() -> None:
    """Names in their points, and never the call; the same record within and without is told apart."""
    schedule = Schedule.parse("rename(quiet -> quiet)#1=kill")
    tree = Tree((Leaf("quiet"),), schedule=schedule)
    assert with_text(tree, loud, str).schedule == schedule
    assert str(with_text(tree, str, loud).schedule) == "rename(LOUD -> LOUD)#1=kill"
    assert str(with_text(tree, loud, loud).schedule) == "rename(LOUD -> LOUD)#1=kill"
    write = Schedule.parse("write(a)#1=kill")
    assert str(with_text(write, str, lambda text: text.replace("write", "read"))) == "write(a)#1=kill"


def test_what_has_nothing_to_change_comes_back_as_it_is() -> None:
    """A result has the same frames in thousands of points: they are neither copied nor told apart."""
    shared = Leaf("quiet")
    whole = Tree((shared, shared, Leaf("other")), schedule=Schedule.parse("write(a)#1=kill"))
    changed = with_text(whole, loud, str)
    assert changed.leaves[0] is changed.leaves[1]
    assert changed.leaves[2] is whole.leaves[2]
    assert changed.schedule is whole.schedule
    assert with_text(whole.leaves, str, str) is whole.leaves
