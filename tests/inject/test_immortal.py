"""What the harness shares with its workloads is no longer counted; what the program defines is."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

# In a process of its own: what is made immortal stays so.
_BEGIN = """
import functools, gc, sys, types, weakref
from chaoskit.core.schedule import Schedule
from chaoskit.inject import immortal

def counts(one):
    before = sys.getrefcount(one)
    more = [one] * 10
    return sys.getrefcount(one) == before + 10

program = types.ModuleType("program")
exec('''
class Thing:
    def method(self): pass
    def wrap(self): pass

def work(): pass
''', vars(program))
sys.modules["program"] = program
"""
uncounted = pytest.mark.skipif(
    sys.version_info < (3, 12) or hasattr(sys, "gettotalrefcount"), reason="this Python counts everything"
)


def printed(text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + textwrap.dedent(text)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@uncounted
def test_references_to_functions_and_classes_of_the_harness_are_not_counted() -> None:
    """Its functions, methods, code, constants and classes, and those of the standard library."""
    text = """
        import textwrap
        assert immortal.immortalize()
        ours = [Schedule, Schedule.parse.__func__, Schedule.parse.__func__.__code__, immortal._shared]
        theirs = [textwrap.dedent, textwrap.TextWrapper, textwrap.TextWrapper.fill, gc.collect, sys]
        print([counts(one) for one in ours + theirs])
    """
    assert printed(text) == str([False] * 9)


def test_what_the_program_defines_is_counted_and_goes_when_it_is_dropped() -> None:
    """Its functions, classes and modules are what they are without us, also where a known module has them."""
    text = """
        import textwrap
        textwrap.lent, textwrap.Lent = program.work, program.Thing
        textwrap.indent = functools.wraps(textwrap.indent)(lambda: None)
        textwrap.TextWrapper.wrap = program.Thing.wrap
        immortal.immortalize()
        mine = [program, program.work, program.work.__code__, program.Thing, program.Thing.method]
        mine += [textwrap.indent, textwrap.TextWrapper.wrap]
        print([counts(one) for one in mine])
        gone = [weakref.ref(program.work), weakref.ref(program.Thing)]
        del mine, textwrap.lent, textwrap.Lent, program.work, program.Thing
        gc.collect()
        print([one() for one in gone])
    """
    assert printed(text) == f"{[True] * 7}\n{[None] * 2}"


def test_nothing_is_touched_where_references_are_counted_in_an_unknown_way() -> None:
    """A number that does not make an object immortal is found out by trying it on an object of our own."""
    text = """
        immortal._COUNT = {sys.version_info[:2]: 1000}
        print(immortal.immortalize(), counts(Schedule), counts(immortal._shared))
    """
    assert printed(text) == "False True True"


def test_an_unknown_python_is_left_alone() -> None:
    """A version whose number is not known counts as before."""
    text = """
        immortal._COUNT = {}
        print(immortal.immortalize(), counts(Schedule))
    """
    assert printed(text) == "False True"
