"""The Python stack of a call, read from the caller's memory."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chaoskit.core.operation import Frame
from chaoskit.inject import channel
from chaoskit.inject.base import Ran
from chaoskit.inject.kernel.workload import layout, stack

Record = Callable[[Callable[[], Any]], Ran]


def line() -> int:
    """The line of the caller."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def stacks(ran: Ran, call: str) -> list[tuple[Frame, ...]]:
    return [operation.stack for operation in ran.trace if operation.call == call]


def test_the_innermost_frame_comes_first(root: str, record: Record) -> None:
    """File, line and qualified name of every frame are exact, up to the workload's own first frame."""

    def inner() -> None:
        os.mkdir(f"{root}/d")

    def work() -> None:
        inner()

    inner_line, work_line = inner.__code__.co_firstlineno + 1, work.__code__.co_firstlineno + 1
    name = "test_the_innermost_frame_comes_first.<locals>"
    assert stacks(record(work), "mkdir") == [
        (Frame(__file__, inner_line, f"{name}.inner"), Frame(__file__, work_line, f"{name}.work"))
    ]


def test_a_call_over_several_lines_has_the_line_of_its_instruction(root: str, record: Record) -> None:
    """The line is that of the running instruction, as a traceback tells it."""

    def work() -> int:
        try:
            os.mkdir(
                f"{root}/none/d",
                0o700,
            )
        except FileNotFoundError as error:
            return error.__traceback__.tb_lineno if error.__traceback__ else 0
        return 0

    ran = record(work)
    assert stacks(ran, "mkdir")[0][0].line == ran.value


def test_a_call_inside_a_c_library_has_the_line_that_led_there(root: str, record: Record) -> None:
    """Every call of sqlite3 is attributed to the statement that caused it."""

    def work() -> list[int]:
        database = sqlite3.connect(f"{root}/db")
        first = line() + 1
        database.execute("create table t(x)")
        database.execute("insert into t values (1)")
        database.commit()
        return list(range(first, line()))

    ran = record(work)
    seen = stacks(ran, "write") + stacks(ran, "fdatasync") + stacks(ran, "unlink")
    assert len(seen) > 10
    assert {one[0].file for one in seen} == {__file__}
    assert {one[0].line for one in seen} == set(ran.value)


