"""Verdicts that use has shown to be wrong, each by the smallest scenario that shows it."""

from __future__ import annotations

from pathlib import Path

import inner
import pytest

# --- A9: a recovery that is not idempotent ---

RECOVERS_TWICE = """
    from chaoskit import faults, scenario

    def save(path):
        (path / "f.tmp").write_text("new")
        (path / "f.tmp").rename(path / "f")

    def notes(path):
        with open(path / "log", "a") as log:
            log.write("recovered\\n")

    def refuses(path):
        (path / "lock").touch(exist_ok=False)

    def rewrites(path):
        (path / "log").write_text("recovered\\n")

    def survives(chaos, recovery):
        chaos.run(save, chaos.path)
        chaos.recover(recovery, chaos.path)

    @scenario(faults.kill())
    def test_notes(chaos):
        survives(chaos, notes)

    @scenario(faults.kill())
    def test_refuses(chaos):
        survives(chaos, refuses)

    @scenario(faults.kill())
    def test_rewrites(chaos):
        survives(chaos, rewrites)

    @scenario(faults.kill())
    def test_hides_nothing(chaos):
        survives(chaos, notes)
        assert (chaos.path / "f").exists(), "not saved"
"""


def test_a9_a_recovery_that_is_not_idempotent_is_a_finding(tmp_path: Path) -> None:
    """Also where nothing has struck: it is told once, with what changed, and the cases are run as ever."""
    inner.write(tmp_path, RECOVERS_TWICE)
    ran = inner.run(tmp_path)
    for name, said in (("test_notes", "log changed"), ("test_refuses", "raised FileExistsError")):
        assert ran.outcomes[name] == "failed"
        (finding,) = ran.scenario(name)["findings"]
        assert (finding["schedule"], finding["failure"]["name"]) == ("", "recovery_is_idempotent")
        assert said in finding["failure"]["message"]
        assert ran.scenario(name)["state"] == "failed"
        assert "violated: without any fault" in ran.texts[name]
        assert f"pytest test_inner.py::{name}" in ran.texts[name]
        assert set(ran.verdicts(name).values()) <= {"violated", "tolerated", "failed safe"}
        assert ran.scenario(name)["budget"]["run"] > 1
    assert ran.outcomes["test_rewrites"] == "passed"


def test_a9_what_is_known_of_the_baseline_hides_nothing_else(tmp_path: Path) -> None:
    """The finding of the baseline stands beside those of the cases."""
    inner.write(tmp_path, RECOVERS_TWICE)
    ran = inner.run(tmp_path, "-k", "hides_nothing")
    found = {one["failure"]["kind"] for one in ran.scenario("test_hides_nothing")["findings"]}
    assert found == {"invariant", "assertion"}


# --- A10: nothing was examined ---

SKIPPED = """
    import pytest
    from chaoskit import faults, scenario

    @pytest.fixture(autouse=True)
    def elsewhere():
        pytest.skip("no seccomp here")

    @scenario(faults.kill())
    def test_one(chaos):
        chaos.run((chaos.path / "a").touch)

    @scenario(faults.kill())
    def test_two(chaos):
        chaos.run((chaos.path / "a").touch)
"""


@pytest.mark.parametrize(
    ("ci", "ini", "status"),
    [("", "", 0), ("true", "", 1), ("false", "", 0), ("true", "false", 0), ("", "true", 1)],
)
def test_a10_a_run_that_examined_nothing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, ini: str, status: int
) -> None:
    """In the place of the counts; in CI, and where it is asked for, it fails."""
    monkeypatch.setenv("CI", ci)
    inner.write(tmp_path, SKIPPED)
    ran = inner.run(tmp_path, *(["-o", f"chaoskit_required={ini}"] if ini else []))
    assert ran.outcomes == {"test_one": "skipped", "test_two": "skipped"}
    assert "nothing was examined: 2 scenarios (2 skipped), no case" in ran.output
    assert "no findings" not in ran.output
    assert ran.status == status
    assert ("chaoskit_required = false" in ran.output) is (status == 1)
    assert "nothing was examined" in (tmp_path / "report" / "summary.md").read_text()


