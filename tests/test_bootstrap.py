"""The set-up of a machine: which Pythons are taken, what is installed when, what is said if it cannot be."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parent.parent / ".ci"


@pytest.fixture
def boot(tmp_path, monkeypatch):
    """The script as a module that works on a project of its own, and starts no installer."""
    monkeypatch.syspath_prepend(CI)
    for name in ("packages", "pythons"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", CI / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    root = tmp_path / "project"
    (root / ".ci").mkdir(parents=True)
    (root / ".venv").mkdir()
    (root / "pyproject.toml").write_text("[project]\n")
    (root / ".ci/constraints.txt").write_text("a==1\n")
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(module, "VENVS", root / ".venv")
    monkeypatch.setattr(module, "CONSTRAINTS", root / ".ci/constraints.txt")
    monkeypatch.setattr(module.pythons, "ROOT", root)
    yield module
    for name in ("packages", "pythons"):
        sys.modules.pop(name, None)


def fake_python(folder: Path, version: tuple[int, int, int], **facts) -> Path:
    """A program that answers the probe as a Python of this version would."""
    answer = {
        "executable": str(folder / f"python{version[0]}.{version[1]}"),
        "version": version,
        "final": True,
        "cpython": True,
        "gil": True,
        "base": str(folder.parent),
        "in_venv": False,
        "missing": [],
        "pip": True,
        **facts,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"python{version[0]}.{version[1]}"
    path.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(boot, tmp_path, monkeypatch):
    """A machine that has no Python but the ones that a test makes: on PATH, and in a pyenv."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = boot.candidates
    inside = str(tmp_path)
    monkeypatch.setattr(boot, "candidates", lambda: [path for path in found() if path.startswith(inside)])
    return tmp_path


def names(boot) -> dict[str, str]:
    return {one.name: one.executable for one in boot.interpreters()}


def test_one_python_of_each_minor_version(boot, machine):
    """Each minor version counts once, PATH before pyenv, a later patch release before an earlier one."""
    fake_python(machine / "bin", (3, 12, 1))
    fake_python(machine / "pyenv/versions/3.12.9/bin", (3, 12, 9))
    fake_python(machine / "pyenv/versions/3.11.2/bin", (3, 11, 2))
    fake_python(machine / "pyenv/versions/3.11.10/bin", (3, 11, 10))
    found = boot.interpreters()
    assert [(one.name, one.version) for one in found] == [("3.11", (3, 11, 10)), ("3.12", (3, 12, 1))]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"final": False}, "a pre-release"),
        ({"cpython": False}, "not CPython"),
        ({"gil": False}, "a free-threaded build"),
        ({"missing": ["sqlite3"]}, "built without sqlite3"),
    ],
)
def test_unsuitable_pythons_are_said_and_left_out(boot, machine, capsys, facts, said):
    """A Python that is not tested with is named with the reason, and another of its version is taken."""
    fake_python(machine / "bin", (3, 13, 0), **facts)
    fake_python(machine / "pyenv/versions/3.13.1/bin", (3, 13, 1))
    assert names(boot) == {"3.13": str(machine / "pyenv/versions/3.13.1/bin/python3.13")}
    assert said in capsys.readouterr().out


def test_fetched_pythons_stand_behind_the_machines_own(boot, machine):
    """What the set-up has fetched is found, and used where the machine has nothing of that version."""
    own = fake_python(machine / "bin", (3, 14, 0))
    for version in ((3, 14, 8), (3, 15, 0)):
        fake_python(boot.pythons.folder(), version)
    assert names(boot) == {"3.14": str(own), "3.15": str(boot.pythons.folder() / "python3.15")}


def test_old_pythons_are_passed_over_silently(boot, machine, capsys):
    """A machine full of old Pythons does not fill the screen."""
    fake_python(machine / "pyenv/versions/3.8.18/bin", (3, 8, 18))
    fake_python(machine / "bin", (3, 11, 0))
    assert list(names(boot)) == ["3.11"]
    assert capsys.readouterr().out == ""


def test_python_that_can_make_environments_is_preferred(boot, machine):
    """Debian's Python without python3-venv stands back behind another of its version that has it."""
    fake_python(machine / "bin", (3, 11, 2), pip=False)
    fake_python(machine / "pyenv/versions/3.11.9/bin", (3, 11, 9))
    assert names(boot)["3.11"].startswith(str(machine / "pyenv"))


