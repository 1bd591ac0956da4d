"""Where an operation belongs: the function or program, and the kind of file."""

from __future__ import annotations

import sysconfig
from dataclasses import replace

import pytest
from made import operation, trace

from chaoskit.core.operation import Frame, Operation, Place, Trace
from chaoskit.explore.align import unaligned
from chaoskit.explore.causes import scenario_name
from chaoskit.explore.spots import Spots

PROGRAM = Place(process="store~3")


def spots(recorded: Trace, test: str = "") -> list[tuple[str, str]]:
    places = Spots(unaligned(recorded), test)
    return [tuple(places.spot(one)) for one in recorded]


def called(target: str, *frames: tuple[str, int, str], call: str = "write") -> Operation:
    """An operation below these frames, innermost first."""
    return replace(operation(call, target), stack=tuple(Frame(*frame) for frame in frames))


def test_without_a_python_stack_files_of_one_kind_are_one_place() -> None:
    """Thirty-seven values written by one program are one place, and its index is another."""
    values = [
        operation("write", f"data/{number:02x}/value-{number}.bin", place=PROGRAM) for number in range(37)
    ]
    words = [operation("write", f"data/{word}.txt", place=PROGRAM) for word in ("alpha", "beta", "gamma")]
    recorded = trace(*values, *words, operation("write", "index.json", place=PROGRAM))
    assert set(spots(recorded)[37:]) == {("store", "data/*.txt"), ("store", "index.json")}
    assert set(spots(trace(*values))) == {("store", "data/*/*.bin")}


def test_two_files_are_not_a_kind() -> None:
    """What differs in two names only may be two bugs."""
    recorded = trace(operation("write", "a.json", place=PROGRAM), operation("write", "b.json", place=PROGRAM))
    assert spots(recorded) == [("store", "a.json"), ("store", "b.json")]


def test_one_line_makes_one_place_of_whatever_it_names() -> None:
    """A loop over files is one place; the same function at another line on another file is a second one."""
    recorded = trace(
        called("a.json", ("/app/store.py", 3, "save")),
        called("b.json", ("/app/store.py", 3, "save")),
        called("log", ("/app/store.py", 9, "save")),
    )
    assert spots(recorded) == [("store.py:save", "a.json")] * 2 + [("store.py:save", "log")]


@pytest.mark.parametrize(
    ("with_frame", "without"),
    [
        ("save.<locals>.<listcomp>", "save"),
        ("Store.save.<locals>.<dictcomp>.<locals>.<setcomp>", "Store.save"),
        ("Store.<listcomp>", "Store"),
        ("<listcomp>", "<module>"),
        ("save.<locals>.<genexpr>", "save.<locals>.<genexpr>"),
    ],
)
def test_a_comprehension_is_part_of_its_function(with_frame: str, without: str) -> None:
    """CPython 3.11 has a frame for it and later ones have none; an id is the same on all."""
    recorded = trace(called("a.json", ("/app/store.py", 3, with_frame)))
    assert spots(recorded) == spots(trace(called("a.json", ("/app/store.py", 3, without))))
    assert spots(recorded) == [(f"store.py:{without}", "a.json")]


def test_lines_on_one_file_are_one_place() -> None:
    """Opening, writing and renaming a file in one function belong together, whatever the lines."""
    recorded = trace(
        called("f.tmp", ("/app/store.py", 3, "save"), call="open"),
        called("f.tmp", ("/app/store.py", 4, "save")),
        replace(called("f.tmp", ("/app/store.py", 5, "save"), call="rename"), second="f"),
    )
    assert set(spots(recorded)) == {("store.py:save", "f")}


def test_a_helper_belongs_to_the_function_that_works_on_the_same_file() -> None:
    """The function that opens a file and has a helper write to it is answerable for both."""
    opens = called("f", ("/app/store.py", 3, "save"), call="open")
    writes = called("f", ("/app/store.py", 20, "write_all"), ("/app/store.py", 4, "save"))
    other = called("g", ("/app/store.py", 20, "write_all"), ("/app/store.py", 40, "log"))
    assert spots(trace(opens, writes, other)) == [
        ("store.py:save", "f"),
        ("store.py:save", "f"),
        ("store.py:write_all", "g"),
    ]


def test_a_library_is_under_test_where_the_workload_is_the_tests_own() -> None:
    """Otherwise the blame is where the project calls it."""
    library = (f"{sysconfig.get_path('purelib')}/cache/disk.py", 7, "Disk.write")
    one = called("f", library, ("/app/test_cache.py", 3, "work"))
    assert spots(trace(one), "/app/test_cache.py") == [("disk.py:Disk.write", "f")]
    assert spots(trace(one)) == [("test_cache.py:work", "f")]


def test_a_place_does_not_tell_where_the_project_lies() -> None:
    """Neither the directory of the source, nor that of a file outside the root, nor numbers of lines."""
    here = trace(called("/tmp/x1/f", ("/home/a/app/store.py", 3, "save")))
    there = trace(called("/srv/y/f", ("/build/store.py", 30, "save")))
    assert spots(here) == spots(there)


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("tests/deep/test_a.py::test_b[x/y]", "test_a.py::test_b"),
        ("test_a.py::TestC::test_b", "test_a.py::TestC::test_b"),
    ],
)
def test_the_name_of_a_scenario_is_without_directory_and_parameters(nodeid: str, name: str) -> None:
    """Both may be renamed, and an id stays."""
    assert scenario_name(nodeid) == name
