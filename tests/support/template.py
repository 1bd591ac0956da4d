"""Runs of pytest, forked from one that has been started: half of a small run is the import of everything.

What is imported there is what any run with a scenario imports, but for the plugin itself, which pytest has to
import by itself to rewrite its assertions. Everything else of a run is as if it had just been started.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

PARTS = ("core", "faults", "inject", "explore", "session", "report")
HERE = Path(__file__).parent
_LARGEST = 1 << 20


def run(
    arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
) -> tuple[int, str]:
    """``python -m pytest`` with these arguments: its exit status, and all that it printed."""
    server = _server()
    with (cwd / ".output").open("w+b") as output:
        asked = {"arguments": [*arguments], "cwd": str(cwd), "environment": {**environment}}
        socket.send_fds(server, [json.dumps(asked).encode()], [output.fileno()])
        server.settimeout(timeout)
        status = server.recv(16)
        if not status:
            raise RuntimeError("the template of pytest has ended; expected the status of a run")
        output.seek(0)
        text = output.read().decode(errors="replace")
    (cwd / ".output").unlink()
    return int(status), text


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
    connection = socket.socket(fileno=number)
    connection.set_inheritable(False)
    _import_everything()
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, _LARGEST, 1)
        if not data:
            return
        child = os.fork()
        if not child:
            connection.close()
            _become(json.loads(data), descriptors[0])
        os.close(descriptors[0])
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
    with contextlib.suppress(ImportError):
        from chaoskit.report.html.rendering import templates

        made = templates()
        for name in made.list_templates(extensions=["html"]):
            made.get_template(name)


def _become(asked: Mapping[str, object], output: int) -> NoReturn:
    """Be ``python -m pytest``."""
    import pytest

    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment, arguments, cwd = asked["environment"], asked["arguments"], asked["cwd"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    assert isinstance(cwd, str)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0] = cwd
    sys.argv = [str(Path(pytest.__file__).with_name("__main__.py")), *arguments]
    sys.exit(pytest.console_main())