def test_shims_lead_to_their_versions(boot, machine, monkeypatch):
    """A pyenv that only PATH tells of is found by its shims, which themselves are not started."""
    monkeypatch.setenv("PYENV_ROOT", str(machine / "nowhere"))
    shims = machine / "elsewhere/shims"
    monkeypatch.setenv("PATH", str(shims))
    broken = fake_python(shims, (3, 12, 0))
    broken.write_text("#!/bin/sh\necho 'pyenv: command not found' >&2; exit 127\n")
    fake_python(machine / "elsewhere/versions/3.12.4/bin", (3, 12, 4))
    assert [one.version for one in boot.interpreters()] == [(3, 12, 4)]


def test_folder_of_another_user_is_passed_over(boot, machine, monkeypatch):
    """Who was root before has root's settings: a pyenv that may not be read is none."""
    fake_python(machine / "bin", (3, 11, 4))
    fake_python(machine / "pyenv/versions/3.12.4/bin", (3, 12, 4))

    def denied(real):
        def call(path=".", *more, **options):
            if str(path).startswith(str(machine / "pyenv")):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *more, **options)

        return call

    for name in ("stat", "lstat", "scandir", "listdir"):
        monkeypatch.setattr(os, name, denied(getattr(os, name)))
    assert list(names(boot)) == ["3.11"]


def test_broken_pythons_are_skipped(boot, machine):
    """A file that is named like a Python but is not one does no harm."""
    for name, content in (
        ("python3.12", "#!/bin/sh\nexit 3\n"),
        ("python3.13", "#!/bin/sh\necho nonsense\n"),
    ):
        (machine / "bin").mkdir(exist_ok=True)
        (machine / "bin" / name).write_text(content)
        (machine / "bin" / name).chmod(0o755)
    fake_python(machine / "bin", (3, 11, 4))
    assert list(names(boot)) == ["3.11"]


def test_no_python_is_a_message(boot, machine):
    """Without any suitable Python the message says what is needed and how to get it."""
    with pytest.raises(boot.Stop, match="apt-get install python3 python3-venv"):
        boot.interpreters()


def test_this_python_is_recognised(boot):
    """The probe works on the Python that runs the suite, and sees through a virtual environment."""
    found = boot.probe(sys.executable)
    assert found.version == sys.version_info[:3]
    assert found.in_venv is False
    assert found.unsuitable() is None


@pytest.fixture
def installed(boot, monkeypatch):
    """What was to be installed, instead of installing it."""
    asked = []

    def install(python, arguments, *, uv, **_):
        asked.append((uv, *arguments))
        if arguments == ["uv"]:
            (boot.VENVS / "3.11" / "bin").mkdir(parents=True)
            (boot.VENVS / "3.11" / "bin" / "uv").touch()

    monkeypatch.setattr(boot.packages, "install", install)
    monkeypatch.setattr(boot, "_starts", lambda python: True)
    monkeypatch.setattr(boot, "compile_ahead", lambda python: None)
    return asked


def test_second_run_installs_nothing(boot, installed):
    """What was installed from the same declarations is not installed again."""
    interpreter = boot.Interpreter("python3.11", (3, 11, 0))
    (boot.VENVS / "3.11").mkdir()
    boot.environment(interpreter, ["test"])
    first = len(installed)
    assert first
    boot.environment(interpreter, ["test"])
    assert len(installed) == first
    boot.environment(interpreter, ["test", "lint"])
    assert len(installed) == 2 * first


@pytest.mark.parametrize("file", ["pyproject.toml", ".ci/constraints.txt"])
def test_changed_declarations_install_again(boot, installed, file):
    """When a dependency or a pin changes, the environment is brought up to date."""
    interpreter = boot.Interpreter("python3.11", (3, 11, 0))
    (boot.VENVS / "3.11").mkdir()
    boot.environment(interpreter, ["test"])
    first = len(installed)
    (boot.ROOT / file).write_text("changed\n")
    boot.environment(interpreter, ["test"])
    assert len(installed) == 2 * first


