"""Small programs that public bug reports have led to, each with the verdict that is right for it."""

from __future__ import annotations

from pathlib import Path

import inner

from chaoskit.core.result import HANGS_THERE

COUNTER = """
    import pytest
    from chaoskit import faults, scenario

    def count(path):                                    # absent means zero, and the swap is atomic
        try:
            n = int((path / "n").read_text())
        except FileNotFoundError:
            n = 0
        (path / "n.tmp").write_text(str(n + 1))
        (path / "n.tmp").rename(path / "n")

    def goes_on(chaos):
        (chaos.path / "n").write_text("7")
        chaos.run(count, chaos.path)
        assert int((chaos.path / "n").read_text()) >= 7

    @scenario(faults.disk())
    def test_disk(chaos):
        goes_on(chaos)

    @scenario(faults.interference())
    def test_interference(chaos):
        goes_on(chaos)

    @scenario(faults.share().only("ENOENT"))
    def test_share(chaos):
        goes_on(chaos)
"""


def classes(ran: inner.Inner, name: str) -> dict[str, str]:
    """The class of each finding by its schedule."""
    return {one["schedule"]: one["fault_class"] for one in ran.scenario(name)["findings"]}


def test_f3_a_file_that_is_there_is_found(tmp_path: Path) -> None:
    """A correct counter is clean on the local disk, and its finding elsewhere says where it comes from."""
    inner.write(tmp_path, COUNTER)
    ran = inner.run(tmp_path)
    assert ran.outcomes == {"test_disk": "passed", "test_interference": "failed", "test_share": "failed"}
    assert ran.scenario("test_disk")["budget"]["run"] > 40
    points = ran.scenario("test_disk")["points"]
    assert not [fault for point in points for fault in point["faults"] if "ENOENT" in fault]
    assert classes(ran, "test_interference") == {"open(n)#1=ENOENT": "interference"}
    assert classes(ran, "test_share") == {"open(n)#1=ENOENT": "share"}
    assert "interference: only where other processes" in ran.texts["test_interference"]
    assert "share: only on a network file system" in ran.texts["test_share"]


OLDEST = """
    import os
    from chaoskit import faults, scenario

    def oldest(path):
        return min(os.listdir(path), key=lambda name: os.stat(path / name).st_mtime)

    def company(chaos):
        for n in "abc":
            (chaos.path / n).touch()
        out = chaos.run(oldest, chaos.path)
        assert not isinstance(out.error, FileNotFoundError)

    @scenario()
    def test_alone(chaos):
        company(chaos)

    @scenario(faults.interference())
    def test_company(chaos):
        company(chaos)
"""


def test_f7_a_file_that_vanishes_before_stat(tmp_path: Path) -> None:
    """Between a listing and the look at each file another process may remove it; alone, nothing can."""
    inner.write(tmp_path, OLDEST)
    ran = inner.run(tmp_path)
    assert ran.outcomes == {"test_alone": "passed", "test_company": "failed"}
    broken = {schedule for schedule, verdict in ran.verdicts("test_company").items() if verdict == "violated"}
    assert {f"stat({name})#1=ENOENT" for name in "abc"} <= broken
    assert set(classes(ran, "test_company").values()) == {"interference"}


def test_a8_a_look_up_that_fails_is_not_an_absence(tmp_path: Path) -> None:
    """``disk()`` strikes every kind of look-up and listing, so a program that swallows the error is found."""
    inner.write(tmp_path, LOOK_UPS)
    ran = inner.run(tmp_path)
    for call in ("stat", "getcwd", "getdents", "access", "readlink"):
        assert ran.outcomes[f"test_swallows[{call}]"] == "failed", call
        assert ran.outcomes[f"test_reports[{call}]"] == "passed", ran.texts


MOVED_IN = """
    import os, shutil, tempfile
    from chaoskit import faults, scenario

    def save(path, where, bring):
        with tempfile.NamedTemporaryFile("w", dir=where, delete=False) as f:
            f.write("new")
        bring(f.name, path / "data")

    def saved(chaos, where, bring=os.replace):
        (chaos.path / "data").write_text("old")
        chaos.run(save, chaos.path, where, bring)
        assert (chaos.path / "data").read_text() in ("old", "new")

    @scenario(faults.power_loss())
    def test_outside(chaos):
        saved(chaos, chaos.path.parent)

    @scenario(faults.power_loss())
    def test_moved(chaos):
        saved(chaos, chaos.path.parent, shutil.move)

    @scenario(faults.power_loss())
    def test_inside(chaos):
        saved(chaos, chaos.path)

    def sync(name, new):
        fd = os.open(name, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        os.replace(name, new)

    @scenario(faults.power_loss())
    def test_synced(chaos):
        saved(chaos, chaos.path.parent, sync)

    def publish(path, synced):
        made = tempfile.mkdtemp(dir=path.parent)
        os.mkdir(f"{made}/sub")
        for name in ("a", "sub/b"):
            with open(f"{made}/{name}", "w") as file:
                file.write("new")
                file.flush()
                if synced:
                    os.fsync(file.fileno())
        os.rename(made, path / "data")

    def published(chaos, synced):
        chaos.run(publish, chaos.path, synced)
        if (chaos.path / "data").exists():
            assert [(chaos.path / "data" / name).read_text() for name in ("a", "sub/b")] == ["new", "new"]

    @scenario(faults.power_loss())
    def test_directory(chaos):
        published(chaos, False)

    @scenario(faults.power_loss())
    def test_synced_directory(chaos):
        published(chaos, True)

    def fill(name):
        with open(name, "w") as f:
            f.write("new")

    def bring(name, path, synced):
        if synced:
            sync(name, path / "data")
        else:
            os.replace(name, path / "data")

    def in_two_runs(chaos, synced):
        (chaos.path / "data").write_text("old")
        new = f"{chaos.path}.new"
        chaos.run(fill, new)
        chaos.run(bring, new, chaos.path, synced)
        assert (chaos.path / "data").read_text() in ("old", "new")

    @scenario(faults.power_loss())
    def test_two_runs(chaos):
        in_two_runs(chaos, False)

    @scenario(faults.power_loss())
    def test_two_runs_synced(chaos):
        in_two_runs(chaos, True)
"""


