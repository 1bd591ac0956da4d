"""What the forked process does before, around and after the workload."""

from __future__ import annotations

import ctypes
import errno
import gc
import inspect
import os
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import Any, NoReturn

from chaoskit.core.errors import UsageError
from chaoskit.inject import channel, plain, processes
from chaoskit.inject.base import Command
from chaoskit.inject.handlers import HandlerWatch
from chaoskit.inject.interpreter import freelists
from chaoskit.inject.interpreter.recording import packed
from chaoskit.inject.interpreter.watch import InnerWatch
from chaoskit.inject.kernel.seccomp import abi, bpf
from chaoskit.inject.kernel.workload import garbage, heap, imports

PROMISE, RESULT, ERROR, UNSENDABLE, NOTED = b"P", b"R", b"E", b"U", b"N"
"""The first byte of a message to the control descriptor, after the secret of the run. The rest is a list as
:mod:`chaoskit.inject.plain` writes it."""
PARTS = {PROMISE: 1, NOTED: 1, RESULT: 2, ERROR: 5, UNSENDABLE: 2}
"""The number of parts of the list. At an end the last part has four lists: remaining threads, what objects
and what frames left to the garbage collector, and slow imports. Before it an error has four parts: the error
or None, the name of its class, its message, and its text with the traceback."""
NOTHING_LEFT = plain.dumps([[], [], [], []])
SECRET = 16
"""Bytes of the secret, which tells a message from a stray write."""
READY, FAILED = b"+", b"-"
DESCRIPTOR = struct.Struct("=i")
"""A descriptor sent beside a message (unix(7), SCM_RIGHTS)."""
HOLDS_MORE = 0
"""The answer to the result of a process with more descriptors than at its start: it collects its garbage and
sends the result again."""
_THREAD_GRACE, _DAEMON_GRACE = 0.25, 0.05
"""Seconds that threads have to end once the workload's function has returned. Daemons get less: many run
forever, and every case would wait."""


def enter(
    work: Callable[[], Any] | Command,
    control: socket.socket,
    record: bool,
    program: bytes,
    parent: int,
    secret: bytes,
    watch: InnerWatch | None = None,
    handlers: HandlerWatch | None = None,
    *,
    limited: bool = False,
) -> NoReturn:
    """Become the workload under the filter ``program``. This neither returns nor raises.

    ``secret`` precedes every message to the control descriptor. ``watch`` strikes inside the interpreter,
    ``handlers`` notes which exception handlers run. ``limited`` says that some call limits memory: then the
    heap must hold no free memory from before.
    """
    global _secret, _watch
    _secret, _watch = secret, watch
    # 70 to 72 mean that our part failed: an error here, a parent that is gone, a filter that was refused.
    status = 70
    try:
        _prepare(parent)
        if limited and not isinstance(work, Command):
            heap.settle()
        _install_filter(control, program)
        if isinstance(work, Command):
            _become(work)
        status = _serve(work, record, handlers)
    except BaseException:
        traceback.print_exc()
    finally:
        # Skip exit handlers and atexit, which belong to the test process.
        os._exit(status)


def boundary() -> int:
    """The address of the code object where the workload's stacks end."""
    return id(_call.__code__)


_IGNORES_INTERRUPTS = signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def _prepare(parent: int) -> None:
    processes.die_with(parent, status=71)
    if _IGNORES_INTERRUPTS:
        # A shell that runs the tests in the background has them ignored; the program did not ask for that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A collection would touch every object of the test process and copy its pages.
    gc.freeze()
    if "asyncio" in sys.modules:
        # A fork inside a running event loop inherits it as running, and could start no other.
        sys.modules["asyncio"]._set_running_loop(None)


def _install_filter(control: socket.socket, program: bytes) -> None:
    """Install the filter and hand its listener to the supervisor.

    From here on every watched call waits for an answer; sending with ``MSG_PROBE`` is not watched.
    """
    no_new_privileges, install = _calls(program)
    # Without this only root may install a filter (seccomp(2)).
    no_new_privileges()
    listener = install()
    if listener < 0:
        control.send(FAILED + str(-listener).encode())
        os._exit(72)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, DESCRIPTOR.pack(listener))
    control.sendmsg([READY], [rights], abi.MSG_PROBE)
    # With a copy in the workload, calls would wait forever if the supervisor died.
    os.close(listener)
    control.close()
    os.write(bpf.CONTROL, b"")  # The first call that stops; calls are counted from its number on.


