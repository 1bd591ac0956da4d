"""Runs of pytest and of the command line, forked: half of a small run is the import of everything.

What is imported there is what any run with a scenario imports, but for the plugin itself, which pytest has to
import by itself to rewrite its assertions. Everything else of a run is as if it had just been started.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

PARTS = ("core", "faults", "inject", "explore", "session", "report")
HERE = Path(__file__).parent
_LARGEST = 1 << 20


def run(
    arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float, given: str = ""
) -> tuple[int, str]:
    """``python -m pytest`` with these arguments: its exit status, and all that it printed.

    ``given`` is its standard input.
    """
    with tempfile.TemporaryFile() as output:
        status = _ended("pytest", arguments, cwd, environment, timeout, given, (output, output))
        return status, _text(output)


def chaoskit(words: Sequence[str]) -> int:
    """``chaoskit`` with these words, here and in this environment: its exit code.

    What it prints is printed here again once it has ended. It is the command line in a small process: the one
    that runs the tests has grown to many times its size, and each case would copy the tables of its memory.
    """
    done = completed(words)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def completed(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """The same as what ``subprocess.run`` has of a process that it has run."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        status = _ended("chaoskit", words, Path.cwd(), os.environ, 300, "", (output, errors))
        return subprocess.CompletedProcess(["chaoskit", *words], status, _text(output), _text(errors))


def _ended(
    program: str,
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    timeout: float,
    given: str,
    printed: tuple[IO[bytes], IO[bytes]],
) -> int:
    server = _server()
    asked = {
        "program": program,
        "arguments": [*arguments],
        "cwd": str(cwd),
        "environment": {**environment},
    }
    with tempfile.TemporaryFile() as source:
        source.write(given.encode())
        source.seek(0)
        files = [source.fileno(), *(file.fileno() for file in printed)]
        socket.send_fds(server, [json.dumps(asked).encode()], files)
        server.settimeout(timeout)
        status = server.recv(16)
    if not status:
        raise RuntimeError("the template of pytest has ended; expected the status of a run")
    return int(status)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


@functools.cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import template; template.serve({theirs.fileno()})"
    )
    # A session for itself: Ctrl-C is for the tests, and what they start goes with this when they end.
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[theirs.fileno()],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    atexit.register(_end, process, ours)
    return ours


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.wait()


def serve(number: int) -> None:
    """Fork a run for each request, until the other side has gone."""
    from chaoskit.inject.kernel.workload.stack import calibrate

    connection = socket.socket(fileno=number)
    connection.set_inheritable(False)
    _import_everything()
    # How this interpreter keeps its frames: the same in every run, and each with a workload looks for it.
    calibrate()
    # pytest collects all garbage at its end, which would visit all that was imported.
    gc.collect()
    gc.freeze()
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, _LARGEST, 3)
        if not data:
            return
        child = os.fork()
        if not child:
            connection.close()
            _become(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _import_everything() -> None:
    import pytest  # noqa: F401

    for part in PARTS:
        package = importlib.import_module(f"chaoskit.{part}")
        for module in pkgutil.walk_packages(package.__path__, f"chaoskit.{part}."):
            # Some need what is not installed; then no run imports them either.
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    # Read once from the disk: nothing is installed while the tests run.
    environment = importlib.import_module("chaoskit.report.environment")
    environment.installed_packages = functools.cache(environment.installed_packages)
    environment.installed_packages()
    with contextlib.suppress(ImportError):
        from chaoskit.report.html.rendering import templates

        made = templates()
        for name in made.list_templates(extensions=["html"]):
            made.get_template(name)


def _become(asked: Mapping[str, object], descriptors: Sequence[int]) -> NoReturn:
    """Be ``python -m pytest``, or ``chaoskit``."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment, arguments, cwd = asked["environment"], asked["arguments"], asked["cwd"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    assert isinstance(cwd, str)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0] = cwd
    if asked["program"] == "chaoskit":
        from chaoskit.cli import main

        sys.argv = ["chaoskit", *arguments]
        main()
    import pytest

    sys.argv = [str(Path(pytest.__file__).with_name("__main__.py")), *arguments]
    sys.exit(pytest.console_main())