def test_a14_f4_a_file_that_was_written_outside_is_not_synced_by_being_moved(tmp_path: Path) -> None:
    """Where a file was written makes no difference: without an fsync it may be empty, and that is said."""
    inner.write(tmp_path, MOVED_IN)
    ran = inner.run(tmp_path)
    unsynced = ("test_outside", "test_moved", "test_inside", "test_two_runs")
    right = dict.fromkeys(("test_synced", "test_synced_directory", "test_two_runs_synced"), "passed")
    assert ran.outcomes == {**dict.fromkeys((*unsynced, "test_directory"), "failed"), **right}, ran.output
    for name in unsynced:
        (finding,) = ran.scenario(name)["findings"]
        assert finding["advice"]["kind"] == "rename-before-sync"
        assert [caveat["kind"] for caveat in ran.scenario(name)["caveats"]] == []


LOOK_UPS = """
    import os
    import pytest
    from chaoskit import faults, scenario

    CALLS = {
        "stat": lambda: [os.stat("f"), os.stat("f", dir_fd=os.open(".", os.O_RDONLY))],
        "getcwd": os.getcwd,
        "getdents": lambda: os.listdir("."),
        "access": lambda: os.access("f", os.F_OK) or os.stat("no f"),
        "readlink": lambda: os.readlink("l"),
    }
    EACH = [pytest.param(call, marks=scenario(faults.disk().on(call=call)), id=call) for call in CALLS]

    def look(path, call, swallow):
        os.chdir(path)
        try:
            CALLS[call]()
        except OSError:
            if not swallow:
                raise
            return "absent"
        return "there"

    def struck(chaos, call, swallow):
        (chaos.path / "f").touch()
        (chaos.path / "l").symlink_to("f")
        assert chaos.run(look, chaos.path, call, swallow).value in ("there", None)

    @pytest.mark.parametrize("call", EACH)
    def test_swallows(chaos, call):
        struck(chaos, call, True)

    @pytest.mark.parametrize("call", EACH)
    def test_reports(chaos, call):
        struck(chaos, call, False)
"""


PATIENT = """
    import time
    from chaoskit import faults, scenario

    def patient(write):
        while True:
            try:
                return write()
            except PermissionError:
                time.sleep(0.05)

    def work(path):
        for n in range(5):
            patient(lambda: (path / "a").write_text(str(n)))

    @scenario(faults.disk().only("EACCES[persistent]", "EPERM[persistent]"), timeout=1.0)
    def test_comes_back(chaos):
        assert not chaos.run(work, chaos.path).timed_out
"""


def test_f10_hangs_of_one_cause_are_tried_three_times(tmp_path: Path) -> None:
    """They are one finding, and the rest of them is left out, counted and with the reason."""
    inner.write(tmp_path, PATIENT)
    ran = inner.run(tmp_path)
    told = ran.scenario("test_comes_back")
    assert [finding["verdict"] for finding in told["findings"]] == ["hung"]
    assert told["budget"]["run"] == 3
    assert told["budget"]["left_out"] == {HANGS_THERE: 7}


TWELVE = """
    import os, sys
    from chaoskit import faults, scenario

    CODE = (
        "import pathlib\\n"
        "for n in range(12): pathlib.Path(f'f{n:02}').write_text('x')\\n"
        "pathlib.Path('done').touch()"
    )

    @scenario(faults.disk().only("ENOSPC"))
    def test_command(chaos):
        chaos.run_command([sys.executable, "-S", "-c", CODE])
        assert (chaos.path / "done").exists()

    @scenario(faults.disk().only("ENOSPC"))
    def test_without_a_stack(chaos):
        chaos.run_command(["sh", "-c", "set -e; for n in 1 2 3 4 5 6 7 8 9; do echo x > f$n; done; : > done"])
        assert (chaos.path / "done").exists()

    @scenario(faults.disk().only("ENOSPC"))
    def test_function(chaos):
        def work(path):
            os.chdir(path)
            exec(CODE, {})
        chaos.run(work, chaos.path)
        assert (chaos.path / "done").exists()
"""


def test_f5_one_cause_is_one_finding_however_the_program_is_run(tmp_path: Path) -> None:
    """Twelve files in a loop are one place of the program, also where no Python line tells so."""
    inner.write(tmp_path, TWELVE)
    ran = inner.run(tmp_path)
    found = {name: len(ran.scenario(name)["findings"]) for name in ran.outcomes}
    # The line of the loop, and that of the file at its end; without lines, the program and its call.
    assert found == {"test_command": 2, "test_function": 2, "test_without_a_stack": 1}, ran.output
