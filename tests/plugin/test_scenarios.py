"""Scenarios in plain pytest: what passes, what is found, and how it is told."""

from __future__ import annotations

import re

import inner
import pytest

MODULE = """
    import os, sys, random, tempfile
    import pytest
    from chaoskit import faults, scenario
    from chaoskit.invariants import no_extra_files, no_truncated_files
    from saving import save, overwrite, load

    OLD, NEW = {"n": 1}, {"n": 2}

    @scenario(faults.disk().only("EIO", "ENOSPC") | faults.kill())
    def test_correct(chaos):
        save(chaos.path, OLD)
        chaos.run(save, chaos.path, NEW)
        assert load(chaos.path) in (OLD, NEW)

    @scenario(faults.disk() | faults.kill())
    def test_wrong(chaos):
        overwrite(chaos.path, OLD)
        print("recovering", chaos.run(overwrite, chaos.path, NEW).ok)
        state = load(chaos.path)
        assert state in (OLD, NEW)

    @pytest.mark.chaoskit(faults.kill())
    def test_marker(chaos):
        chaos.run(save, chaos.path, NEW)

    class TestClass:
        @pytest.mark.parametrize("number", [1, 2])
        @scenario(faults.kill())
        def test_parametrized(self, chaos, number, tmp_path):
            assert list(tmp_path.iterdir()) == []
            (tmp_path / "seen").touch()
            chaos.run(save, chaos.path, number)
            assert not (chaos.path / "job.json").exists() or load(chaos.path) == number

    made = []

    @pytest.fixture
    def counted():
        made.append(1)
        yield len(made)

    @pytest.fixture(scope="module")
    def kept():
        return []

    @scenario(faults.kill())
    def test_fixtures(chaos, counted, kept):
        assert os.listdir(chaos.path) == []
        kept.append(counted)
        assert kept == list(range(kept[0], kept[0] + len(kept)))
        chaos.run(save, chaos.path, NEW)

    def promising(path, chaos, careful):
        save(path, OLD)
        chaos.promise("first")
        (save if careful else overwrite)(path, NEW)
        chaos.promise("second")

    @pytest.mark.parametrize("careful", [True, False])
    @scenario(faults.kill())
    def test_promises(chaos, careful):
        chaos.run(promising, chaos.path, chaos, careful)
        if "second" in chaos.promised:
            assert load(chaos.path) == NEW
        elif chaos.promised:
            assert load(chaos.path) in (OLD, NEW)

    SCRIPT = "import saving, pathlib; saving.{}(pathlib.Path('.'), 2); print('saved')"

    @pytest.mark.parametrize("how", ["save", "overwrite"])
    @scenario(faults.kill())
    def test_command(chaos, how):
        save(chaos.path, 1)
        env = {"PYTHONPATH": os.path.dirname(__file__)}
        done = chaos.run_command([sys.executable, "-c", SCRIPT.format(how)], env=env)
        assert load(chaos.path) in ([2] if done.ok or chaos.promised == ["saved"] else [1, 2])

    def failing_command(path):
        pass

    @scenario(faults.kill())
    def test_failing_command(chaos):
        chaos.run_command([sys.executable, "-c", "open('a', 'w'); raise SystemExit('no luck')"])

    def leave_file(path):
        handle, name = tempfile.mkstemp(dir=path)
        with open(handle, "w") as file:
            file.write("new")
        os.replace(name, path / "final")

    @scenario(faults.kill(), invariants=[no_extra_files])
    def test_no_extra_files(chaos):
        chaos.run(leave_file, chaos.path)

    @scenario(faults.kill(), invariants=[no_truncated_files])
    def test_no_truncated_files(chaos):
        overwrite(chaos.path, OLD)
        chaos.run(overwrite, chaos.path, NEW)

    def holding(path):
        file = open(path / "a", "w")
        file.write("x")
        file.flush()
        os.fsync(file.fileno())
        file.close()

    KNOWN = {
        "rename(job.json.tmp -> job.json)#1=kill": (False, None, 9),
        "rename(job.json.tmp -> job.json)#1=EIO": (False, OSError, None),
    }

    def returning(path):
        save(path, NEW)
        return {"saved": NEW}

    @scenario(faults.kill().on(call="rename") | faults.disk().only("EIO[]").on(call="rename"))
    def test_outcome(chaos):
        outcome = chaos.run(returning, chaos.path)
        if not outcome.faults:
            assert outcome.ok and outcome.value == {"saved": NEW} and outcome.error is None
            return
        [receipt] = outcome.faults
        ok, error, signal = KNOWN[receipt.strike]
        assert (outcome.ok, outcome.signal, outcome.timed_out) == (ok, signal, False)
        assert error is None or (isinstance(outcome.error, error) and outcome.error.errno == 5)
        assert error is None or "in save" in outcome.traceback
        assert receipt.operation.startswith("rename(job.json.tmp -> job.json)#1")

    kept_for_ever = []

    def leaking(path):
        kept_for_ever.append(open(path / "a", "w"))
        os.fsync(kept_for_ever[-1].fileno())
        kept_for_ever[-1].close()

    @pytest.mark.parametrize("work", [holding, leaking])
    @scenario(faults.disk().only("EIO").on(call="fsync"))
    def test_leak(chaos, work):
        chaos.run(work, chaos.path)

    def clean(path):
        (path / "job.json.tmp").unlink(missing_ok=True)

    def count_recoveries(path):
        with open(path / "recoveries", "a") as file:
            file.write("x")
        return 42

    @scenario(faults.kill())
    def test_recovery(chaos):
        chaos.run(save, chaos.path, NEW)
        assert chaos.recover(clean, chaos.path) is None
        assert not (chaos.path / "job.json.tmp").exists()

    def recover_wrongly(path):
        if not (path / "job.json").exists():
            count_recoveries(path)

    @scenario(faults.kill().on(call="rename"))
    def test_recovery_not_idempotent(chaos):
        chaos.run(save, chaos.path, NEW)
        chaos.recover(recover_wrongly, chaos.path)

    def move_back(path):
        # Wrong when interrupted: what it has read exists only in memory for a while.
        content = (path / "job.json").read_text()
        (path / "job.json").unlink()
        (path / "job.json").write_text(content)

    @pytest.mark.parametrize("strike", [True, False])
    @scenario(faults.kill(), strike_recovery=True)
    def test_strike_in_recovery(chaos, strike):
        save(chaos.path, OLD)
        chaos.run(save, chaos.path, NEW)
        if strike:
            chaos.recover(move_back, chaos.path)
        assert load(chaos.path) in (OLD, NEW)

    def by_chance(path):
        (path / str(random.randrange(10**6))).touch()

    @scenario(faults.kill())
    def test_chance_is_the_same_in_every_case(chaos):
        chaos.run(by_chance, chaos.path)

    def save_again(path):
        if not (path / "second").exists():
            (path / "first").rename(path / "second")

    def save_first(path):
        (path / "first").write_text("x")

    @scenario(faults.kill().on(call="rename"), depth=2)
    def test_pair(chaos):
        save_first(chaos.path)
        chaos.run(save_again, chaos.path)
        chaos.run(save_again, chaos.path)

    times = []

    def dies_often(path, marker):
        (path / "a").touch()

    @scenario(faults.kill().on(call="rename"), depth=2)
    def test_pair_breaks(chaos):
        save_first(chaos.path)
        chaos.run(save_again, chaos.path)
        chaos.run(save_again, chaos.path)
        # Two chances are not enough when both are cut short.
        assert (chaos.path / "second").exists()
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """One run of the whole module."""
    directory = tmp_path_factory.mktemp("scenarios")
    inner.write(directory, MODULE)
    return inner.run(directory, "--chaoskit-seed=7")


PASSING = [
    "test_correct",
    "test_marker",
    "TestClass::test_parametrized[1]",
    "TestClass::test_parametrized[2]",
    "test_fixtures",
    "test_promises[True]",
    "test_command[save]",
    "test_leak[holding]",
    "test_outcome",
    "test_recovery",
    "test_strike_in_recovery[False]",
    "test_pair",
]


@pytest.mark.parametrize("name", PASSING)
def test_what_is_correct_passes_with_every_case_judged(seen: inner.Inner, name: str) -> None:
    """The corrected twin of each planted bug is clean, and its cases were really run."""
    print(seen.texts[name])
    assert seen.outcomes[name] == "passed"
    verdicts = set(seen.verdicts(name).values())
    assert verdicts
    assert verdicts <= {"tolerated", "failed safe"}


FOUND = {
    "test_wrong": "write(job.json)#1=kill",
    "test_promises[False]": "write(job.json)#1=kill",
    "test_no_truncated_files": "write(job.json)#1=kill",
    "test_leak[leaking]": "fsync(a)#1=EIO",
    "test_recovery_not_idempotent": "rename(job.json.tmp -> job.json)#1=kill",
    "test_strike_in_recovery[True]": "run2:open(job.json)#2=kill",
    "test_no_extra_files": "rename(tmp* -> final)#1=kill",
}


@pytest.mark.parametrize("name", FOUND)
def test_a_planted_bug_is_found_where_it_is(seen: inner.Inner, name: str) -> None:
    """Each planted bug is a violation under the schedule that shows it."""
    print(seen.texts[name])
    assert seen.outcomes[name] == "failed"
    schedule = re.escape(FOUND[name]).replace(r"tmp\*", r"t[^ ]*\*")
    broken = [s for s, verdict in seen.verdicts(name).items() if verdict == "violated"]
    assert any(re.fullmatch(schedule, one) for one in broken), broken


def test_a_bug_in_a_command_is_found_in_the_child(seen: inner.Inner) -> None:
    """A program run by its command line is struck like a function."""
    assert seen.outcomes["test_command[overwrite]"] == "failed"
    assert "write(job.json)#1=kill" in seen.texts["test_command[overwrite]"]


def test_a_command_that_fails_without_faults_is_told(seen: inner.Inner) -> None:
    """Its exit status and what it printed are in the message."""
    assert seen.outcomes["test_failing_command"] == "failed"
    assert "no luck" in seen.texts["test_failing_command"]


def test_pairs_are_faults_one_behind_the_other(seen: inner.Inner) -> None:
    """With depth 2, a second fault strikes in what follows the first, and finds what one cannot."""
    schedule = "rename(first -> second)#1=kill; run2:rename(first -> second)#1=kill"
    assert seen.verdicts("test_pair")[schedule] == "failed safe"
    assert seen.verdicts("test_pair_breaks") == {
        "rename(first -> second)#1=kill": "failed safe",
        schedule: "violated",
    }


def test_global_chance_is_alike_in_every_case(seen: inner.Inner) -> None:
    """A workload that draws from random makes the same calls each time, and nothing diverges."""
    assert seen.outcomes["test_chance_is_the_same_in_every_case"] == "passed"
    assert seen.scenario("test_chance_is_the_same_in_every_case")["variations"] == []


def test_the_failure_tells_a_stranger_everything(seen: inner.Inner) -> None:
    """What struck where, both sides of the disk, the assertion as pytest shows it, output, replay."""
    text = seen.texts["test_wrong"]
    print(text)
    for part in (
        "broke this scenario: 1 finding.",
        "] violated: write(job.json)#1=kill",
        "more with the same cause:",
        "struck: write(job.json)#1, SIGKILL",
        "in overwrite\n        with open(path",
        "workload (run 1): died SIGKILL",
        "changed  job.json: expected file, 8 bytes, mode 644, found file, 0 bytes, mode 644",
        "expected '{\"n\": 2}', found nothing",
        "error after the faults: JSONDecodeError",
        "state = load(chaos.path)",
        "recovering False",
        "pytest test_inner.py::test_wrong --chaoskit-replay 'write(job.json)#1=kill'",
    ):
        assert part in text


def test_the_summary_counts(seen: inner.Inner) -> None:
    """The end of the run says scenarios, points, cases, verdicts; the head says seed and backend."""
    assert re.search(r"\d+ scenarios, \d+ points \(\d+ struck\), \d+ cases: \d+ findings", seen.output)
    assert "chaoskit: seed 7, backend auto, budget none" in seen.output


def test_equal_findings_are_one(seen: inner.Inner) -> None:
    """Many schedules that break the same assertion from the same call are one finding."""
    [finding] = seen.scenario("test_wrong")["findings"]
    assert len(finding["schedules"]) > 3
