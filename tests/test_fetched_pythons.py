"""CPython from Debian's packages: what apt is asked for, what is made of it, what is said where it fails."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parent.parent / ".ci"
DUMP = """APT "";
Acquire::http::Proxy "http://proxy.example:3128";
APT::Update::Post-Invoke "";
APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";
DPkg::Post-Invoke:: "touch /planted";
Dir::State "var/lib/apt";
"""


def load():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("pythons_under_test", CI / "pythons.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Machine:
    """Answers what ``pythons.py`` starts, as Debian would, and keeps what was started."""

    def __init__(self, pythons):
        self.pythons = pythons
        self.ran: list[tuple[str, ...]] = []
        self.settings: list[str] = []
        self.archives = (
            "Debian bookworm-security http://security.example/\nDebian bookworm http://debian.example/\n"
        )
        self.failing = ""

    def run(self, *command, **environment):
        self.ran.append(command)
        if self.failing and self.failing in command:
            raise self.pythons.CannotProvide(f"{self.failing} ended with 100")
        if "APT_CONFIG" in environment:
            self.settings.append(Path(environment["APT_CONFIG"]).read_text())
        if "--download-only" in command:
            (self.pythons.home() / "apt/cache/archives/python3.deb").touch()
        if command[0] == "dpkg-deb":
            self._unpack(Path(command[-1]) / "usr")
        return {"indextargets": self.archives, "dump": DUMP}.get(command[1], "")

    def _unpack(self, usr: Path) -> None:
        for name in ("bin/python3.14", "bin/python3.15", "lib/some-linux-gnu/ld-linux.so.2", "share/x"):
            (usr / name).parent.mkdir(parents=True, exist_ok=True)
            (usr / name).touch()
        (usr / "share/python-wheels").mkdir()
        (usr / "share/python-wheels/pip-26.0-py3-none-any.whl").touch()
        (usr / "lib/python3.14").mkdir()
        (usr / "lib/python3.14/_sysconfigdata__linux.py").write_text("{'W': '/usr/share/python-wheels/'}")

    def started(self, word: str) -> tuple[str, ...]:
        """The one command that has this word."""
        (found,) = (command for command in self.ran if word in command)
        return found


@pytest.fixture
def pythons(tmp_path, monkeypatch):
    module = load()
    keyrings = tmp_path / "keyrings"
    keyrings.mkdir()
    (keyrings / "debian-archive-keyring.pgp").touch()
    monkeypatch.setattr(module, "ROOT", tmp_path / "clone")
    monkeypatch.setattr(module, "KEYRINGS", keyrings)
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.shutil, "which", lambda command: f"/usr/bin/{command}")
    monkeypatch.delenv(module.MIRROR, raising=False)
    return module


@pytest.fixture
def machine(pythons, monkeypatch):
    made = Machine(pythons)
    monkeypatch.setattr(pythons, "_run", made.run)
    return made


def test_packages_are_verified_and_kept_apart(pythons, machine):
    """apt uses the archive and the settings of the machine, its keys, and otherwise folders of its own."""
    seen = []
    real = machine.run
    pythons._run = lambda *command, **more: (
        seen.extend(path.read_text() for path in pythons.home().glob("apt/sources.list")),
        real(*command, **more),
    )[1]
    pythons.provide(["3.14", "3.15"])
    keyring = pythons.KEYRINGS / "debian-archive-keyring.pgp"
    assert set(seen) == {f"deb [signed-by={keyring}] http://debian.example/ {pythons.SUITE} main\n"}
    update, install = machine.settings
    assert update == install
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in update
    assert "Invoke" not in update
    last = dict(re.findall(r'^(\S+) "(.*)";$', update, re.MULTILINE))
    for key in ("Dir::State", "Dir::State::status", "Dir::Cache", "Dir::Etc::sourcelist"):
        assert Path(last[key]).is_relative_to(pythons.home()), key
    assert machine.started("--download-only")[-4:] == (
        *("python3.14", "python3.14-venv", "python3.15", "python3.15-venv"),
    )


def test_interpreters_are_told_where_they_are(pythons, machine):
    """Loader and libraries are their own, the library is compiled, ensurepip finds its pip; the rest goes."""
    pythons.provide(["3.15"])
    told = machine.started("--set-interpreter")
    loader = str(pythons.home() / "usr/lib/some-linux-gnu/ld-linux.so.2")
    assert told[1:] == (
        *("--set-interpreter", loader, "--force-rpath", "--set-rpath"),
        *("$ORIGIN/../lib/some-linux-gnu", str(pythons.folder() / "python3.15")),
    )
    data = pythons.home() / "usr/lib/python3.14/_sysconfigdata__linux.py"
    assert data.read_text() == f"{{'W': '{pythons.home()}/usr/share/python-wheels/'}}"
    compiled = machine.started("compileall")
    assert machine.ran[-1] == compiled
    assert (compiled[0], compiled[-1]) == (
        *(str(pythons.folder() / "python3.15"), str(pythons.home() / "usr/lib/python3.15")),
    )
    assert sorted(os.listdir(pythons.home())) == ["usr"]


def test_what_was_fetched_before_is_fetched_again_with_the_rest(pythons, machine):
    """They share their libraries, so they are always of one day."""
    pythons.folder().mkdir(parents=True)
    (pythons.folder() / "python3.14").touch()
    pythons.provide(["3.15"])
    assert {"python3.14", "python3.15"} <= set(machine.started("--download-only"))


@pytest.mark.parametrize("failing", ["update", "--download-only", "-x", "--set-interpreter", "-I"])
def test_failure_leaves_nothing_behind(pythons, machine, failing):
    """Whatever step fails, no half of a Python is there to be found."""
    machine.failing = failing
    with pytest.raises(pythons.CannotProvide, match="ended with 100"):
        pythons.provide(["3.14"])
    assert not pythons.home().exists()


def test_other_systems_are_told_another_way(pythons, machine, monkeypatch):
    """Without apt nothing is tried, and the message has what works elsewhere."""
    monkeypatch.setattr(pythons.shutil, "which", lambda command: None)
    with pytest.raises(
        pythons.CannotProvide, match=r"no apt here\. Another way: uv python install 3\.14 3\.15"
    ):
        pythons.provide(["3.15", "3.14"])
    assert machine.ran == []


def test_archive_can_be_named_where_apt_knows_none(pythons, machine, monkeypatch):
    """Ubuntu has apt and other archives: the message says what to set, and that is then used."""
    machine.archives = (
        "Ubuntu noble http://ubuntu.example/\nDebian trixie-security http://security.example/\n"
    )
    with pytest.raises(pythons.CannotProvide, match=f"name one in {pythons.MIRROR}"):
        pythons.provide(["3.14"])
    monkeypatch.setenv(pythons.MIRROR, "http://named.example/debian")
    assert pythons._archive(["3.14"])[0] == "http://named.example/debian"


def test_missing_keys_are_said(pythons, machine):
    """Nothing is fetched that cannot be verified."""
    (pythons.KEYRINGS / "debian-archive-keyring.pgp").unlink()
    with pytest.raises(pythons.CannotProvide, match="apt-get install debian-archive-keyring"):
        pythons.provide(["3.14"])


def test_failed_command_is_quoted(pythons):
    """The message has the command, its status and the end of what it said."""
    with pytest.raises(pythons.CannotProvide, match=r"^sh ended with 7: planted$"):
        pythons._run("sh", "-c", "echo planted >&2; exit 7")


FETCHED = sorted(load().folder().glob("python3.*"))


@pytest.mark.skipif(not FETCHED, reason="none was fetched here: make pythons")
@pytest.mark.parametrize("python", FETCHED, ids=lambda path: path.name)
def test_fetched_python_is_like_any_other(python, tmp_path):
    """It knows its path, starts itself and other programs, and makes environments that do the same."""
    code = (
        "import ctypes, os, subprocess, sys\n"
        "assert os.readlink('/proc/self/exe') == os.path.realpath(sys.executable)\n"
        "assert ctypes.CDLL(None).getpid() == os.getpid()\n"
        "subprocess.run(['git', '--version'], check=True, stdout=subprocess.DEVNULL)\n"
        "print(sys.executable)\n"
        "if sys.argv[1:]: subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)\n"
    )
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    for executable in (python, tmp_path / "venv/bin/python"):
        told = subprocess.run([executable, "-c", code, code], check=True, capture_output=True, text=True)
        assert told.stdout.split() == [str(executable)] * 2
