"""Set a machine up to test chaoskit: Debian packages, one virtual environment for each CPython, packages.

    bootstrap.py [--groups test,lint] [--first | --pythons]

Afterwards ``.venv/pythons`` lists the interpreters to test with, one path a line, oldest version first, and
``.venv/complete`` those of them that run the complete suite. The latest releases are fetched where the
machine has none. What is there already is used: a stamp in each environment tells what was installed from
which declarations, so a second run costs a fraction of a second. An environment is never deleted as long as
its Python starts. Runs on the standard library alone, on any Python from 3.11 on, and reads nothing from
standard input.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import packages
import pythons

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".venv"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
PROBE = Path(__file__).with_name("probe.py")
OLDEST = (3, 11)
LATEST = ("3.14", "3.15")
"""Versions that every run is to have, and that are fetched where the machine has none."""
COMMON = "3.14"
"""What most new projects start with: the suite is complete there, as it is on the oldest."""

# What scenarios and tests start, and the Debian package that has it. Without the needed ones the suite cannot
# run; without the others some tests are skipped, and say so.
NEEDED = {"git": "git"}
WELCOME = {
    "strace": "strace",
    "gdbmtool": "gdbmtool",
    "redis-server": "redis-server",
    "pg_ctlcluster": "postgresql",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "chromium": "chromium",
}


@dataclass(frozen=True)
class Interpreter:
    """One Python found on this machine, as it describes itself."""

    executable: str
    version: tuple[int, int, int]
    final: bool = True
    cpython: bool = True
    gil: bool = True
    base: str = ""
    in_venv: bool = False
    missing: tuple[str, ...] = ()
    pip: bool = True

    @property
    def minor(self) -> tuple[int, int]:
        return self.version[:2]

    @property
    def name(self) -> str:
        return ".".join(map(str, self.minor))

    def unsuitable(self) -> str | None:
        """Why the suite is not run on it; None if it is."""
        if not self.cpython:
            return "not CPython"
        if self.minor < OLDEST:
            return "older than 3.11"
        if not self.final:
            return "a pre-release"
        if not self.gil:
            return "a free-threaded build"
        if self.missing:
            return f"built without {', '.join(self.missing)}"
        return None


class Stop(Exception):
    """What is missing, as a message for the person at the terminal."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    try:
        VENVS.mkdir(exist_ok=True)
        with _alone():
            debian_packages()
            if not options.first:
                latest_pythons(needed=options.pythons)
            if options.pythons:
                for interpreter in interpreters():
                    say(f"CPython {interpreter.name} is {interpreter.executable}")
            else:
                prepare(options.groups.split(","), first_only=options.first)
    except Stop as stop:
        print(f"chaoskit set-up: {stop}", file=sys.stderr)
        return 1
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groups", default="test", help="dependency groups of pyproject.toml, with commas")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--first", action="store_true", help="only the oldest CPython; .venv/python leads to it"
    )
    which.add_argument(
        "--pythons", action="store_true", help=f"only see that there is CPython {' and '.join(LATEST)}"
    )
    return parser.parse_args(argv)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two runs at once would install into the same environment: the second waits for the first."""
    with open(VENVS / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# Debian packages


def debian_packages() -> None:
    needed = [package for command, package in NEEDED.items() if not _has(command)]
    welcome = [package for command, package in WELCOME.items() if not _has(command)]
    if needed or (_can_install() and not _known("debian") >= set(welcome)):
        _remember("debian", welcome)
        install_debian([*needed, *welcome])
    still = [package for command, package in NEEDED.items() if not _has(command)]
    if still:
        raise Stop(f"missing {', '.join(still)}. Install with: sudo apt-get install {' '.join(still)}")


def _has(command: str) -> bool:
    return shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def _can_install() -> bool:
    return os.geteuid() == 0 and _has("apt-get")


def _known(kind: str) -> set[str]:
    """What was asked for before: what cannot be had is not asked for every time."""
    stamp = VENVS / f".{kind}"
    return set(stamp.read_text().split()) if stamp.exists() else set()


def _remember(kind: str, names: Iterable[str]) -> None:
    _write(VENVS / f".{kind}", "\n".join(sorted({*_known(kind), *names})) + "\n")


_APT = threading.Lock()
"""apt-get refuses to run beside another, and environments are made two at once."""


def install_debian(packages: Sequence[str]) -> None:
    """Install what can be had; whether that was enough is for the caller to see."""
    if not _can_install() or not packages:
        return
    say(f"installing Debian packages: {' '.join(packages)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    with _APT:
        subprocess.run(
            [*run, "update"], env=quiet, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
        )
        for package in packages:
            subprocess.run(
                [*run, "install", "-y", "--no-install-recommends", package],
                env=quiet,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=False,
            )


# Interpreters


def interpreters(*, quiet: bool = False) -> list[Interpreter]:
    """The suitable Pythons here, one for each minor version, oldest first; says what is left out."""
    found: dict[tuple[int, int], Interpreter] = {}
    for interpreter in filter(None, map(probe, candidates())):
        reason = interpreter.unsuitable()
        if reason and interpreter.minor >= OLDEST and not quiet:
            say(f"skipping {interpreter.executable}: {reason}")
        if not reason:
            known = found.get(interpreter.minor)
            if known is None or (interpreter.pip and not known.pip):
                found[interpreter.minor] = interpreter
    if not found:
        raise Stop("found no CPython 3.11 or newer. Install with: sudo apt-get install python3 python3-venv")
    return [found[minor] for minor in sorted(found)]


def latest_pythons(*, needed: bool) -> None:
    """See that there are the latest releases. Where they cannot be had, that is said, and tried once."""
    lacking = _lacking()
    if lacking and (needed or not _known("latest") >= set(lacking)):
        say(f"fetching CPython {' and '.join(lacking)} into .cache/pythons")
        reason = "what Debian has of it is a pre-release, or does not start here"
        try:
            pythons.provide(lacking)
        except pythons.CannotProvide as error:
            reason = str(error)
        if lacking := _lacking():
            _remember("latest", lacking)
            message = f"no CPython {' and '.join(lacking)}: {reason}"
            if needed:
                raise Stop(message)
            say(f"{message}. The suite does without; make pythons tries again")


def _lacking() -> list[str]:
    there = {interpreter.name for interpreter in interpreters(quiet=True)}
    return [name for name in LATEST if name not in there]


def candidates() -> list[str]:
    """Files that may be a Python: those on PATH first, then where version managers and systems put them."""
    folders = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    roots = [Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()]
    roots += [folder.parent for folder in folders if folder.name == "shims"]
    folders = [folder for folder in folders if folder.name != "shims"]
    for root in dict.fromkeys(roots):
        folders += sorted(_inside(root, "versions/*/bin"), key=_natural, reverse=True)
    folders += sorted(_inside(Path("~/.local/share/uv/python").expanduser(), "cpython-*/bin"), reverse=True)
    folders += [Path("/usr/local/bin"), Path("/usr/bin"), pythons.folder()]
    return list(_pythons_in(folders))


def _inside(root: Path, pattern: str) -> Iterator[Path]:
    """Unlike ``Path.glob`` this passes over folders that may not be read, such as another user's."""
    yield from map(Path, glob.glob(f"{glob.escape(str(root))}/{pattern}"))


