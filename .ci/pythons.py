"""CPython releases that this machine lacks, from Debian's archive, in ``.cache/pythons`` and nowhere else.

The packages of a Debian release that has them are downloaded and verified by apt, with lists and a state of
their own, and unpacked, not installed: nothing of the machine changes, root is not needed, and no mount or
chroot is left behind. They bring their own C library, which the interpreters are then told to use, so that
``sys.executable``, child processes, environments and ``ctypes`` are those of any other Python. What is
unpacked works in the place where it was made; in a clone that was moved it is made again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITE = "forky"
"""The Debian release that is looked into."""
MIRROR = "DEBIAN_MIRROR"
"""The variable that names an archive where the machine's own apt knows none of Debian's."""
KEYRINGS = Path("/usr/share/keyrings")


class CannotProvide(Exception):
    """Why these Pythons cannot be had here, as a message for the person at the terminal."""


def home() -> Path:
    return ROOT / ".cache" / "pythons"


def folder() -> Path:
    """Where the interpreters are, if any were provided."""
    return home() / "usr" / "bin"


def provide(names: Iterable[str]) -> None:
    """Bring CPython of these minor versions here, such as ``3.14``, beside those provided before.

    Raises :class:`CannotProvide` and leaves nothing behind where that is not possible.
    """
    before = (path.name.removeprefix("python") for path in folder().glob("python3.*"))
    wanted = sorted({*names, *before}, key=lambda name: [int(part) for part in name.split(".")])
    mirror, keyring = _archive(wanted)
    shutil.rmtree(home(), ignore_errors=True)
    try:
        for package in _download(wanted, mirror, keyring):
            _run("dpkg-deb", "-x", str(package), str(home()))
        _settle(wanted)
        for name in wanted:
            python = str(folder() / f"python{name}")
            _run(python, "-I", "-c", "import ctypes, ensurepip, ssl, sqlite3")
            # Installing the packages would have done it: without, each start compiles what it imports.
            _run(python, "-I", "-m", "compileall", "-q", str(home() / "usr" / "lib" / f"python{name}"))
    except BaseException:
        shutil.rmtree(home(), ignore_errors=True)
        raise
    finally:
        for rest in ("apt", "tools"):
            shutil.rmtree(home() / rest, ignore_errors=True)


# Download


def _archive(names: Sequence[str]) -> tuple[str, Path]:
    """An archive of Debian that this machine uses, and the keys that it is verified with."""
    if sys.platform != "linux" or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise CannotProvide(
            f"they are taken from Debian's packages, and there is no apt here. {_else(names)}"
        )
    mirror = os.environ.get(MIRROR) or next(iter(_debian_archives()), "")
    if not mirror:
        raise CannotProvide(
            f"apt knows no archive of Debian here. Run apt-get update, or name one in {MIRROR}. "
            f"{_else(names)}"
        )
    for kind in ("gpg", "pgp"):
        if (keyring := KEYRINGS / f"debian-archive-keyring.{kind}").exists():
            return mirror, keyring
    raise CannotProvide(
        f"{KEYRINGS} has no debian-archive-keyring. Install with: sudo apt-get install debian-archive-keyring"
    )


def _else(names: Sequence[str]) -> str:
    return f"Another way: uv python install {' '.join(names)}"


def _debian_archives() -> list[str]:
    """The main archives that apt has lists of; those of security updates have no other releases."""
    listed = _run(
        "apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)", "Created-By: Packages"
    )
    found = [line.split(" ", 2) for line in listed.splitlines() if line.count(" ") == 2]
    return [uri for origin, release, uri in found if origin == "Debian" and "security" not in release]


def _download(names: Sequence[str], mirror: str, keyring: Path) -> list[Path]:
    """The packages of these Pythons and of all that they need, down to the C library."""
    apt = home() / "apt"
    for part in ("state/lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True)
    # Nothing counts as installed, so that no library of the machine is taken for one of theirs.
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {SUITE} main\n")
    (apt / "apt.conf").write_text(_settings(apt))
    get = ["apt-get", "-qq", "--yes"]
    _run(*get, "update", APT_CONFIG=str(apt / "apt.conf"))
    packages = [package for name in names for package in (f"python{name}", f"python{name}-venv")]
    _run(*get, "--download-only", "install", *packages, APT_CONFIG=str(apt / "apt.conf"))
    return sorted((apt / "cache" / "archives").glob("*.deb"))


def _settings(apt: Path) -> str:
    """The machine's settings for apt, such as proxies, without its hooks, and with folders of our own."""
    given = [line for line in _run("apt-config", "dump").splitlines() if "-Invoke" not in line]
    ours = {
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::sourcelist": apt / "sources.list",
        **dict.fromkeys(("Dir::Etc::sourceparts", "Dir::Etc::main", "Dir::Etc::parts"), "/dev/null"),
        **dict.fromkeys(("Dir::Etc::preferences", "Dir::Etc::preferencesparts"), "/dev/null"),
        "Acquire::Languages": "none",
        "APT::Install-Recommends": "false",
        # The user that root downloads as cannot look into everybody's clone.
        "APT::Sandbox::User": "root",
    }
    return "\n".join([*given, *(f'{key} "{value}";' for key, value in ours.items())]) + "\n"


# Settle in


def _settle(names: Sequence[str]) -> None:
    """Make the interpreters start from where they are, with the libraries beside them."""
    (loader,) = (home() / "usr" / "lib").glob("*/ld-linux*.so.*")
    patchelf = _patchelf()
    # An old style of path, since it holds for the libraries of libraries and of extension modules, too.
    libraries = f"$ORIGIN/../lib/{loader.parent.name}"
    for name in names:
        python = folder() / f"python{name}"
        _run(
            str(patchelf),
            "--set-interpreter",
            str(loader),
            "--force-rpath",
            "--set-rpath",
            libraries,
            str(python),
        )
    for data in (home() / "usr" / "lib").glob("python3.*/_sysconfigdata_*.py"):
        # Where ensurepip finds the pip that it installs into environments.
        text = data.read_text("utf-8")
        data.write_text(
            re.sub(r"'/usr/share/python-wheels", f"'{home()}/usr/share/python-wheels", text), "utf-8"
        )


def _patchelf() -> Path:
    """The tool that writes the place of a loader into a program; Debian's 0.18 writes what does not start."""
    (pip,) = (home() / "usr" / "share" / "python-wheels").glob("pip-*.whl")
    place = home() / "tools"
    constraints = ROOT / ".ci" / "constraints.txt"
    install = [sys.executable, f"{pip}/pip", "install", "--quiet", "--no-input", "--no-deps"]
    _run(
        *install,
        "--disable-pip-version-check",
        "--constraint",
        str(constraints),
        "--target",
        str(place),
        "patchelf",
    )
    return place / "bin" / "patchelf"


def _run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, "LC_ALL": "C", "PIP_ROOT_USER_ACTION": "ignore", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotProvide(f"{Path(command[0]).name} ended with {done.returncode}: {' '.join(said[-3:])}")
    return done.stdout
