from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from chaoskit.core.errors import BackendUnavailable
from chaoskit.core.schedule import Schedule
from chaoskit.doctor import Item, examine, network, trials
from chaoskit.doctor.diagnosis import Diagnosis, worst
from chaoskit.doctor.examine import needs
from chaoskit.faults.inside import Inward
from chaoskit.inject import backends
from chaoskit.inject.base import Plan, Ran
from chaoskit.inject.kernel import KernelBackend

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

# Installs a classic BPF filter that answers one system call with an errno, then becomes `chaoskit doctor`.
# The listener variant takes the one listener that a process can have, as some sandboxes do.
_UNDER_FILTER = """
import ctypes, struct, sys
from chaoskit.cli import main
number, code, flags = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
rows = struct.pack("=HBBI", 0x20, 0, 0, 0)
rows += struct.pack("=HBBI", 0x15, 0, 1, number)
rows += struct.pack("=HBBI", 0x06, 0, 0, 0x00050000 | code)
rows += struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
code = ctypes.create_string_buffer(rows, len(rows))
header = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", 4, ctypes.addressof(code)))
libc.prctl(38, 1, 0, 0, 0)
seccomp = {"x86_64": 317, "aarch64": 277}[__import__("os").uname().machine]
if libc.syscall(seccomp, 1, flags, ctypes.c_void_p(ctypes.addressof(header))) < 0:
    sys.exit(f"no filter: {ctypes.get_errno()}")
main(["doctor", *sys.argv[4:]])
"""
SECCOMP = {"x86_64": 317, "aarch64": 277}


