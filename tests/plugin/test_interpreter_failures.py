"""What CPython itself does wrong when memory is short is told apart from what a program does."""

from __future__ import annotations

import sys

import inner
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="allocations fail on Linux only")

MODULE = """
    import ctypes
    import signal
    import os

    import pytest
    from chaoskit import faults, scenario

    def build(path):
        try:
            bytearray(1000)
        except MemoryError:
            fail()
        os.unlink(path / "made")

    def crash():
        ctypes.string_at(0)

    def confuse():
        raise SystemError("<built-in function f> returned NULL without setting an exception")

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    @pytest.mark.parametrize("how", [crash, confuse, die], ids=["crash", "confuse", "die"])
    @scenario(faults.memory().on(site="build"))
    def test_short(chaos, how):
        global fail
        fail = how
        (chaos.path / "made").write_text("old")
        outcome = chaos.run(build, chaos.path)
        assert not (chaos.path / "made").exists() or type(outcome.error) is MemoryError
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """One run of a program that crashes like CPython, one that is confused like it, and one that dies."""
    directory = tmp_path_factory.mktemp("interpreter")
    inner.write(directory, MODULE)
    return inner.run(directory, "-rA")


@pytest.mark.parametrize(
    ("how", "text"), [("crash", "SIGSEGV at"), ("confuse", "SystemError: <built-in function f>")]
)
def test_a_failure_of_the_interpreter_has_its_verdict(found: inner.Inner, how: str, text: str) -> None:
    """The scenario passes, the place is told once, and the stack of the crash is kept."""
    scenario = found.scenario(f"test_short[{how}]")
    told = [case for case in scenario["cases"] if case["verdict"] == "interpreter"]
    assert told, found.output
    assert found.outcomes[f"test_short[{how}]"] == "passed", found.output
    assert all(text in case["note"] for case in told)
    assert all(run["receipts"] for case in told for run in case["runs"])
    assert [one["kind"] for one in scenario["caveats"]].count("interpreter") == 1
    assert "caveat interpreter: Python itself failed" in found.output
    if how == "crash":
        assert all(f"in {how}" in case["runs"][0]["stacks"] for case in told)


def test_a_death_of_the_programs_is_a_violation(found: inner.Inner) -> None:
    """The twin: what the program does to itself when memory is short is its bug."""
    assert found.outcomes["test_short[die]"] == "failed"
    assert set(found.verdicts("test_short[die]").values()) >= {"violated"}
    assert "interpreter" not in found.verdicts("test_short[die]").values()
