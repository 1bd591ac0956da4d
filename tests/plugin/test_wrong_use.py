"""Wrong use is answered with the value, the expectation and the next step."""

from __future__ import annotations

from pathlib import Path

import inner
import pytest

MODULE = """
    import asyncio, ctypes, os, sqlite3, struct, sys, threading, time, unittest
    import pytest
    from hypothesis import given, strategies as st
    from chaoskit import faults, scenario
    from saving import save, load

    @scenario(faults.kill())
    def test_no_run(chaos):
        save(chaos.path, {})

    def failing(path):
        save(path, {})
        raise ValueError("the disk is made of cheese")

    @scenario(faults.kill())
    def test_fails_in_baseline(chaos):
        chaos.run(failing, chaos.path)

    def dying(path):
        save(path, {})
        os.kill(os.getpid(), 9)

    @scenario(faults.kill())
    def test_dies_in_baseline(chaos):
        chaos.run(dying, chaos.path)

    def exiting(path):
        save(path, {})
        sys.exit(3)

    @scenario(faults.kill())
    def test_exits_in_baseline(chaos):
        chaos.run(exiting, chaos.path)

    def hanging(path):
        save(path, {})
        threading.Event().wait()

    def ending(path):
        save(path, {})
        os._exit(0)

    @scenario(faults.kill())
    def test_ends_itself_in_baseline(chaos):
        chaos.run(ending, chaos.path)

    @scenario(faults.kill())
    def test_command_fails_in_baseline(chaos):
        chaos.run_command(["sh", "-c", "echo > a; exit 4"])

    class TestOfUnittest(unittest.TestCase):
        @scenario(faults.kill())
        def test_of_unittest(self):
            pass

    @scenario(faults.kill(), timeout=1.5)
    def test_hangs_in_baseline(chaos):
        chaos.run(hanging, chaos.path)

    @scenario(faults.kill())
    def test_open_descriptor(chaos):
        with open(chaos.path / "run.log", "w"):
            chaos.run(save, chaos.path, {})

    @scenario(faults.kill())
    def test_open_connection(chaos):
        connection = sqlite3.connect(chaos.path / "jobs.db")
        connection.execute("create table job (id)")
        chaos.run(save, chaos.path, {})

    @scenario(faults.disk())
    @scenario(faults.kill())
    def test_twice(chaos):
        chaos.run(save, chaos.path, {})

    def saving_in_parts(path):
        save(path, {})
        yield

    @scenario(faults.kill())
    def test_generator(chaos):
        chaos.run(saving_in_parts, chaos.path)

    @scenario(faults.kill())
    def test_recovery_by_value(chaos):
        chaos.run(save, chaos.path, {})
        chaos.recover(load(chaos.path))

    @scenario(faults.kill())
    @given(st.integers())
    def test_given(chaos, number):
        chaos.run(save, chaos.path, {})

    @scenario(faults.kill().on(call="rename"), timeout=1.5)
    def test_recovery_hangs(chaos):
        chaos.run(save, chaos.path, {})
        if not (chaos.path / "job.json").exists():
            threading.Event().wait()

    def waiting(path):
        if not (path / "job.json").exists():
            threading.Event().wait()

    @scenario(faults.kill().on(call="rename"), timeout=1.5)
    def test_named_recovery_hangs(chaos):
        chaos.run(save, chaos.path, {})
        chaos.recover(waiting, chaos.path)

    async def saving(path):
        await asyncio.sleep(0)
        save(path, {"n": 2})

    @scenario(faults.kill())
    def test_async_workload(chaos):
        save(chaos.path, {"n": 1})
        chaos.run(saving, chaos.path)
        assert load(chaos.path) in ({"n": 1}, {"n": 2})

    @scenario(faults.kill())
    def test_threads(chaos):
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait, name="heartbeat")
        thread.start()
        try:
            chaos.run(save, chaos.path, {})
        finally:
            stop.set()
            thread.join()

    def returning_function(path):
        save(path, {})
        return lambda: None

    @scenario(faults.kill())
    def test_result_cannot_travel(chaos):
        chaos.run(returning_function, chaos.path)

    @scenario(faults.kill())
    def test_refusal_is_caught(chaos):
        try:
            chaos.run(returning_function, chaos.path)
        except Exception:
            pass

    @scenario(faults.kill())
    def test_refusal_of_an_argument_is_caught(chaos):
        with pytest.raises(Exception):
            chaos.run_command("ls -l")

    def nested(chaos):
        chaos.run(save, chaos.path, {})

    @scenario(faults.kill())
    def test_nested(chaos):
        chaos.run(nested, chaos)

    def daemonising(path):
        save(path, {})
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        os.wait()

    def daemonising_after_error(path):
        try:
            save(path, {})
        except OSError:
            daemonising(path)

    @scenario(faults.disk().only("short[1]"))
    def test_daemonises_always(chaos):
        chaos.run(daemonising, chaos.path)

    @scenario(faults.disk().only("EIO").on(call="rename"))
    def test_daemonises_in_a_case(chaos):
        chaos.run(daemonising_after_error, chaos.path)

    def filtering(path):
        save(path, {"n": 1})
        program = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
        buffer = ctypes.create_string_buffer(program, len(program))
        header = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", 1, ctypes.addressof(buffer)))
        libc = ctypes.CDLL(None)
        libc.prctl(38, 1, 0, 0, 0)
        libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(header)), 0, 0)
        save(path, {"n": 2})

    @scenario(faults.kill())
    def test_own_filter(chaos):
        chaos.run(filtering, chaos.path)

    @scenario(faults.kill())
    def test_without_fixture():
        pass

    @scenario(faults.kill())
    async def test_async(chaos):
        pass

    def test_not_marked(chaos):
        pass

    def idle():
        pass

    @scenario(faults.disk() | faults.kill())
    def test_nothing_to_strike(chaos):
        chaos.run(idle)

    @scenario(faults.disk().only("EXDEV").on(path="other"))
    def test_no_fault_fits(chaos):
        chaos.run(save, chaos.path, {})

    @pytest.mark.chaoskit(faults.kill(), deph=2)
    def test_marker_with_unknown_argument(chaos):
        chaos.run(save, chaos.path, {})

    @scenario(faults.kill())
    def test_promise_that_cannot_be_sent(chaos):
        chaos.promise(lambda: 1)

    @scenario(faults.kill())
    def test_not_callable(chaos):
        chaos.run("save")

    @scenario(faults.kill())
    def test_command_as_text(chaos):
        chaos.run_command("ls -l")

    ran = []

    @scenario(faults.kill())
    def test_not_repeatable(chaos):
        ran.append(1)
        assert len(ran) == 1
        chaos.run(save, chaos.path, {})

    @scenario(faults.kill())
    def test_skips_itself_in_cases(chaos):
        chaos.run(save, chaos.path, {})
        if not (chaos.path / "job.json").exists():
            pytest.skip("nothing to look at")
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """One run of all wrong uses."""
    directory = tmp_path_factory.mktemp("wrong")
    inner.write(directory, MODULE)
    return inner.run(directory)


REFUSED = {
    "test_no_run": ["test_no_run never called chaos.run", "expected at least one call", "chaos.run(function"],
    "test_fails_in_baseline": ["ValueError: the disk is made of cheese", "without any fault", "in failing"],
    "test_dies_in_baseline": ["killed by SIGKILL, without any fault", "expected it to return"],
    "test_exits_in_baseline": ["SystemExit: 3", "expected it to return"],
    "test_ends_itself_in_baseline": [
        "WorkloadError: the workload's process ended with status 0",
        "expected it to return",
        "chaos.run_command",
    ],
    "test_command_fails_in_baseline": ["sh ended with status 4", "without any fault in it."],
    "TestOfUnittest::test_of_unittest": [
        "does not ask for the fixture 'chaos'",
        "unittest.TestCase takes no",
    ],
    "test_hangs_in_baseline": ["hung", "without any fault", "time='real'"],
    "test_open_descriptor": ["descriptor", "(run.log)", "is open in the test process", "Close the file"],
    "test_open_connection": ["(jobs.db)", "is open in the test process", "would survive the kill"],
    "test_twice": ["made a scenario twice", "Unite the faults", "faults.disk() | faults.kill()"],
    "test_generator": ["saving_in_parts", "expected a function", "runs nothing of its body"],
    "test_recovery_by_value": ["chaos.recover's first argument is {} (dict)", "expected a function"],
    "test_given": ["@given", "parametrize"],
    "test_threads": ["other threads (heartbeat)", "expected none", "Stop them", "chaos.peer("],
    "test_result_cannot_travel": ["cannot leave its process", "function", "Return plain data"],
    "test_refusal_is_caught": [
        "caught the error that chaos.run raised",
        "cannot leave its process",
        "Return plain data",
    ],
    "test_refusal_of_an_argument_is_caught": ["caught the error that chaos.run raised", "'ls -l' (str)"],
    "test_nested": ["inside a workload", "Call the function directly"],
    "test_without_fixture": ["test_without_fixture", "does not ask for the fixture 'chaos'"],
    "test_async": [
        "test_async is a coroutine function",
        "expected a plain function",
        "Write 'def'",
    ],
    "test_not_marked": ["test_not_marked", "is not a scenario", "@scenario("],
    "test_nothing_to_strike": ["did nothing below chaos.path", "Give it chaos.path"],
    "test_no_fault_fits": ["none of the faults asked for", "faults.disk()", "--chaoskit-list"],
    "test_marker_with_unknown_argument": ["'deph'", "expected one of depth, "],
    "test_promise_that_cannot_be_sent": [
        "promise() was given a value that cannot leave",
        "Promise plain data",
    ],
    "test_not_callable": ["'save' (str)", "chaos.run_command"],
    "test_command_as_text": ["'ls -l' (str)", "a list of the program and its arguments"],
    "test_not_repeatable": ["passed once without faults and failed the second time", "assert"],
    "test_skips_itself_in_cases": ["skipped itself in this case: nothing to look at", "could not be judged"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_answer_says_what_is_wrong_and_what_to_do(answers: inner.Inner, name: str) -> None:
    """Each wrong use fails its test with a message that has the value, the expectation and the next step."""
    print(answers.texts[name])
    assert answers.outcomes[name] in ("failed", "error")
    for part in REFUSED[name]:
        assert part in answers.texts[name]


@pytest.mark.parametrize("name", ["test_fails_in_baseline", "test_exits_in_baseline", "test_open_descriptor"])
def test_the_traceback_ends_where_the_test_called_us(answers: inner.Inner, name: str) -> None:
    """A stranger is shown the test and the workload, not the harness between and beyond."""
    print(answers.texts[name])
    assert "chaos.run(" in answers.texts[name]
    assert "chaoskit/session/" not in answers.texts[name]
    assert "chaoskit/inject/" not in answers.texts[name]


def test_the_harness_is_in_a_full_traceback(tmp_path: Path) -> None:
    """--full-trace shows all of it, for those who look for the bug in the harness."""
    inner.write(tmp_path, MODULE)
    found = inner.run(tmp_path, "--full-trace", "-k", "test_open_descriptor")
    assert "chaoskit/inject/kernel/workload/preconditions.py" in found.texts["test_open_descriptor"]


@pytest.mark.parametrize("name", ["test_recovery_hangs", "test_named_recovery_hangs"])
def test_a_hanging_recovery_is_killed_and_told_with_its_stack(answers: inner.Inner, name: str) -> None:
    """A recovery that hangs neither hangs pytest nor hides: its verdict is hung, its stack is shown."""
    print(answers.texts[name])
    assert answers.outcomes[name] == "failed"
    assert "hung: rename(job.json.tmp -> job.json)#1=kill" in answers.texts[name]
    assert "threading.py" in answers.texts[name]
    assert "struck: rename(job.json.tmp -> job.json)#1, SIGKILL" in answers.texts[name]


def test_an_async_workload_is_run_on_a_loop_of_its_own(answers: inner.Inner) -> None:
    """A coroutine function is a workload like any other."""
    assert answers.outcomes["test_async_workload"] == "passed"
    assert len(answers.scenario("test_async_workload")["cases"]) > 3


def test_a_daemon_that_every_run_starts_is_killed_and_is_no_leak(answers: inner.Inner) -> None:
    """What the baseline leaves running is the program's way; it does not outlive its case."""
    print(answers.texts["test_daemonises_always"])
    assert answers.outcomes["test_daemonises_always"] == "passed"
    # Whoever was killed by the fault would have left nothing anyway.
    assert set(answers.verdicts("test_daemonises_always").values()) == {"tolerated"}


def test_a_daemon_that_only_a_fault_starts_is_a_leak(answers: inner.Inner) -> None:
    """A process left behind in a case, and not in the baseline, is a violation."""
    print(answers.texts["test_daemonises_in_a_case"])
    assert answers.outcomes["test_daemonises_in_a_case"] == "failed"
    assert "leaked processes" in answers.texts["test_daemonises_in_a_case"]


def test_a_filter_of_the_workload_is_reported(answers: inner.Inner) -> None:
    """A workload that installs a seccomp filter of its own may hide calls, and the report says so."""
    kinds = [caveat["kind"] for caveat in answers.scenario("test_own_filter")["caveats"]]
    assert kinds == ["own-filter"]


def test_every_wrong_use_is_in_the_report(answers: inner.Inner) -> None:
    """Scenarios that could not be explored are in the report with their reason, not missing."""
    for name in REFUSED:
        if name not in ("test_not_marked", "test_skips_itself_in_cases"):
            assert answers.scenario(name)["state"] == "error"
            assert answers.scenario(name)["error"]
