"""A program that is asked to end does so: in order, in time, and by force if it must."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    CallbackOrder,
    RetryPolicy,
    Shutdown,
    ShutdownFinished,
    ShutdownForced,
    ShutdownOptions,
    ShutdownRequested,
    ShuttingDown,
)
from chaoskit.runtime.clock import SystemClock
from chaoskit.runtime.retrying.backoffs import Constant

posix = pytest.mark.skipif(os.name != "posix", reason="signals to a process are of POSIX")


def quiet(**given: Any) -> Shutdown:
    """A shutdown without signal handlers, whose force would fail the test instead of ending pytest."""
    return Shutdown(signals=(), exit=lambda code: None, **given)


def test_callbacks_run_in_reverse_order() -> None:
    """What was set up last is taken down first, whether anybody asked for a shutdown or not."""
    order: list[int] = []
    with quiet() as shutdown:
        for number in range(3):
            shutdown.defer(order.append, number, name=f"step {number}")
    assert order == [2, 1, 0]
    assert [s.name for s in shutdown.steps] == ["step 2", "step 1", "step 0"]


def test_callbacks_run_in_the_given_order_when_asked() -> None:
    """order="given" runs them as they were registered."""
    order: list[int] = []
    with quiet(order="given") as shutdown:
        for number in range(3):
            shutdown.defer(order.append, number)
    assert order == [0, 1, 2]
    assert shutdown.options.order is CallbackOrder.GIVEN


def test_a_failing_callback_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """The rest runs, the error is kept and logged, and the event names the callback."""
    told: list[Any] = []
    ran: list[str] = []
    with quiet(listeners=[told.append]) as shutdown:
        shutdown.defer(ran.append, "first")
        shutdown.defer(lambda: 1 / 0, name="broken")
    assert ran == ["first"]
    assert isinstance(shutdown.steps[0].error, ZeroDivisionError)
    assert "shutdown callback broken failed" in caplog.text
    assert isinstance(told[-1], ShutdownFinished)
    assert told[-1].failed == ("broken",)


def test_a_callback_may_register_another() -> None:
    """What a callback defers runs as well, next."""
    order: list[str] = []
    with quiet() as shutdown:
        shutdown.defer(order.append, "last")
        shutdown.defer(lambda: (order.append("first"), shutdown.defer(order.append, "second")))
    assert order == ["first", "second", "last"]


def test_a_request_ends_a_retrys_wait() -> None:
    """A retry that is given ``wake`` gives up its wait at once, and raises what it was waiting to repeat."""
    with quiet() as shutdown:
        failed = threading.Event()

        def fail() -> None:
            failed.set()
            raise OSError("down")

        policy = RetryPolicy(on=OSError, wait=Constant(3600.0), wake=shutdown.wake)
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(policy.call, fail)
            assert failed.wait(30)
            shutdown.request("test")
            with pytest.raises(OSError, match="down"):
                future.result(30)


@posix
def test_a_handler_that_cannot_be_set_leaves_the_others_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """If entering fails in the middle, the handlers that were replaced are put back."""
    real, before = signal.signal, signal.getsignal(signal.SIGTERM)

    def picky(number: int, handler: Any) -> Any:
        if number == signal.SIGINT:
            raise OSError("no")
        return real(number, handler)

    monkeypatch.setattr(signal, "signal", picky)
    with pytest.raises(OSError, match="no"):
        Shutdown().__enter__()
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_blocks_own_error_passes() -> None:
    """An error in the block runs the callbacks and reaches the caller unchanged."""
    ran: list[str] = []

    def program() -> None:
        with quiet() as shutdown:
            shutdown.defer(ran.append, "done")
            shutdown.defer(lambda: 1 / 0)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        program()
    assert ran == ["done"]


def test_a_request_ends_a_wait_within_50_ms() -> None:
    """R25: whoever waits on ``wake`` goes on at once; the best of ten tries, since machines are busy."""
    assert min(seconds_from_request_to_end() for _ in range(10)) < 0.05


def seconds_from_request_to_end() -> float:
    """How long two threads, one in each kind of wait, need to go on after a request."""
    with quiet() as shutdown:
        waiting = threading.Barrier(3, timeout=30)
        ended: list[float] = []

        def wait(how: Callable[[], bool]) -> None:
            waiting.wait()
            assert how()
            ended.append(time.monotonic())

        ways = (lambda: shutdown.wait(60), lambda: SystemClock().sleep(60, shutdown.wake))
        threads = [threading.Thread(target=wait, args=(how,)) for how in ways]
        for thread in threads:
            thread.start()
        waiting.wait()
        asked = time.monotonic()
        shutdown.request("test")
        for thread in threads:
            thread.join(30)
    assert len(ended) == 2
    return max(ended) - asked


def test_a_request_ends_an_async_wait() -> None:
    """In an event loop the wait ends at once too, from another thread's request; a time-out returns False."""

    async def main(shutdown: Shutdown) -> tuple[bool, bool, bool]:
        first = await shutdown.wait_async(0.001)
        task = asyncio.create_task(shutdown.wait_async(60))
        await asyncio.sleep(0)
        await asyncio.to_thread(shutdown.request, "test")
        return first, await asyncio.wait_for(task, 30), await shutdown.wait_async(60)

    with quiet() as shutdown:
        assert asyncio.run(main(shutdown)) == (False, True, True)