@cache
def _calls(program: bytes) -> tuple[Callable[[], int], Callable[[], int]]:
    """Two calls with arguments prepared before the fork: objects made after it cost page faults."""
    library = abi.libc()
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code)))
    flags = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    numbers = {"x86_64": (317, 157), "aarch64": (277, 167)}[abi.machine()]
    words = [ctypes.c_ulong(word) for word in (numbers[0], abi.SECCOMP_SET_MODE_FILTER, flags)]
    privileges = [ctypes.c_ulong(word) for word in (numbers[1], abi.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)]

    def install() -> int:
        result = int(library.syscall_raw(*words, header))
        return -ctypes.get_errno() if result == -1 else result

    def no_new_privileges() -> int:
        return int(library.syscall_raw(*privileges))

    # Keeps ``code`` alive: the header points into it.
    install.code = code  # type: ignore[attr-defined]
    return no_new_privileges, install


def prepare(program: bytes) -> None:
    """Do what costs less before a fork than after it."""
    _calls(program)
    processes.prepare()


def _call(function: Callable[[], Any]) -> Any:
    """Call the workload. Its stacks end below this frame."""
    if _watch is not None:
        _watch.begin(_call.__code__)
    result = function()
    if _watch is not None:
        _watch.pause()
    if inspect.iscoroutine(result):
        import asyncio

        result = asyncio.run(_awaited(result))
    if _watch is not None:
        _watch.over()
    return result


async def _awaited(coroutine: Any) -> Any:
    return await coroutine


def _serve(work: Callable[[], Any], record: bool, handlers: HandlerWatch | None) -> int:
    measured = imports.Imports()
    # Measuring imports allocates, but only in recordings: the same line has fewer allocations in a case.
    if record and not (_watch is not None and _watch.counts_allocations):
        measured.listen()
    _trace(record, handlers)
    # Only now, since promises made during set-up would be lost.
    channel.install(_send_promise)
    garbage.listen()
    held: set[str] = set()
    try:
        kind, parts = _result(_call(work))
    except BaseException as error:
        if _watch is not None:
            _watch.over()
        # While the frames exist: later it is unknown what held a file.
        held = garbage.held_by_objects()
        kind, parts = ERROR, _parts_of_error(error, record)
    # The program is over: Ctrl-C would only interrupt our own work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _flush()
    if _watch is not None and record:
        _tell(_message(NOTED, [plain.dumps(packed(_watch.noted()))]))
    threads = _threads()
    slow = measured.slow()
    message = _message(kind, [*parts, plain.dumps([threads, *garbage.unclosed(held), slow])])
    try:
        # A descriptor that the collector closes is not a leak, and Python's warning about it is kept.
        if _tell(message) == HOLDS_MORE:
            freelists.thaw()
            garbage.forget_records()
            gc.collect()
            message = _message(kind, [*parts, plain.dumps([threads, *garbage.unclosed(held), slow])])
            _tell(message)
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        text = f"{len(message)} bytes of it are more than the 256 MiB that a workload may send"
        _tell(_message(UNSENDABLE, [plain.dumps(text), NOTHING_LEFT]))
    return 0


_secret = b""
_watch: InnerWatch | None = None

_OURS = frozenset(function.__code__ for function in (_call, _awaited, _serve))
"""Our functions at the head of every traceback of a workload."""


def _send_promise(value: Any) -> None:
    try:
        body = plain.dumps(value)
    except plain.NotPlain as error:
        raise UsageError(
            f"promise() was given a value that cannot leave the workload's process ({error}); expected plain "
            "data, a dataclass or an exception. Promise plain data."
        ) from None
    try:
        _tell(_message(PROMISE, [body]))
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        raise UsageError(
            f"promise() was given {len(body)} bytes; expected less: a workload may send 256 MiB in all. "
            "Promise a name or a checksum."
        ) from None


def _message(kind: bytes, parts: list[bytes]) -> bytes:
    return _secret + kind + b"[" + b",".join(parts) + b"]"


