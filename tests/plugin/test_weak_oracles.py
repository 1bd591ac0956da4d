"""The test's own check is tried, too: what it lets pass is told, and a check that looks is left in peace."""

from __future__ import annotations

import sys
from pathlib import Path

import inner
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

SOURCE = """
    import json
    import saving
    from chaoskit import faults, scenario

    def state(path):
        text = (path / "job.json").read_text()
        return json.loads(text) if text else None

    @scenario(faults.kill())
    def test_without_an_assertion(chaos):
        chaos.run(saving.save, chaos.path, {"n": 2})

    @scenario(faults.kill())
    def test_that_accepts_an_empty_file(chaos):
        saving.save(chaos.path, {"n": 1})
        chaos.run(saving.save, chaos.path, {"n": 2})
        assert state(chaos.path) in (None, {"n": 1}, {"n": 2})

    @scenario(faults.kill())
    def test_that_forgets_what_was_promised(chaos):
        saving.save(chaos.path, {"n": 1})
        chaos.run(keep, chaos.path, chaos.promise)
        assert saving.load(chaos.path) in ({"n": 1}, {"n": 2})

    def keep(path, promise):
        saving.save(path, {"n": 2})
        promise(2)

    @scenario(faults.kill())
    def test_old_or_new(chaos):
        saving.save(chaos.path, {"n": 1})
        chaos.run(saving.save, chaos.path, {"n": 2})
        assert saving.load(chaos.path) in ({"n": 1}, {"n": 2})

    @scenario(faults.kill())
    def test_new_or_nothing(chaos):
        chaos.run(saving.save, chaos.path, {"n": 2})
        if (chaos.path / "job.json").exists():
            assert saving.load(chaos.path) == {"n": 2}

    @scenario(faults.kill())
    def test_what_was_promised(chaos):
        chaos.run(keep, chaos.path, chaos.promise)
        assert not chaos.promised or saving.load(chaos.path) == {"n": 2}

    def append(path, promise):
        with open(path / "log", "a") as log:
            log.write("two\\n")

    @scenario(faults.kill())
    def test_a_log_may_end_early(chaos):
        (chaos.path / "log").write_text("one\\n")
        chaos.run(append, chaos.path, chaos.promise)
        assert (chaos.path / "log").read_text().startswith("one\\n")
"""

WEAK = {
    "test_without_an_assertion": ["everything that was tried: an emptied directory, an empty job.json, "],
    "test_that_accepts_an_empty_file": ["an empty job.json"],
    "test_that_forgets_what_was_promised": [
        "job.json with its old content, although the workload has promised something"
    ],
}
SOUND = ("test_old_or_new", "test_new_or_nothing", "test_what_was_promised", "test_a_log_may_end_early")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """All of them, run once."""
    place = tmp_path_factory.mktemp("oracles")
    inner.write(place, SOURCE)
    return inner.run(place, *inner.TRIED)


def accepted(ran: inner.Inner, name: str) -> list[str]:
    return list(ran.scenario(name)["oracle"]["accepted"])


@pytest.mark.parametrize("name", WEAK)
def test_a_weak_check_is_told_so(ran: inner.Inner, name: str) -> None:
    """In the report and, once, on the terminal; the scenario passes all the same."""
    found = accepted(ran, name)
    assert len(found) == len(WEAK[name])
    assert all(one.startswith(wanted) for one, wanted in zip(found, WEAK[name], strict=True))
    assert ran.outcomes[name] == "passed"
    assert ran.output.count(f"its check accepts {found[0]}") == 1


@pytest.mark.parametrize("name", SOUND)
def test_a_check_that_looks_is_left_in_peace(ran: inner.Inner, name: str) -> None:
    """What a crash may leave it may accept, and what it refused says that it looks."""
    assert accepted(ran, name) == []
    assert ran.scenario(name)["oracle"]["tried"] > 0
    assert name not in ran.output


def test_the_number_of_weak_checks_is_in_the_totals(ran: inner.Inner) -> None:
    """One line says how many there are."""
    assert ran.report["totals"]["weak_oracles"] == len(WEAK)


def test_strict_makes_it_an_error_and_off_asks_nothing(tmp_path: Path) -> None:
    """oracle="strict" fails the scenario with what is accepted; oracle="off" runs no such case."""
    source = SOURCE.replace("@scenario(faults.kill())", '@scenario(faults.kill(), oracle="strict")', 2)
    inner.write(tmp_path, source)
    seen = inner.run(tmp_path, "-k", "assertion or empty_file or old_or_new")
    assert seen.outcomes == {
        "test_without_an_assertion": "failed",
        "test_that_accepts_an_empty_file": "failed",
        "test_old_or_new": "passed",
    }
    text = seen.texts["test_that_accepts_an_empty_file"]
    assert "its check accepts an empty job.json. Expected it to fail then" in text
    inner.write(tmp_path, source.replace('"strict"', '"off"'))
    silent = inner.run(tmp_path, "-k", "assertion")
    assert silent.scenario("test_without_an_assertion")["oracle"] is None


def test_the_command_line_decides_before_the_decorator_and_it_before_the_ini_file(tmp_path: Path) -> None:
    """As with the other options, so that CI can be strict, or a run save the few cases."""
    inner.write(
        tmp_path, SOURCE.replace("@scenario(faults.kill())", '@scenario(faults.kill(), oracle="off")', 1)
    )

    def strict(*options: str) -> dict[str, str]:
        return inner.run(tmp_path, "-k", "assertion or empty_file", *options).outcomes

    off, empty = "test_without_an_assertion", "test_that_accepts_an_empty_file"
    assert strict("-o", "chaoskit_oracle=strict") == {off: "passed", empty: "failed"}
    assert strict("--chaoskit-oracle=strict") == {off: "failed", empty: "failed"}
    assert strict("-o", "chaoskit_oracle=strict", "--chaoskit-oracle=off") == {off: "passed", empty: "passed"}