def under(number: int, code: int, *words: str, flags: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the doctor under a filter."""
    command = [sys.executable, "-c", _UNDER_FILTER, str(number), str(code), str(flags), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def diagnose_under(number: int, code: int, flags: int = 0) -> tuple[int, dict[str, dict]]:
    """Exit status, and items by name, of ``chaoskit doctor --json`` under a filter."""
    done = under(number, code, "--json", flags=flags)
    assert done.stdout, done.stderr
    plain = json.loads(done.stdout)
    assert plain["ok"] == (done.returncode == 0)
    return done.returncode, {item["name"]: item for item in plain["items"]}


@linux
def test_all_is_well_here():
    """On a machine that runs this suite the default backend works, and every kind of fault struck."""
    found = examine()
    assert [item for item in found.items if item.needed and item.status != "ok"] == []
    assert {item.name for item in found.of("faults")} >= {trial.name for trial in trials.TRIALS}
    assert [item.name for item in found.of("network") if item.status == "ok"] == [
        one.name for one in network.EXCHANGES
    ]
    assert found.ok


@linux
def test_a_network_that_does_not_work_is_named(monkeypatch):
    """A backend that strikes nothing, or in which the client gets nothing, is told with what would help."""
    items = list(network.exchanges(Lying(Ran(ok=False, error=ConnectionRefusedError(111, "no")))))
    assert [item.status for item in items] == ["no"] * len(network.EXCHANGES)
    assert all(item.hint and not item.needed for item in items)


@linux
def test_nothing_is_left_behind(tmp_path, monkeypatch):
    """The trials clean up after themselves, those that kill included."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    # What earlier tests have left to the collector may be closed at any time.
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    examine()
    assert os.listdir(tmp_path) == []
    assert set(os.listdir("/proc/self/fd")) <= before


@linux
@pytest.mark.parametrize(
    ("call", "name"),
    [
        ({"x86_64": 438, "aarch64": 438}, "descriptors of a child"),  # pidfd_getfd
        (SECCOMP, "user notification"),
    ],
)
def test_forbidden_call_is_named(call, name):
    """Where a profile forbids a call that is needed, that item says no, with a hint, and exit is 1."""
    status, items = diagnose_under(call[os.uname().machine], errno.EPERM)
    assert status == 1
    assert (items[name]["status"], items[name]["needed"]) == ("no", True)
    assert items[name]["hint"]
    assert items["all kinds"]["status"] == "no"
    assert "in force already" in items["seccomp"]["detail"]


@linux
def test_without_seccomp_the_other_backend_is_named():
    """Its needs are met, and the last line says how to ask for it."""
    done = under(SECCOMP[os.uname().machine], errno.EPERM)
    assert done.returncode == 1, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert "The default backend (kernel) does not work here." in last
    assert "Scenarios for the inprocess backend still run: --chaoskit-backend=inprocess." in last


@linux
def test_harmless_filter_does_not_hurt():
    """Under a filter that forbids nothing of interest all works: a container alone is no reason."""
    status, items = diagnose_under(9999, errno.EPERM)
    assert status == 0
    assert "in force already" in items["seccomp"]["detail"]


@linux
def test_taken_listener_is_noticed():
    """A process that has a seccomp listener already cannot have a second: the trial finds out."""
    status, items = diagnose_under(9999, errno.EPERM, 1 << 3)
    assert status == 1
    assert items["seccomp notification"]["status"] == "no"


# An interpreter below /root cannot be started by somebody else, so all is loaded before root is given up.
# Changing the user makes a process undumpable, which an ordinary user's own processes are not.
_AS_NOBODY = """
import ctypes, json, os
from chaoskit.doctor import examine
examine()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
assert "CapEff:\\t0000000000000000" in open("/proc/self/status").read()
print(json.dumps(examine().to_dict()))
"""


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_ordinary_user_has_all_of_it():
    """Without root, and without any capability, every item is as for root."""
    place = Path(tempfile.mkdtemp(prefix="chaoskit-user-"))
    place.chmod(0o777)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY],
            env={**os.environ, "TMPDIR": str(place)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        shutil.rmtree(place)
    assert done.returncode == 0, done.stderr
    plain = json.loads(done.stdout)
    assert plain["ok"]
    assert [item for item in plain["items"] if item["status"] == "no"] == []
    assert "uid 65534, no root needed" in {item["detail"] for item in plain["items"]}


class Lying:
    """A backend that claims what a test wants it to claim."""

    name = "lying"

    def __init__(self, answer):
        self.answer = answer

    def unavailable(self):
        return None

    def check(self, fault):
        pass

    def run(self, work, plan):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("trial", trials.TRIALS, ids=lambda trial: trial.name)
def test_no_receipt_is_no(trial):
    """A backend that runs the workload but strikes nothing is found out by every trial."""
    item = trials.attempt(Lying(Ran(ok=True)), trial)
    assert item.status == "no"
    assert "did not strike" in item.detail


@linux
@pytest.mark.parametrize("trial", trials.TRIALS, ids=lambda trial: trial.name)
def test_receipt_without_effect_is_no(trial, tmp_path):
    """A receipt is not believed: the outcome must be the one that this fault has."""
    strikes = Schedule.parse(trial.schedule).strikes
    plan = Plan(str(tmp_path.resolve()), strikes=strikes, inside=Inward(packages=(trials.__name__,)))
    (tmp_path / "given").write_bytes(trials.CONTENT)
    real = KernelBackend().run(lambda: trial.work(tmp_path), plan)
    claimed = Ran(ok=True, error=ValueError("other"), receipts=real.receipts)
    item = trials.attempt(Lying(claimed), trial)
    assert item.status == "no"
    assert "struck, but then" in item.detail


@pytest.mark.parametrize("error", [OSError(1, "no"), KeyError("x"), BackendUnavailable("no")])
def test_broken_backend_is_an_answer(error):
    """A backend that raises anything makes the item say no; the doctor itself goes on."""
    assert trials.attempt(Lying(error), trials.TRIALS[0]).status == "no"
    assert trials.recording(Lying(error)).status == "no"


@linux
def test_broken_probe_is_an_answer(monkeypatch):
    """When the backend's own probe raises, the diagnosis says so and goes on to the rest."""
    from chaoskit.inject.kernel import probe

    def boom(run):
        raise NameError("boom")

    monkeypatch.setattr(probe, "probe", boom)
    found = examine()
    assert not found.ok
    assert [item.detail for item in found.items if item.name == "probe"] == ["NameError: boom"]
    assert found.of("extras")


def test_recording_that_misses_the_write_is_no():
    """A recording without the data of the write would make power loss blind, so it counts as broken."""
    assert trials.recording(Lying(Ran(ok=True))).status == "no"


def test_other_systems_are_told_what_remains(monkeypatch):
    """Outside Linux the kernel backend says no at once, and the hint says what can be done."""
    monkeypatch.setattr(backends.sys, "platform", "darwin")
    (item,) = needs("kernel")
    assert (item.status, item.needed) == ("no", True)
    assert "chaoskit.runtime work everywhere" in item.hint


@pytest.mark.parametrize("name", backends.NAMES)
def test_elsewhere_scenarios_are_refused_and_faults_by_hand_are_named(monkeypatch, name):
    """Not promised and then broken: without the processes of Linux a scenario says so, and what works."""
    monkeypatch.setattr(backends.sys, "platform", "darwin")
    found, reason = backends.found(name)
    assert found is None
    assert "chaoskit.injecting" in reason


def test_degraded_is_no_failure():
    """Only a needed item that does not work makes the diagnosis negative."""
    fine = Item("a", "b", "degraded", "slow", needed=True)
    extra = Item("a", "c", "no", "absent")
    assert Diagnosis("kernel", (fine, extra)).ok
    assert not Diagnosis("kernel", (fine, Item("a", "d", "no", "absent", needed=True))).ok
    assert worst(["ok", "no", "degraded"]) == "no"


@linux
def test_text_is_for_people(capsys):
    """The text has a line for each item and ends with the verdict."""
    from chaoskit.cli.group import run

    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "machine"
    assert lines[-1] == "The default backend (kernel) works here, with all of its faults."
    assert any(line.startswith("  ok        a kill inside a write  ") for line in lines)


def test_text_names_what_is_broken(capsys, monkeypatch):
    """When the backend does not work, the last line says which item, what was seen and what would help."""
    from chaoskit.cli import doctor
    from chaoskit.cli.group import run

    broken = Item("kernel backend", "seccomp notification", "no", "EPERM", "Allow it.", needed=True)
    monkeypatch.setattr(doctor, "examine", lambda: Diagnosis("kernel", (broken,)))
    assert run(["doctor"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "The default backend (kernel) does not work here. seccomp notification: EPERM. Allow it."