def test_a10_one_that_was_examined_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario that is skipped beside one that is not fails nothing."""
    monkeypatch.setenv("CI", "1")
    inner.write(
        tmp_path,
        SKIPPED.replace("def elsewhere():", "def elsewhere(request):").replace(
            "pytest.skip", "'one' in request.node.name and pytest.skip"
        ),
    )
    ran = inner.run(tmp_path)
    assert (ran.outcomes, ran.status) == ({"test_one": "skipped", "test_two": "passed"}, 0)
    assert "nothing was examined" not in ran.output


# --- A11: promises anywhere ---

PROMISES = """
    import pytest
    from chaoskit import UsageError, faults, scenario

    def save(path, text):
        (path / "f.tmp").write_text(text)
        (path / "f.tmp").rename(path / "f")

    @scenario(faults.kill())
    def test_confirmed_by_recovery(chaos):
        # The test itself recovers, and confirms what it has found.
        chaos.run(save, chaos.path, "one")
        if (chaos.path / "f").exists():
            chaos.promise("one")
        chaos.run(save, chaos.path, "two")
        if chaos.promised:
            assert (chaos.path / "f").exists()
            assert chaos.promised == ["one"]

    def forget(path):
        (path / "f").unlink()
        (path / "f").write_text("again")

    @scenario(faults.kill())
    def test_taken_back(chaos):
        chaos.run(save, chaos.path, "one")
        if (chaos.path / "f").exists():
            chaos.promise({"saved": ["one"]})
        chaos.run(forget, chaos.path)
        if chaos.promised == [{"saved": ["one"]}]:
            assert (chaos.path / "f").exists(), "a promise was broken"

    @scenario(faults.kill())
    def test_what_cannot_be_sent(chaos):
        chaos.run(save, chaos.path, "one")
        with pytest.raises(UsageError, match="Promise plain data"):
            chaos.promise(lambda: None)
"""


def test_a11_a_promise_is_one_wherever_it_is_made(tmp_path: Path) -> None:
    """Outside a run it binds what follows, and the result says after which run it was made."""
    inner.write(tmp_path, PROMISES)
    ran = inner.run(tmp_path)
    outcomes = {
        "test_confirmed_by_recovery": "passed",
        "test_taken_back": "failed",
        "test_what_cannot_be_sent": "passed",
    }
    assert ran.outcomes == outcomes, ran.texts
    told = ran.scenario("test_taken_back")
    assert told["outside"] == [{"after": 1, "value": "{'saved': ['one']}"}]
    assert told["promises"] == 1
    (case,) = [case for case in told["cases"] if case["timeline"] is not None]
    entries = [(entry["run"], entry["operation"]) for entry in case["timeline"]["entries"]]
    made = entries.index((1, "promise({'saved': ['one']}) by the test"))
    assert {run for run, _ in entries[:made]} == {1}
    assert {run for run, _ in entries[made + 1 :]} == {2}


# --- A15: what only the garbage collector closes ---

UNCLOSED = """
    import fcntl
    from chaoskit import faults, scenario

    class Lock:
        def acquire(self, path):
            self.file = open(path, "w")
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)   # raises: self.file is never closed

        def release(self):
            self.file.close()

    class Careful(Lock):
        def acquire(self, path):
            try:
                super().acquire(path)
            except OSError:
                self.release()
                raise

    KEPT = []

    def local(path, kind):
        lock = kind()
        lock.acquire(path / "lock")
        lock.release()

    def kept(path, kind):
        KEPT.append(kind())
        KEPT[0].acquire(path / "lock")
        KEPT[0].release()

    def careless(path):
        return open(path / "a", "w").write("as always")

    def variable(path):
        file = open(path / "lock", "w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.close()

    FAULTS = faults.disk().on(call="lock")

    @scenario(FAULTS)
    def test_variable(chaos):
        chaos.run(variable, chaos.path)

    @scenario(FAULTS)
    def test_local(chaos):
        chaos.run(local, chaos.path, Lock)

    @scenario(FAULTS)
    def test_kept(chaos):
        chaos.run(kept, chaos.path, Lock)

    @scenario(FAULTS)
    def test_careful(chaos):
        chaos.run(local, chaos.path, Careful)

    @scenario(faults.disk())
    def test_left_without_any_fault(chaos):
        chaos.run(careless, chaos.path)
"""


def test_a15_f8_what_only_the_garbage_collector_closes_is_a_leak(tmp_path: Path) -> None:
    """It does not depend on callers that keep the object; of what a variable had, a caveat tells."""
    inner.write(tmp_path, UNCLOSED)
    ran = inner.run(tmp_path)
    assert ran.outcomes == {
        "test_local": "failed",
        "test_kept": "failed",
        "test_careful": "passed",
        "test_variable": "passed",
        "test_left_without_any_fault": "passed",
    }, ran.texts
    caveats = {name: ran.scenario(name)["caveats"] for name in ("test_variable", "test_careful")}
    assert [one["kind"] for one in caveats["test_variable"]] == ["unclosed"]
    assert "name='lock'" in caveats["test_variable"][0]["text"]
    assert caveats["test_careful"] == []
    for name in ("test_local", "test_kept"):
        (finding,) = ran.scenario(name)["findings"]
        assert finding["failure"]["name"] == "no_leaked_descriptors"
    assert (
        "left to the garbage collector: unclosed file <_io.TextIOWrapper name='lock'"
        in ran.texts["test_local"]
    )
