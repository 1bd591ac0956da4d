"""The invariants that a scenario may ask for by name: a planted bug breaks each, and its clean twin none."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from chaoskit.explore.errors import InvariantBroken
from chaoskit.explore.resuming import LATER, NEWEST, NOTHING, OLDER, UNTOLD, resumed
from chaoskit.explore.snapshot import EMPTY
from chaoskit.invariants import Evidence, resumes_from_newest
from tests.support import inner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

PLANTED = """
    import os
    from chaoskit import faults, scenario
    from chaoskit.invariants import no_extra_files, no_truncated_files, resumes_from_newest

    ALL = [no_extra_files, no_truncated_files, resumes_from_newest]

    def write(path, text):
        path.with_suffix(".new").write_text(text)
        os.replace(path.with_suffix(".new"), path)

    def work(path, promise, clean):
        for number in ("1", "2"):
            if clean:
                write(path / "state", number)
                promise(number)
            else:
                promise(number)  # Acknowledged before it is done.
                write(path / "state", number)

    def recover(path, tidy):
        if tidy:
            (path / "state.new").unlink(missing_ok=True)
        return (path / "state").read_text() if (path / "state").exists() else None

    @scenario(faults.kill(), invariants=ALL)
    def test_clean(chaos):
        chaos.run(work, chaos.path, chaos.promise, True)
        chaos.recover(recover, chaos.path, True)

    @scenario(faults.kill(), invariants=[resumes_from_newest])
    def test_early(chaos):
        chaos.run(work, chaos.path, chaos.promise, False)
        chaos.recover(recover, chaos.path, True)

    @scenario(faults.kill(), invariants=[no_extra_files])
    def test_untidy(chaos):
        chaos.run(work, chaos.path, chaos.promise, True)
        chaos.recover(recover, chaos.path, False)

    def truncate(path):
        (path / "state").write_text("1")

    @scenario(faults.kill(), invariants=[no_truncated_files])
    def test_truncated(chaos):
        (chaos.path / "state").write_text("0")
        chaos.run(truncate, chaos.path)
"""


def test_each_invariant_catches_its_bug_and_lets_the_clean_program_pass(tmp_path: Any) -> None:
    """The finding names the invariant, and the result counts where recoveries went on."""
    inner.write(tmp_path, PLANTED)
    seen = inner.run(tmp_path)
    assert seen.outcomes == {
        "test_clean": "passed",
        "test_early": "failed",
        "test_untidy": "failed",
        "test_truncated": "failed",
    }
    names = {
        "test_early": "resumes_from_newest",
        "test_untidy": "no_extra_files",
        "test_truncated": "no_truncated_files",
    }
    for test, name in names.items():
        assert {one["failure"]["name"] for one in seen.scenario(test)["findings"]} == {name}
    assert set(seen.scenario("test_clean")["resumed"]) == {NEWEST, NOTHING}
    assert OLDER in seen.scenario("test_early")["resumed"]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (2, NEWEST),
        ([1, 2], NEWEST),
        ({1: "a", 2: "b"}, NEWEST),
        (3, LATER),
        (1, OLDER),
        (None, OLDER),
        ([1], OLDER),
        ([], OLDER),
        (9, UNTOLD),
    ],
)
def test_where_a_recovery_went_on(value: object, word: str) -> None:
    """By what it returned, when 1 and 2 were promised of 1 to 3."""
    one = resumed(value, [1, 2], [1, 2, 3])
    assert one.word == word
    evidence = Evidence(EMPTY, EMPTY, resumed=(one,))
    if word in (NEWEST, LATER):
        resumes_from_newest(evidence)
    else:
        with pytest.raises(InvariantBroken, match="2 had been promised"):
            resumes_from_newest(evidence)


def test_without_a_promise_any_place_is_right() -> None:
    """Nothing was acknowledged, so nothing can have been taken back."""
    one = resumed(None, [], [1, 2, 3])
    assert one.word == NOTHING
    resumes_from_newest(Evidence(EMPTY, EMPTY, resumed=(one,)))