def test_asking_again_changes_nothing() -> None:
    """The first request's reason and deadline stay."""
    told: list[Any] = []
    with quiet(listeners=[told.append]) as shutdown:
        shutdown.request("first", exit_code=3)
        shutdown.request("second")
        assert (shutdown.reason, shutdown.exit_code) == ("first", 3)
        assert 0 < shutdown.remaining <= 25
    assert [type(e) for e in told] == [ShutdownRequested, ShutdownFinished]


def test_the_operation_in_progress_is_finished_before_the_callbacks() -> None:
    """Work in another thread ends first; nothing new is begun."""
    order: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def work(shutdown: Shutdown) -> None:
        with shutdown.operation("upload"):
            begun.set()
            go_on.wait(30)
            order.append("upload")

    with quiet() as shutdown:
        thread = threading.Thread(target=work, args=(shutdown,))
        thread.start()
        begun.wait(30)
        shutdown.defer(order.append, "callback")
        shutdown.request("test")
        with pytest.raises(ShuttingDown, match="next was not begun"), shutdown.operation("next"):
            order.append("next")
        threading.Timer(0.01, go_on.set).start()
    thread.join()
    assert order == ["upload", "callback"]


def test_the_deadline_forces_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A callback that hangs longer than the grace ends the process, with all stacks on standard error."""
    codes: list[int] = []
    told: list[Any] = []
    forced = threading.Event()

    def leave(code: int) -> None:
        codes.append(code)
        forced.set()

    def a_callback_that_hangs() -> None:
        assert forced.wait(30)

    with Shutdown(grace=0.05, signals=(), exit=leave, listeners=[told.append]) as shutdown:
        shutdown.defer(a_callback_that_hangs)
    assert codes == [1]
    assert any(isinstance(e, ShutdownForced) for e in told)
    errors = capsys.readouterr().err
    assert "not done within 0.05 s" in errors
    assert "a_callback_that_hangs" in errors


def test_it_works_in_another_thread_without_signals_and_says_so() -> None:
    """Outside the main thread signals are refused with the way out; without signals it works."""
    errors: list[Exception] = []

    def elsewhere() -> None:
        try:
            with Shutdown():
                pass
        except UsageError as error:
            errors.append(error)
        with quiet() as shutdown:
            shutdown.request("test")

    thread = threading.Thread(target=elsewhere, name="side")
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert "'side'" in str(errors[0])
    assert "pass signals=()" in str(errors[0])


@posix
def test_handlers_are_restored() -> None:
    """After the block the handlers are those of before, ignored signals included."""
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        before = signal.getsignal(signal.SIGINT)
        with Shutdown(exit=lambda code: None):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGTERM, old)


def test_one_block_each() -> None:
    """Entering the same object again is refused; wrong options name themselves."""
    shutdown = quiet()
    with shutdown, pytest.raises(UsageError, match="Make a new one"):
        shutdown.__enter__()
    for wrong in (
        {"signals": ("SIGKILL",)},
        {"signals": ("SIG_DFL",)},
        {"grace": 0},
        {"grace": float("inf")},
        {"signals": ("SIGNOPE",)},
    ):
        with pytest.raises(UsageError):
            ShutdownOptions(**wrong)  # type: ignore[arg-type]


PROGRAM = """
import os, signal, sys, threading, time
from chaoskit.runtime.running.lifecycle import Shutdown
{body}
"""


def start(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    """A real program; it says ``ready`` when it is."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(body=textwrap.dedent(body)))
    process = subprocess.Popen(
        [sys.executable, "-u", str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


LOOP = """
with Shutdown(grace={grace}) as shutdown:
    shutdown.defer(print, "cleaned up")
    {defer}
    print("ready")
    while not shutdown.requested:
        with shutdown.operation("step"):
            pass
        shutdown.wait(60)
    print("asked:", shutdown.reason)
sys.exit(shutdown.exit_code)
"""


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_real_signal_ends_a_real_program_in_order(tmp_path: Path, number: int, code: int) -> None:
    """SIGTERM or SIGINT wakes the wait, the callbacks run, and the exit code says which signal it was."""
    process = start(tmp_path, LOOP.format(grace=30, defer=""))
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert out == f"asked: {signal.Signals(number).name}\ncleaned up\n"
    assert (process.returncode, err) == (code, "")


@posix
def test_a_second_signal_forces(tmp_path: Path) -> None:
    """While a callback hangs, a second signal ends the program at once, with its stacks."""
    body = LOOP.format(grace=60, defer="shutdown.defer(lambda: (print('hanging'), time.sleep(60)))")
    process = start(tmp_path, body)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert [process.stdout.readline(), process.stdout.readline()] == ["asked: SIGTERM\n", "hanging\n"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "SIGINT after SIGTERM" in err
    assert "MainThread" in err
    assert "cleaned up" not in out


@posix
def test_one_signal_while_the_program_ends_by_itself_forces_nothing() -> None:
    """The first signal during the callbacks of a program that was done anyway does not cut them short."""
    forced: list[int] = []
    ran: list[str] = []
    with Shutdown(exit=forced.append) as shutdown:
        shutdown.defer(ran.append, "last")
        shutdown.defer(os.kill, os.getpid(), signal.SIGTERM)
    assert (forced, ran) == ([], ["last"])
    assert shutdown.reason == "the program has ended"


@posix
def test_nested_shutdowns_both_notice() -> None:
    """A signal is for the whole process: an inner block does not keep it from the outer one."""
    forced: list[int] = []
    with Shutdown(exit=forced.append) as outer, Shutdown(exit=forced.append) as inner:
        os.kill(os.getpid(), signal.SIGTERM)
        assert inner.wait(30)
        assert outer.wait(30)
    assert forced == []


@posix
def test_a_program_that_does_not_listen_is_ended_at_the_deadline(tmp_path: Path) -> None:
    """A loop that never looks at the request is ended when the grace is over."""
    process = start(
        tmp_path, "with Shutdown(grace=0.2):\n    print('ready')\n    while True: time.sleep(0.01)\n"
    )
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "not done within 0.2 s" in err


@pytest.mark.skipif(sys.platform != "linux", reason="deadlocks in glibc")
def test_a_main_thread_stuck_in_c_is_ended(tmp_path: Path) -> None:
    """A main thread that hangs in C runs no Python handler; the signal is noticed, and the deadline holds."""
    body = """
    import ctypes
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    asked = threading.Event()
    with Shutdown(grace=0.3) as shutdown:
        threading.Thread(target=lambda: (shutdown.wait(60), print("noticed")), daemon=True).start()
        print("ready")
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)
    """
    process = start(tmp_path, body)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (143, "noticed\n")
    assert "not done within 0.3 s" in err


@posix
def test_an_event_loop_that_takes_the_wakeup_descriptor_does_no_harm() -> None:
    """With a loop that handles signals of its own, ours still arrive, once, and nothing of ours is left."""

    async def main(shutdown: Shutdown) -> bool:
        mine = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, mine.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(mine.wait(), 30)
        os.kill(os.getpid(), signal.SIGTERM)
        return await shutdown.wait_async(30)

    forced: list[int] = []
    with Shutdown(exit=forced.append) as shutdown:
        assert asyncio.run(main(shutdown))
    assert forced == []
    assert shutdown.reason == "SIGTERM"
    assert signal.set_wakeup_fd(-1) == -1


@posix
def test_whoever_was_woken_by_signals_before_still_is() -> None:
    """An earlier wakeup descriptor gets the numbers of the signals, and is put back."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    reader.settimeout(30)
    old = signal.set_wakeup_fd(writer.fileno())
    try:
        with Shutdown(exit=lambda code: None) as shutdown:
            os.kill(os.getpid(), signal.SIGTERM)
            assert shutdown.wait(30)
            assert reader.recv(1) == bytes([signal.SIGTERM])
        assert signal.set_wakeup_fd(writer.fileno()) == writer.fileno()
    finally:
        signal.set_wakeup_fd(old)
        reader.close()
        writer.close()


def forking(tmp_path: Path, body: str) -> str:
    """What the program prints that is told to go on when its child is ready."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(body=textwrap.dedent(body)))
    process = subprocess.Popen(
        [sys.executable, "-u", "-W", "ignore", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    out, _ = process.communicate("go\n", timeout=30)
    return out


@posix
def test_a_signal_to_a_child_does_not_reach_the_parent(tmp_path: Path) -> None:
    """A forked child shares the parent's sockets, but not its signals."""
    body = """
    with Shutdown() as shutdown:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, lambda n, f: os._exit(7))
            print("ready")
            while True: time.sleep(0.01)
        sys.stdin.readline()
        os.kill(child, signal.SIGTERM)
        status = os.waitpid(child, 0)[1]
        print(os.WEXITSTATUS(status), shutdown.wait(0.2))
    """
    assert forking(tmp_path, body) == "7 False\n"


@posix
def test_a_forked_child_dies_of_the_signal_as_usual(tmp_path: Path) -> None:
    """A child that inherited the handlers is not made immortal by them."""
    body = """
    with Shutdown() as shutdown:
        child = os.fork()
        if child == 0:
            print("ready")
            while True: time.sleep(0.01)
        sys.stdin.readline()
        os.kill(child, signal.SIGTERM)
        status = os.waitpid(child, 0)[1]
    print(os.WTERMSIG(status))
    """
    assert forking(tmp_path, body) == f"{int(signal.SIGTERM)}\n"


@posix
def test_signals_in_a_storm_do_not_deadlock(tmp_path: Path) -> None:
    """A signal that interrupts the very code that sets the event cannot hang the program."""
    body = """
    print("ready")
    for _ in range(200):
        with Shutdown(grace=30, exit=lambda code: None) as shutdown:
            os.kill(os.getpid(), signal.SIGTERM)
            shutdown.wait(30)
            assert shutdown.requested
    print("survived")
    """
    process = start(tmp_path, body)
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("survived\n", 0), err


@pytest.mark.parametrize("broken", ["_request", "_tell_end", "post"])
def test_memory_that_runs_short_at_the_end_leaves_no_mailbox(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Wherever leaving fails, the sockets of the mailbox are closed and the error is the caller's."""
    shutdown = Shutdown(signals=()).__enter__()
    mail = shutdown._mail
    assert mail is not None
    monkeypatch.setattr(mail if broken == "post" else shutdown, broken, _no_memory)
    with pytest.raises(MemoryError):
        shutdown.__exit__(None, None, None)
    assert (mail._reader.fileno(), mail._writer.fileno()) == (-1, -1)


def _no_memory(*_: object) -> None:
    raise MemoryError
