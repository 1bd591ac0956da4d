"""Threads of the test process: refused with whose they are, recognised by what they run, allowed by name."""

from __future__ import annotations

import functools
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import inner
import pytest

from chaoskit.core.errors import UsageError
from chaoskit.inject.kernel.workload import companions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], types.ModuleType]:
    """Makes a module as a plugin that is installed would be, with a function and a class of its own."""

    def make(name: str) -> types.ModuleType:
        module = types.ModuleType(name)
        source = "def wait(event): event.wait()\nclass Server:\n    def serve(self, event): event.wait()\n"
        exec(source, module.__dict__)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return make


@contextmanager
def beside(make: Callable[[threading.Event], threading.Thread]) -> Iterator[threading.Thread]:
    """A thread that runs while the block lasts."""
    over = threading.Event()
    thread = make(over)
    thread.start()
    try:
        yield thread
    finally:
        over.set()
        if isinstance(thread, threading.Timer):
            thread.cancel()
        thread.join()


def test_c5a_a_timer_of_pytest_timeout_is_known(plugin) -> None:
    """Its frames are all of threading, so that what it will run has to be looked at."""
    module = plugin("pytest_timeout")
    with beside(lambda over: threading.Timer(600, module.wait, (over,))):
        companions.check(())


def test_a_timer_of_another_is_refused(plugin) -> None:
    """The twin: a timer alone says nothing."""
    module = plugin("some_plugin")
    with beside(lambda over: threading.Timer(600, module.wait, (over,))), pytest.raises(UsageError):
        companions.check(())


@pytest.mark.parametrize("how", ["function", "method", "partial", "class"])
def test_c5_a_refused_thread_comes_with_its_owner(plugin, how: str) -> None:
    """However it was started, the message says which plugin has started it, and how to allow it."""
    module = plugin("some_server")

    def make(over: threading.Event) -> threading.Thread:
        if how == "class":
            kind = type("Loop", (threading.Thread,), {"run": lambda self: over.wait()})
            kind.__module__ = "some_server"
            return kind()
        targets = {
            "function": module.wait,
            "method": module.Server().serve,
            "partial": functools.partial(module.wait),
        }
        return threading.Thread(target=targets[how], args=(over,))

    with beside(make) as thread, pytest.raises(UsageError) as caught:
        companions.check(())
    assert f"{thread.name} belongs to some-server" in str(caught.value)
    assert '@scenario(threads=("some-server",))' in str(caught.value)


@pytest.mark.parametrize("glob", ["heart*", "some_server", "some-serv*"])
def test_threads_are_allowed_by_name_or_owner(plugin, glob: str) -> None:
    """A glob fits the thread's name or that of its plugin, in either spelling; another glob does not."""
    module = plugin("some_server")
    with beside(lambda over: threading.Thread(target=module.wait, args=(over,), name="heartbeat")):
        companions.check((glob,))
        with pytest.raises(UsageError):
            companions.check(("other*",))


SERVED = """
    import threading
    import pytest
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from urllib.request import urlopen
    from chaoskit import faults, scenario

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"new")
        def log_message(self, *arguments):
            pass

    @pytest.fixture
    def served():
        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="served")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
        server.server_close()

    def download(url, path):
        with urlopen(url) as answer, open(path / "file", "wb") as file:
            file.write(answer.read())

    @scenario(faults.kill(), threads=("served",))
    def test_allowed(chaos, served):
        out = chaos.run(download, served, chaos.path)
        assert not out.ok or (chaos.path / "file").read_bytes() == b"new"

    @scenario(faults.kill(), threads=("served",))
    def test_allowed_and_broken(chaos, served):
        (chaos.path / "file").write_bytes(b"old")
        chaos.run(download, served, chaos.path)
        assert (chaos.path / "file").read_bytes() in (b"old", b"new")

    @scenario(faults.kill())
    def test_not_allowed(chaos, served):
        chaos.run(download, served, chaos.path)
"""


def test_c5_a_server_in_the_test_process_can_be_named(tmp_path: Path) -> None:
    """A scenario names the thread that serves its workload, and finds what it would find without one."""
    inner.write(tmp_path, SERVED)
    found = inner.run(tmp_path)
    assert found.outcomes["test_allowed"] == "passed", found.output
    assert found.outcomes["test_allowed_and_broken"] == "failed"
    assert "violated" in found.texts["test_allowed_and_broken"]
    assert 'threads=("served",)' in found.texts["test_not_allowed"]