def test_each_thread_has_its_own_stack(root: str, record: Record) -> None:
    """Threads at the same moment, and a thread that follows another, are told apart."""
    both = threading.Barrier(2)

    def one(name: str) -> None:
        both.wait()
        os.mkdir(f"{root}/{name}")

    def other(name: str) -> None:
        both.wait()
        os.mkdir(f"{root}/{name}")

    def work() -> None:
        for turn in range(3):
            threads = [threading.Thread(target=f, args=(f"{f.__name__}{turn}",)) for f in (one, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    ran = record(work)
    made = [operation for operation in ran.trace if operation.call == "mkdir"]
    assert len(made) == 6
    for operation in made:
        assert operation.site is not None
        assert operation.site.function.endswith(operation.target.rstrip("012"))
        assert operation.place.thread > 0


def test_a_record_that_is_another_threads_by_now_is_looked_for_again(
    root: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter frees the record of a thread that has left Python, and gives it to the next."""
    found: list[int] = []
    find = stack.StackReader.find_thread

    def first_wrongly(reader: stack.StackReader, interpreter: int, native_id: int) -> int | None:
        found.append(native_id)
        wrong = len(found) == 1
        return stack.whereabouts().state if wrong else find(reader, interpreter, native_id)

    monkeypatch.setattr(stack.StackReader, "find_thread", first_wrongly)

    def in_thread() -> None:
        for name in "abc":
            os.mkdir(f"{root}/{name}")

    def work() -> None:
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()

    wrong, *right = stacks(record(work), "mkdir")
    assert not any(frame.function.endswith("in_thread") for frame in wrong)
    assert [frames[0].function.rpartition(".")[2] for frames in right] == ["in_thread"] * 2
    assert len(found) == 2


def test_generators_and_coroutines_are_frames(root: str, record: Record) -> None:
    """A suspended frame is not there; a running one is, with who resumed it."""

    def numbers() -> Iterator[int]:
        yield 1
        os.mkdir(f"{root}/generator")
        yield 2

    async def leaf() -> None:
        await asyncio.sleep(0)
        os.mkdir(f"{root}/coroutine")

    async def work() -> None:
        assert list(numbers()) == [1, 2]
        await leaf()

    first, second = stacks(record(work), "mkdir")
    short = [[frame.function.rpartition(".")[2] for frame in one] for one in (first, second)]
    assert short[0][:2] == ["numbers", "work"]
    assert short[1][:2] == ["leaf", "work"]


def test_a_thread_that_blocks_all_signals_has_a_stack(root: str, record: Record) -> None:
    """Nothing is sent to the thread, so nothing can be held back."""

    def work() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.mkdir(f"{root}/d")

    assert stacks(record(work), "mkdir")[0][0].function.endswith("work")


def test_another_program_has_no_python_stack(root: str, record: Record) -> None:
    """Programs that were exec'ed have none, unless they are this interpreter again."""

    def work() -> None:
        subprocess.run(["mkdir", f"{root}/a"], check=True)
        subprocess.run([sys.executable, "-c", f"import os; os.mkdir('{root}/b')"], check=True)

    assert stacks(record(work), "mkdir") == [(), (Frame("<string>", 1, "<module>"),)]


def test_another_program_is_not_looked_into(
    root: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this interpreter has its frames, another may have something that looks like some."""
    made = (Frame("made.py", 1, "up"),)
    monkeypatch.setattr(stack.StackReader, "find_thread", lambda *_: 1)
    monkeypatch.setattr(stack.StackReader, "of_thread", lambda *_: made)

    def work() -> None:
        os.mkdir(f"{root}/a")
        pid = os.fork()
        if pid == 0:
            os.mkdir(f"{root}/b")
            os.execv("/bin/mkdir", ["mkdir", f"{root}/c"])
        os.waitpid(pid, 0)
        subprocess.run(["mkdir", f"{root}/d"], check=True)
        subprocess.run(["sh", "-c", f"(: > {root}/e); :"], check=True)  # A fork of what was exec'ed.

    ran = record(work)
    assert stacks(ran, "mkdir") == [made, made, (), ()]
    assert stacks(ran, "open") == [()]


def test_a_failed_exec_changes_nothing(root: str, record: Record) -> None:
    """After an exec that did not happen the process keeps its name and its stacks."""

    def work() -> None:
        with pytest.raises(FileNotFoundError):
            os.execv(f"{root}/none", ["none"])
        os.mkdir(f"{root}/a")
        pid = os.fork()
        if pid == 0:
            os.mkdir(f"{root}/b")
            try:
                os.execv(f"{root}/none", ["none"])
            except FileNotFoundError:
                os.mkdir(f"{root}/c")
            os._exit(0)
        os.waitpid(pid, 0)

    ran = record(work)
    made = [operation for operation in ran.trace if operation.call == "mkdir"]
    assert [one.place.process for one in made] == ["", "child~1", "child~1"]
    assert all(one.stack for one in made)


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_forked_child_has_a_stack(root: str, record: Record, in_thread: bool) -> None:
    """A fork keeps the frames of the thread that forked, and may start threads of its own."""

    def deeper(name: str) -> None:
        os.mkdir(f"{root}/{name}")

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            deeper("a")
            thread = threading.Thread(target=deeper, args=("b",))
            thread.start()
            thread.join()
            os._exit(0)
        os.waitpid(pid, 0)

    def work() -> None:
        if not in_thread:
            return fork()
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        return None

    first, second = stacks(record(work), "mkdir")
    assert [frame.function.rpartition(".")[2] for frame in first][:2] == ["deeper", "fork"]
    assert [frame.function.rpartition(".")[2] for frame in second][:2] == [
        "deeper",
        "Thread.run".partition(".")[2],
    ]


def test_a_deep_recursion_keeps_its_innermost_frames(root: str, record: Record) -> None:
    """Of a stack that is too long the part next to the call is kept."""

    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        else:
            os.mkdir(f"{root}/d")

    (seen,) = stacks(record(lambda: deep(900)), "mkdir")
    assert len(seen) == 200
    assert seen[0].line == seen[1].line + 2
    assert {frame.function.rpartition(".")[2] for frame in seen} == {"deep"}


@pytest.mark.parametrize(
    "name", ["é", "名前", "\N{MATHEMATICAL BOLD SMALL A}\N{CJK UNIFIED IDEOGRAPH-20000}"]
)
def test_names_in_any_script_are_read(disk: str, root: str, record: Record, name: str) -> None:
    """File and function names are text of every width that the interpreter keeps."""
    path = f"{disk}/{name}.py"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"import os\ndef {name}(path):\n    os.mkdir(path)\n")
    spec = importlib.util.spec_from_file_location("odd", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = next(value for key, value in vars(module).items() if callable(value))
    (seen,) = stacks(record(lambda: function(f"{root}/d")), "mkdir")
    assert (seen[0].file, seen[0].line, seen[0].function) == (path, 3, function.__qualname__)


def test_code_that_is_made_while_running_is_read(root: str, record: Record) -> None:
    """Code objects come and go at the same addresses; each is read as it is then."""

    def work() -> None:
        for number in range(50):
            exec(compile("\n" * number + f"import os; os.mkdir('{root}/{number}')", f"made {number}", "exec"))

    seen = stacks(record(work), "mkdir")
    assert [(one[0].file, one[0].line) for one in seen] == [(f"made {n}", n + 1) for n in range(50)]


def test_a_promise_stands_where_it_was_made(record: Record) -> None:
    """The stack of a promise starts at the caller, not in this package."""
    ran = record(lambda: channel.promise(1))
    assert stacks(ran, "promise")[0][0].file == __file__


def test_without_a_known_layout_there_are_no_stacks(
    root: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that is not recognised costs the stacks, and nothing else; the reason is kept."""

    def unknown(_: object) -> None:
        raise LookupError("planted")

    monkeypatch.setattr(stack, "_layout", None)
    monkeypatch.setattr(layout, "_strings", unknown)
    ran = record(lambda: os.mkdir(f"{root}/d"))
    assert stacks(ran, "mkdir") == [()]
    assert "planted" in stack.calibrate().missing


def test_a_free_threaded_build_has_no_stacks_and_says_why(
    root: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lays its objects out in another way; all that reads no interpreter's memory works there."""
    monkeypatch.setattr(stack, "_layout", None)
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 1}.get)
    ran = record(lambda: os.mkdir(f"{root}/d"))
    assert stacks(ran, "mkdir") == [()]
    assert "free-threaded" in stack.calibrate().missing


@pytest.mark.parametrize("shift", [2, 8, 16])
def test_the_kind_of_a_string_is_found_where_a_build_keeps_it(shift: int) -> None:
    """Behind two bits, a byte or two bytes, whatever the bits beside it are."""
    kinds = [(1, True), (1, False), (2, False), (4, False)]
    beside = (0x2F100A5, 0x19500003, 0x38706366, 0)
    samples = [
        (noise & ~(0x1F << shift) | (width | 1 << 3 | ascii_only << 4) << shift, width, ascii_only)
        for (width, ascii_only), noise in zip(kinds, beside, strict=True)
    ]
    assert layout._state_mask(samples) == 0x1F << shift


def test_strings_of_an_unknown_form_are_refused() -> None:
    """Where no place fits all samples there are no stacks, instead of garbled names."""
    with pytest.raises(LookupError, match="kind of a string"):
        layout._state_mask([(0x64, 1, True), (0x64, 2, False)])


@pytest.mark.parametrize("planted", ["frame_code", "frame_instruction", "frame_previous"])
def test_a_wrong_layout_is_noticed(monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    """What is found is checked against our own frames before it is used."""
    real = layout._Calibration._frame

    def wrong(self: Any, inner: Any, outer: Any) -> dict[str, int]:
        found = real(self, inner, outer)
        return found | {planted: found[planted] + 8}

    monkeypatch.setattr(stack, "_layout", None)
    monkeypatch.setattr(layout._Calibration, "_frame", wrong)
    assert stack.calibrate().missing


def test_line_tables_are_decoded_as_the_interpreter_does() -> None:
    """For every code object of some large modules, line by code unit as ``co_lines`` tells it."""
    import argparse
    import threading as module

    def codes(code: Any) -> Iterator[Any]:
        yield code
        for constant in code.co_consts:
            if inspect.iscode(constant):
                yield from codes(constant)

    compared = 0
    for source in (argparse, module, subprocess):
        with open(source.__file__, encoding="utf-8") as file:
            for code in codes(compile(file.read(), source.__file__, "exec")):
                expected = [
                    number or 0 for start, end, number in code.co_lines() for _ in range(start, end, 2)
                ]
                assert list(stack._lines(code.co_linetable, code.co_firstlineno)) == expected
                compared += 1
    assert compared > 200