def _natural(path: Path) -> list[object]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", str(path))]


def _pythons_in(folders: Iterable[Path]) -> Iterator[str]:
    seen: set[Path] = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder)):
                path = folder / name
                if re.fullmatch(r"python3\.\d+", name) and path.resolve() not in seen:
                    seen.add(path.resolve())
                    yield str(path)


def probe(executable: str) -> Interpreter | None:
    """Ask a Python what it is; None if it does not start. A virtual environment answers with its base."""
    try:
        done = subprocess.run(
            [executable, "-I", str(PROBE)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        facts = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    major, minor, micro = facts.pop("version")
    facts["missing"] = tuple(facts["missing"])
    if facts["in_venv"]:
        base = Path(facts["base"]) / "bin" / f"python{major}.{minor}"
        return probe(str(base)) if base.exists() and str(base) != executable else None
    return Interpreter(version=(major, minor, micro), **facts)


# Virtual environments


def prepare(groups: Sequence[str], *, first_only: bool) -> None:
    """Bring the environments up to date and list their Pythons. The first one gets the linters too.

    Of the others two at once: pip, where there is no uv, computes on one processor for a minute.
    """
    chosen = interpreters()[: 1 if first_only else None]
    first, *others = chosen
    # Before the others, since it has the program that fills them.
    made = {first.name: environment(first, list(dict.fromkeys([*groups, "lint"])), fills=True)}
    with ThreadPoolExecutor(2) as pool:
        paths = pool.map(environment, others, [list(groups)] * len(others))
        made.update(zip((one.name for one in others), paths, strict=True))
    _write_lines("python", list(made.values())[:1])
    if not first_only:
        _write_lines("pythons", made.values())
        _write_lines("complete", [made[name] for name in complete(list(made))])


def complete(names: Sequence[str]) -> list[str]:
    """Of these versions, oldest first, those that run the complete suite: the oldest and the common one."""
    return list(dict.fromkeys([names[0], COMMON if COMMON in names else names[-1]]))


def environment(interpreter: Interpreter, groups: Sequence[str], *, fills: bool = False) -> str:
    """One environment with chaoskit, in place and editable, and these groups; its Python's path.

    The one that ``fills`` has uv, too, for itself and the others.
    """
    home = VENVS / interpreter.name
    python = home / "bin" / "python"
    if not _starts(python):
        create(interpreter, home)
    if fills:
        installer(python)
    for group in groups:
        install(python, home / f".installed-{group}", group)
    compile_ahead(python)
    return str(python.relative_to(ROOT))


def compile_ahead(python: Path) -> None:
    """Compile what the suite imports in thousands of processes, which PYTHONDONTWRITEBYTECODE would not keep.

    What is compiled already is only looked at; what cannot be compiled is for the linters to say.
    """
    folders = [str(ROOT / "chaoskit"), str(ROOT / "tests" / "support")]
    subprocess.run(
        [str(python), "-I", "-m", "compileall", "-qq", *folders],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    )


def _starts(python: Path) -> bool:
    asked = [str(python), "-I", "-c", "import pip"]
    try:
        return (
            subprocess.run(asked, capture_output=True, stdin=subprocess.DEVNULL, timeout=30).returncode == 0
        )
    except (OSError, subprocess.SubprocessError):
        return False


def create(interpreter: Interpreter, home: Path) -> None:
    say(f"creating .venv/{interpreter.name} from {interpreter.executable}")
    if not interpreter.pip:
        install_debian([f"python{interpreter.name}-venv"])
    done = subprocess.run(
        [interpreter.executable, "-m", "venv", "--clear", str(home)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Stop(
            f"{interpreter.executable} cannot make a virtual environment: "
            f"{(done.stdout + done.stderr).strip()}\n"
            f"Debian and Ubuntu: sudo apt-get install python{interpreter.name}-venv"
        )


def install(python: Path, stamp: Path, group: str) -> None:
    """Install chaoskit and one group, unless the stamp says that exactly this was done before."""
    state = declared_state(python)
    if stamp.exists() and stamp.read_text() == state:
        return
    say(f"installing chaoskit and group {group!r} into {python.parent.parent.relative_to(ROOT)}")
    # Dependency groups need a pip that is newer than the one which older Pythons bring.
    _fill(python, "pip")
    _fill(python, "--editable", f"{ROOT}[pytest]", "--group", f"{ROOT / 'pyproject.toml'}:{group}")
    _write(stamp, state)


def declared_state(python: Path) -> str:
    """What an installation depends on, as one line: declarations, pins, place, and the Python itself."""
    digest = hashlib.sha256()
    for file in (ROOT / "pyproject.toml", CONSTRAINTS):
        digest.update(file.read_bytes())
    digest.update(f"{ROOT}\n{python.resolve()}".encode())
    return digest.hexdigest() + "\n"


def _fill(python: Path, *arguments: str) -> None:
    uv = next(iter(sorted(VENVS.glob("*/bin/uv"))), None)
    try:
        packages.install(python, arguments, constraints=CONSTRAINTS, uv=uv, cache=ROOT / ".cache" / "uv")
    except packages.CannotInstall as error:
        raise Stop(str(error)) from None


def installer(python: Path) -> None:
    """Have uv in an environment, for all of them; where it cannot be had, pip installs everything."""
    stamp = python.parents[1] / ".installed-uv"
    state = declared_state(python)
    if not stamp.exists() or stamp.read_text() != state:
        try:
            packages.install(python, ["uv"], constraints=CONSTRAINTS, uv=None, cache=ROOT / ".cache" / "uv")
        except packages.CannotInstall:
            say("no uv for this machine, so pip installs, which takes minutes longer")
        _write(stamp, state)


def _write_lines(name: str, lines: Iterable[str]) -> None:
    _write(VENVS / name, "".join(f"{line}\n" for line in lines))


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)


def say(text: str) -> None:
    print(f"chaoskit set-up: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
