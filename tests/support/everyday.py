"""Programs of every day that start others, wait for them and hear signals, alone and recorded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaoskit.inject.base import Command, Plan
from chaoskit.inject.kernel import KernelBackend

_SECONDS = 300.0
_ATTEMPTS = 8
_QUIET = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}

_SIGNALS = """
import os, signal, subprocess, sys
seen = {"SIGCHLD": 0, "SIGALRM": 0, "SIGWINCH": 0}
for name in seen:
    def note(number, frame, name=name):
        seen[name] += 1
    signal.signal(getattr(signal, name), note)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
interrupted = 0
with open("written", "w") as file:
    for number in range(150):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, b"x")
            os._exit(0)
        try:
            os.close(writing)
        except InterruptedError:
            interrupted += 1
        os.read(reading, 1)
        try:
            os.close(reading)
        except InterruptedError:
            interrupted += 1
        os.waitpid(child, 0)
        os.kill(os.getpid(), signal.SIGWINCH)
        file.write(f"{number}\\n")
        file.flush()
signal.setitimer(signal.ITIMER_REAL, 0)
still = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3, 40) if os.path.lexists(f"/proc/self/fd/{fd}")]
print(interrupted, still, seen["SIGWINCH"], seen["SIGCHLD"] > 0, seen["SIGALRM"] > 0)
"""


@dataclass(frozen=True)
class Everyday:
    """A command, and what has to lie in its directory; empty ``needs`` if it is everywhere."""

    name: str
    argv: tuple[str, ...]
    prepare: Callable[[Path], object] = lambda place: None
    needs: str = ""

    def missing(self) -> bool:
        """True if it cannot be run here."""
        return bool(self.needs) and shutil.which(self.needs) is None


def _wheel(place: Path) -> None:
    with zipfile.ZipFile(place / "tiny-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(zipfile.ZipInfo("tiny/__init__.py"), "value = 1\n")
        head = "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(zipfile.ZipInfo("tiny-1.0.dist-info/WHEEL"), head)
        archive.writestr(
            zipfile.ZipInfo("tiny-1.0.dist-info/METADATA"),
            "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        )
        names = ("tiny/__init__.py", "tiny-1.0.dist-info/WHEEL", "tiny-1.0.dist-info/METADATA")
        record = "".join(f"{name},,\n" for name in (*names, "tiny-1.0.dist-info/RECORD"))
        archive.writestr(zipfile.ZipInfo("tiny-1.0.dist-info/RECORD"), record)


def _makefile(place: Path) -> None:
    parts = [f"part{number}" for number in range(6)]
    rules = "".join(f"{part}:\n\t@printf {part} | tr a-z A-Z > {part}\n" for part in parts)
    (place / "Makefile").write_text(f"whole: {' '.join(parts)}\n\t@cat $^ > $@\n{rules}")


def _sources(place: Path) -> None:
    for number in range(5):
        (place / f"file{number}").write_text("text\n" * number)


_GIT = (
    "git init -q . && git -c user.name=a -c user.email=b add file0 file1 file2 && "
    "git -c user.name=a -c user.email=b commit -qm one && git add . && "
    "git -c user.name=a -c user.email=b commit -qm two && git log --format=%s%T && git status --short"
)


def everyday(pipelines: int) -> list[Everyday]:
    """All of them; the shell makes that many pipelines."""
    script = f"i=0; while [ $i -lt {pipelines} ]; do printf abc$i | cut -c1-9 | tr a-z A-Z; i=$((i+1)); done"
    pip = ("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target", "there")
    return [
        Everyday("shell", ("sh", "-c", f"{script} > out")),
        Everyday("pip", (sys.executable, *pip, "tiny-1.0-py3-none-any.whl"), _wheel),
        Everyday("git", ("sh", "-c", _GIT), _sources, "git"),
        Everyday("make", ("make", "-s", "-j2"), _makefile, "make"),
        Everyday("signals", (sys.executable, "-c", _SIGNALS)),
    ]


def _environment() -> dict[str, str]:
    """Ours, without what a make around us has told its children."""
    return {name: text for name, text in os.environ.items() if not name.startswith("MAKE")} | _QUIET


Came = tuple[int, bytes, bytes, dict[str, bytes]]
"""What a program came to: its status, what it printed, and the files that it left."""


def alone(one: Everyday, place: Path) -> Came:
    """Run it in ``place``, without us."""
    one.prepare(place)
    done = subprocess.run(
        one.argv,
        cwd=place,
        env=_environment(),
        capture_output=True,
        timeout=_SECONDS,
        check=False,
        close_fds=False,  # As a command of ours, which gets what is inheritable.
    )
    return done.returncode, done.stdout, done.stderr, _files(place)


def recorded(one: Everyday, place: Path) -> tuple[Came, int]:
    """Record it in ``place``; and how many of its calls were interrupted while they waited."""
    one.prepare(place)
    command = Command(one.argv, cwd=str(place), env=_environment())
    ran = KernelBackend().run(command, Plan(os.path.realpath(place), record=True, timeout=_SECONDS))
    done = ran.value
    if done is None:
        said = str((ran.signal, ran.timed_out, ran.error)).encode()
        return (-1, b"", said, _files(place)), ran.stray_interrupts
    return (done.returncode, done.stdout, done.stderr, _files(place)), ran.stray_interrupts


def _files(place: Path) -> dict[str, bytes]:
    """All files but those in which a program writes down when it ran, and where."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file()
        and path.name not in ("index", "direct_url.json", "RECORD")
        and "logs" not in path.parts
    }


def differences(one: Everyday, places: Path, recordings: int) -> list[str]:
    """In what recordings ended otherwise than the program alone.

    One in which a call was interrupted while it waited says so, and is made again, as a case is.
    """
    found = []
    for number in range(recordings + 1):
        (places / str(number)).mkdir()
    wanted = alone(one, places / "0")
    for number in range(1, recordings + 1):
        came, interrupted = wanted, 1
        for attempt in range(_ATTEMPTS):
            place = places / str(number) / str(attempt)
            place.mkdir()
            came, interrupted = recorded(one, place)
            if not interrupted:
                break
        if came != wanted:
            how = f" ({interrupted} interrupted)" if interrupted else ""
            found.append(f"{one.name}, recording {number}{how}: {_told(wanted, came)}")
    return found


def _told(wanted: Came, came: Came) -> str:
    files = sorted(name for name in wanted[3] | came[3] if wanted[3].get(name) != came[3].get(name))
    return f"{wanted[:3]} -> {came[:3]}; files that differ: {files}"