def test_failed_installation_is_tried_again(boot, monkeypatch):
    """An installation that failed leaves no stamp, and its message names what was asked for."""
    monkeypatch.setattr(boot, "_starts", lambda python: True)
    monkeypatch.setattr(boot.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1))
    (boot.VENVS / "3.11").mkdir()
    with pytest.raises(boot.Stop, match="pip install pip failed"):
        boot.environment(boot.Interpreter("python3.11", (3, 11, 0)), ["test"])
    assert list((boot.VENVS / "3.11").iterdir()) == []


def test_the_first_environment_has_what_fills_all(boot, machine, installed, monkeypatch):
    """pip installs uv, once, and uv the rest."""
    for minor in (11, 12):
        fake_python(machine / "bin", (3, minor, 0))
    (boot.VENVS / "3.12").mkdir()
    boot.prepare(["test"], first_only=False)
    assert installed[0] == (None, "uv")
    assert {uv for uv, *_ in installed[1:]} == {boot.VENVS / "3.11" / "bin" / "uv"}
    del installed[:]
    boot.prepare(["test"], first_only=False)
    assert installed == []


def test_without_uv_pip_fills_them(boot, machine, installed, monkeypatch, capsys):
    """Where uv cannot be had that is said, once; pip installs everything."""
    fake_python(machine / "bin", (3, 11, 0))
    (boot.VENVS / "3.11").mkdir()

    def install(python, arguments, *, uv, **_):
        if arguments == ["uv"]:
            raise boot.packages.CannotInstall
        installed.append(uv)

    monkeypatch.setattr(boot.packages, "install", install)
    boot.prepare(["test"], first_only=True)
    boot.prepare(["test"], first_only=True)
    assert installed
    assert set(installed) == {None}
    assert capsys.readouterr().out.count("no uv for this machine") == 1


SAID_TO_PIP = {
    "index-url": "http://127.0.0.1/simple",
    "extra-index-url": "file:///a file:///b",
    "find-links": "/wheels",
    "cert": "/ca.crt",
    "timeout": "60",
    "no-input": "true",
}


def test_uv_is_told_what_pip_was(boot):
    """Mirrors, folders, certificates and time-outs that are configured for pip hold for uv as well."""
    told = boot.packages.told(SAID_TO_PIP)
    assert told.arguments[2:] == (
        *("--default-index", "http://127.0.0.1/simple", "--index", "file:///a", "--index", "file:///b"),
        *("--find-links", "/wheels"),
    )
    assert told.variables == {"SSL_CERT_FILE": "/ca.crt", "UV_HTTP_TIMEOUT": "60"}


@pytest.fixture
def programs(tmp_path):
    """A Python whose pip has these settings, and a uv: both write down what they are asked."""
    made = {}
    for name, body in {
        "python": 'case "$*" in *config*) cat settings; exit;; esac; echo "pip $*" >>asked; exit $(cat pip)',
        "uv": 'echo "uv $SSL_CERT_FILE $*" >>asked; exit $(cat uv-status)',
    }.items():
        made[name] = tmp_path / name
        made[name].write_text(f'#!/bin/sh\ncd "{tmp_path}"\n{body}\n')
        made[name].chmod(0o755)
    for name, text in {"settings": "", "pip": "0", "uv-status": "0", "asked": ""}.items():
        (tmp_path / name).write_text(text)
    return made


def filled(boot, programs, **asked):
    given = {"constraints": Path("pins"), "uv": programs["uv"], "cache": Path("cache"), **asked}
    return boot.packages.install(programs["python"], ["a", "b"], **given)


def test_uv_installs(boot, programs, tmp_path):
    """With the pins, also for what builds packages, and with the particular settings before the general."""
    (tmp_path / "settings").write_text(
        ":env:.cert='/env.crt'\nglobal.cert='/global.crt'\nglobal.find-links='/a\\n/b'\nlist.format='json'\n"
    )
    assert filled(boot, programs) == "uv"
    (line,) = (tmp_path / "asked").read_text().splitlines()
    assert line.startswith("uv /env.crt pip install")
    assert "--find-links /a --find-links /b" in line
    assert line.endswith("--constraints pins --build-constraints pins a b")


@pytest.mark.parametrize(
    ("settings", "uv_status"), [("install.only-binary=':all:'\n", "0"), ("", "2")], ids=["untold", "failed"]
)
def test_what_uv_cannot_do_pip_does(boot, programs, tmp_path, settings, uv_status):
    """A setting that has no translation, or a failure, and pip installs with its own."""
    (tmp_path / "settings").write_text(settings)
    (tmp_path / "uv-status").write_text(uv_status)
    assert filled(boot, programs) == "pip"
    assert (tmp_path / "asked").read_text().splitlines()[-1].startswith("pip -m pip install")