def _tell(message: bytes) -> int:
    """Write to the supervisor; return its answer.

    A process that forbids reading its memory (prctl(2), PR_SET_DUMPABLE) allows it for this moment.
    """
    try:
        return os.write(bpf.CONTROL, message)
    except OSError:
        library = abi.libc()
        before = library.prctl(abi.PR_GET_DUMPABLE)
        library.prctl(abi.PR_SET_DUMPABLE, 1)
        try:
            return os.write(bpf.CONTROL, message)
        finally:
            library.prctl(abi.PR_SET_DUMPABLE, before)


def _result(value: Any) -> tuple[bytes, list[bytes]]:
    try:
        return RESULT, [plain.dumps(value)]
    except plain.NotPlain as error:
        return UNSENDABLE, [plain.dumps(str(error))]


def _parts_of_error(error: BaseException, record: bool = True) -> list[bytes]:
    """The parts of a message about an error; see :data:`PARTS`."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    began = _below_ours(error)
    # A case's traceback is shown only if the case becomes a finding.
    text = _formatted(error, began) if record else _brief(error, began, name)
    try:
        itself = plain.dumps(error)
    except Exception:
        itself = plain.dumps(None)
    parts = [itself, plain.dumps(name), plain.dumps(_said(error)), plain.dumps(text)]
    # Frames keep files of the workload open: they must be closed before descriptors are counted.
    traceback.clear_frames(error.__traceback__)
    return parts


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "its message could not be made"


def _below_ours(error: BaseException) -> TracebackType | None:
    """The traceback from the workload's first frame on; None if the workload was never reached."""
    step = began = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code in _OURS:
            began = step.tb_next
        step = step.tb_next
    return began


def _formatted(error: BaseException, began: TracebackType | None) -> str:
    told = traceback.TracebackException(type(error), error, began)
    told.stack[:] = [frame for frame in told.stack if frame.filename != imports.__file__]
    return "".join(told.format())


def _brief(error: BaseException, began: TracebackType | None, name: str) -> str:
    """A traceback formatted by hand: the standard library takes longer than most cases."""
    if isinstance(error, BaseExceptionGroup | SyntaxError):
        return _formatted(error, began)
    lines = [] if began is None else ["Traceback (most recent call last):"]
    step = began
    while step is not None:
        code = step.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {step.tb_lineno}, in {code.co_name}')
        step = step.tb_next
    name, message = name.removeprefix("builtins.").removeprefix("__main__."), _said(error)
    lines.append(f"{name}: {message}" if message else name)
    lines += map(str, getattr(error, "__notes__", ()))
    return "\n".join(lines) + "\n"


def _threads() -> list[str]:
    """The names of the workload's threads that still run after a grace period.

    At its end Python waits for threads that are not daemons, so their work still counts.
    """
    others = [one for one in threading.enumerate() if one is not threading.main_thread()]
    if not others:
        return []
    began = time.monotonic()
    for one in others:
        # All are measured from the same moment: ten threads must not get ten times as long.
        patience = _DAEMON_GRACE if one.daemon else _THREAD_GRACE
        try:
            one.join(max(0.0, began + patience - time.monotonic()))
        except RuntimeError:  # It is the current thread, or was never started.
            continue
    return [one.name for one in others if one.is_alive()]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def _trace(record: bool, handlers: HandlerWatch | None) -> None:
    """Stop tracers of the test process where their data is useless, and begin to watch ``handlers``."""
    # Allocations of a tracer would count as the program's.
    if not record or _watch is not None:
        _stop_tracing()
    if handlers is not None:
        handlers.start()


def _stop_tracing() -> None:
    """Stop coverage and debuggers: they cost many times as much as the case, and their data would be lost."""
    if sys.gettrace() is not None:
        sys.settrace(None)
    threading.settrace(None)
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None:
        for tool in range(6):
            # From 3.12 on tools of sys.monitoring cost as much as a trace function.
            if monitoring.get_tool(tool) is not None:
                monitoring.set_events(tool, 0)


def _become(command: Command) -> NoReturn:
    """Replace this process by the command, whose streams the supervisor has set up."""
    try:
        if command.cwd is not None:
            os.chdir(command.cwd)
        environment = dict(os.environ if command.env is None else command.env)
        os.execvpe(command.argv[0], list(command.argv), environment)
    except OSError as error:
        error.filename = command.argv[0]  # Name the command, not the last place where it was searched.
        _tell(_message(ERROR, [*_parts_of_error(error), NOTHING_LEFT]))
    os._exit(127)
