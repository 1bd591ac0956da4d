"""What a check leaves running is none of the program's faults."""

from __future__ import annotations

from pathlib import Path

import inner

MODULE = """
    import os, threading, time
    from chaoskit import faults, scenario

    def load(path):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        return path.read_text() if path.exists() else ""

    @scenario(faults.kill())
    def test_check_with_a_thread(chaos):
        def work(path):
            for name in "abc":
                (path / name).write_text(name)
        chaos.run(work, chaos.path)
        assert load(chaos.path / "a") in ("", "a")

    @scenario(faults.kill())
    def test_refused_in_a_case(chaos):
        def work(path):
            (path / "a").write_text("a")
        outcome = chaos.run(work, chaos.path)
        if not outcome.ok:
            thread = threading.Thread(target=time.sleep, args=(60,), daemon=True)
            thread.start()
            chaos.run(work, chaos.path)

    @scenario(faults.kill())
    def test_refused_when_recorded_again(chaos):
        def work(path):
            (path / "a").write_text("a")
        if os.path.exists("recorded"):
            thread = threading.Thread(target=time.sleep, args=(60,), daemon=True)
            thread.start()
        open("recorded", "w").close()
        chaos.run(work, chaos.path)
"""


def test_a13_f2_threads_of_a_check_are_no_findings(tmp_path: Path) -> None:
    """A worker in which a check has left a thread is replaced, so every case is judged."""
    inner.write(tmp_path, MODULE)
    ran = inner.run(tmp_path, "-k", "test_check_with_a_thread")
    assert ran.outcomes["test_check_with_a_thread"] == "passed", ran.texts
    assert set(ran.verdicts("test_check_with_a_thread").values()) <= {"tolerated", "failed safe"}


def test_a_refusal_in_a_case_is_an_error_of_the_test(tmp_path: Path) -> None:
    """It is said once, with the case, and is not a violation."""
    inner.write(tmp_path, MODULE)
    ran = inner.run(tmp_path, "-k", "test_refused_in_a_case")
    text = ran.texts["test_refused_in_a_case"]
    assert ran.outcomes["test_refused_in_a_case"] in ("failed", "error")
    assert "chaos.run was refused" in text
    assert text.count("has other threads") == 1
    assert "violated" not in text


def test_a13_a_refusal_in_the_second_recording_is_said_as_what_it_is(tmp_path: Path) -> None:
    """It is not a failure of the program that only shows the second time."""
    inner.write(tmp_path, MODULE)
    ran = inner.run(tmp_path, "-k", "test_refused_when_recorded_again")
    text = ran.texts["test_refused_when_recorded_again"]
    assert ran.outcomes["test_refused_when_recorded_again"] in ("failed", "error")
    assert "when the baseline was recorded again chaos.run was refused" in text
    assert "failed the second time" not in text