def test_what_neither_installs_is_an_error(boot, programs, tmp_path):
    """The message names what was asked for and where the pins are."""
    (tmp_path / "pip").write_text("1")
    with pytest.raises(boot.packages.CannotInstall, match=r"pip install a b failed .* pins are in pins"):
        filled(boot, programs, uv=None)


def test_what_is_imported_often_is_compiled_ahead(boot, monkeypatch):
    """Even where imports may write nothing; a module that cannot be compiled is not an error here."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    package = boot.ROOT / "chaoskit"
    package.mkdir()
    (package / "right.py").write_text("x = 1\n")
    (package / "wrong.py").write_text("x = = 1\n")
    boot.compile_ahead(Path(sys.executable))
    (compiled,) = (package / "__pycache__").iterdir()
    assert compiled == Path(importlib.util.cache_from_source(str(package / "right.py")))


def test_environment_that_starts_is_kept(boot, installed, monkeypatch):
    """An environment in use is never made anew; one whose Python has gone is."""
    made = []
    monkeypatch.setattr(boot, "create", lambda interpreter, home: made.append(home))
    interpreter = boot.Interpreter("python3.11", (3, 11, 0))
    (boot.VENVS / "3.11").mkdir()
    boot.environment(interpreter, ["test"])
    assert made == []
    monkeypatch.setattr(boot, "_starts", lambda python: False)
    boot.environment(interpreter, ["test"])
    assert made == [boot.VENVS / "3.11"]


def test_missing_program_is_installed_by_root(boot, monkeypatch):
    """As root on Debian, what is missing is installed: first the lists, then each package, unasked."""
    here = {"apt-get"}
    ran = []

    def run(command, **options):
        ran.append(command)
        assert options["env"]["DEBIAN_FRONTEND"] == "noninteractive"
        assert options["stdin"] == subprocess.DEVNULL
        here.update({**boot.NEEDED, **boot.WELCOME})
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(boot, "_has", lambda command: command in here)
    monkeypatch.setattr(boot.os, "geteuid", lambda: 0)
    monkeypatch.setattr(boot.subprocess, "run", run)
    boot.debian_packages()
    assert ran[0][-1] == "update"
    assert [command[-1] for command in ran[1:]] == [*boot.NEEDED.values(), *boot.WELCOME.values()]


def test_missing_program_is_said_to_others(boot, monkeypatch):
    """Somebody who is not root is told the command; nothing is tried."""
    monkeypatch.setattr(boot, "_has", lambda command: False)
    monkeypatch.setattr(boot.os, "geteuid", lambda: 1000)
    with pytest.raises(boot.Stop, match="sudo apt-get install git"):
        boot.debian_packages()


def test_optional_program_that_cannot_be_had_is_tried_once(boot, monkeypatch):
    """A package that is only welcome and cannot be had does not slow down every later run."""
    ran = []
    monkeypatch.setattr(boot, "_has", lambda command: command in ("git", "apt-get"))
    monkeypatch.setattr(boot.os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        boot.subprocess, "run", lambda *a, **k: ran.append(a) or subprocess.CompletedProcess(a, 100)
    )
    boot.debian_packages()
    tried = len(ran)
    assert tried
    boot.debian_packages()
    assert len(ran) == tried


def test_message_and_status_of_the_whole(boot, monkeypatch, capsys):
    """What stops the set-up is one message on standard error and exit status 1."""

    def stop():
        raise boot.Stop("missing git")

    monkeypatch.setattr(boot, "debian_packages", stop)
    assert boot.main([]) == 1
    assert capsys.readouterr().err == "chaoskit set-up: missing git\n"


def test_no_python_at_all_is_a_message(tmp_path):
    """Where no Python starts and nobody may install one, the shell script says what to do and ends with 1."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("dirname", "sh"):
        found = next(path for path in (Path("/usr/bin", name), Path("/bin", name)) if path.exists())
        (tools / name).symlink_to(found)
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    (tools / "id").chmod(0o755)
    script = (CI / "bootstrap.sh").read_text().replace("/usr/local/bin/python3 /usr/bin/python3", "")
    (tmp_path / "bootstrap.sh").write_text(script)
    done = subprocess.run(
        ["/bin/sh", str(tmp_path / "bootstrap.sh")],
        env={"PATH": str(tools), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs CPython 3.11 or newer" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_lock_file_keeps_two_runs_apart(boot):
    """A second set-up in the same tree waits for the first."""
    import fcntl

    with boot._alone(), open(boot.VENVS / ".lock") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(boot.VENVS / ".lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_environment_leads_to_its_base(boot, tmp_path):
    """A Python on PATH that belongs to somebody's virtual environment stands for the one beneath it."""
    base = fake_python(tmp_path / "base/bin", (3, 12, 3))
    inner = fake_python(tmp_path / "venv/bin", (3, 12, 3), in_venv=True, base=str(tmp_path / "base"))
    assert boot.probe(str(inner)).executable == str(base)
    assert os.access(inner, os.X_OK)


def provider(boot, monkeypatch, *, version=(3, 14, 8), refused=None, **facts):
    """Let ``provide`` make a Python of this version, or refuse with a reason; the calls of it."""
    asked = []

    def provide(lacking):
        asked.append(list(lacking))
        if refused:
            raise boot.pythons.CannotProvide(refused)
        for name in lacking:
            minor = int(name.partition(".")[2])
            fake_python(boot.pythons.folder(), (3, minor, version[2]), **facts)

    monkeypatch.setattr(boot.pythons, "provide", provide)
    return asked


def test_what_the_machine_has_is_not_fetched(boot, machine, monkeypatch):
    """Only the versions that are lacking are asked for, and a second run asks for none."""
    fake_python(machine / "bin", (3, 11, 2))
    fake_python(machine / "bin", (3, 14, 0))
    asked = provider(boot, monkeypatch)
    boot.latest_pythons(needed=False)
    boot.latest_pythons(needed=True)
    assert asked == [["3.15"]]
    assert list(names(boot)) == ["3.11", "3.14", "3.15"]


def test_pythons_that_cannot_be_had_are_said_and_tried_once(boot, machine, monkeypatch, capsys):
    """The suite does without them; who asks for them gets the reason as an error, each time."""
    fake_python(machine / "bin", (3, 11, 2))
    asked = provider(boot, monkeypatch, refused="there is no apt here")
    boot.latest_pythons(needed=False)
    assert "no CPython 3.14 and 3.15: there is no apt here. The suite does without" in capsys.readouterr().out
    boot.latest_pythons(needed=False)
    assert capsys.readouterr().out == ""
    for _ in range(2):
        with pytest.raises(boot.Stop, match=r"no CPython 3\.14 and 3\.15: there is no apt here"):
            boot.latest_pythons(needed=True)
    assert len(asked) == 3


def test_fetched_pre_release_is_refused(boot, machine, monkeypatch):
    """A final release is required of them as of all others."""
    fake_python(machine / "bin", (3, 14, 0))
    provider(boot, monkeypatch, final=False)
    with pytest.raises(boot.Stop, match=r"no CPython 3\.15: .* pre-release"):
        boot.latest_pythons(needed=True)


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["3.11", "3.12", "3.14", "3.15"], ["3.11", "3.14"]),
        (["3.12", "3.13"], ["3.12", "3.13"]),
        (["3.14", "3.15"], ["3.14"]),
        (["3.15"], ["3.15"]),
    ],
)
def test_suite_is_complete_on_the_oldest_and_the_common_python(boot, there, chosen):
    """The oldest that is supported and what most projects start with; without that one, the latest."""
    assert boot.complete(there) == chosen


def test_lists_for_make_are_written(boot, machine, installed, monkeypatch):
    """``make test`` reads which Pythons there are, and which of them run everything."""
    for minor in (11, 12, 14):
        fake_python(machine / "bin", (3, minor, 0))
    monkeypatch.setattr(boot, "environment", lambda one, groups, **_: f".venv/{one.name}/bin/python")
    boot.prepare(["test"], first_only=False)
    read = {name: (boot.VENVS / name).read_text().split() for name in ("python", "pythons", "complete")}
    assert read == {
        "python": [".venv/3.11/bin/python"],
        "pythons": [f".venv/3.{minor}/bin/python" for minor in (11, 12, 14)],
        "complete": [".venv/3.11/bin/python", ".venv/3.14/bin/python"],
    }
