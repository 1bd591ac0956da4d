"""The context reaches every place where work is done, and nothing hostile gets in from outside."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime import context

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=600)


def test_there_is_no_context_outside_of_operations() -> None:
    """Without an operation there is no context, no id, and nothing to pass on."""
    assert context.current() is None
    assert context.correlation_id() is None
    assert context.dumps() is None


def test_operations_nest_and_are_left_again() -> None:
    """An inner operation keeps the outer id and fields, adds its own, and is gone after its block."""
    with context.operation("run", run="R1") as outer:
        with context.operation("upload", sample="S1") as inner:
            assert inner.operations == ("run", "upload")
            assert dict(inner.fields) == {"run": "R1", "sample": "S1"}
            assert inner.correlation_id == outer.correlation_id
            assert inner.to_dict()["operation"] == "upload"
        assert context.current() is outer
    assert context.current() is None


def test_an_error_restores_the_context_too() -> None:
    """A block that is left by an exception leaves no context behind."""
    with pytest.raises(KeyError), context.operation("run"):
        raise KeyError
    assert context.current() is None


def test_bind_adds_fields_to_the_same_operation() -> None:
    """bind() changes the fields and nothing else, outside operations as well."""
    with context.operation("run") as outer, context.bind(stage="image") as bound:
        assert (bound.operation, bound.started) == (outer.operation, outer.started)
        assert bound.fields["stage"] == "image"
    with context.bind(stage="image") as bound:
        assert bound.operation is None


def test_one_guard_may_be_entered_again_before_it_is_left() -> None:
    """A guard that is entered twice, one within the other, restores both times."""
    guard = context.operation("run")
    with guard as first, guard as second:
        assert second.operations == ("run", "run")
        assert context.current() is not first
    assert context.current() is None


def test_fields_cannot_be_changed() -> None:
    """What one part of a program sees of the context, no other part can alter."""
    with context.operation("run", run="R1") as current, pytest.raises(TypeError):
        current.fields["run"] = "R2"  # type: ignore[index]


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00b", "x" * 129, "\u2028", "\udc80"])
def test_a_name_that_could_forge_a_log_line_is_refused(name: str) -> None:
    """Operation names and ids hold no control characters and no lone surrogates."""
    with pytest.raises(UsageError, match="operation name"):
        context.operation(name)
    with pytest.raises(UsageError, match="correlation_id"):
        context.operation("run", correlation_id=name)


def test_reserved_field_names_are_refused() -> None:
    """A field cannot pass for the operation or the correlation id."""
    with pytest.raises(UsageError, match="set by chaoskit"):
        context.bind(operation="other")


def test_a_given_id_is_used() -> None:
    """An id that came with a request is kept for all that follows from it."""
    with context.operation("run", correlation_id="req-7.a:b_C"), context.operation("step"):
        assert context.correlation_id() == "req-7.a:b_C"


def test_threads_get_the_context_where_it_is_carried() -> None:
    """carry() takes the context into a thread, and what the thread sets does not come back."""
    seen: list[str | None] = []

    def work() -> None:
        seen.append(context.correlation_id())
        context.adopt({context.ENVIRONMENT_VARIABLE: '{"v":1,"id":"other","op":[],"fields":{}}'})
        seen.append(context.correlation_id())

    with context.operation("run", correlation_id="mine"):
        thread = threading.Thread(target=context.carry(work))
        thread.start()
        thread.join()
        assert context.correlation_id() == "mine"
    assert seen == ["mine", "other"]


def test_many_threads_may_run_one_carried_function_at_once() -> None:
    """A carried function is entered by several threads at the same time without an error."""
    meet = threading.Barrier(4, timeout=30)

    def work(number: int) -> tuple[int, str | None]:
        meet.wait()
        return number, context.correlation_id()

    with context.operation("run", correlation_id="mine"), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(context.carry(work), range(4))) == [(n, "mine") for n in range(4)]


def test_tasks_have_contexts_of_their_own() -> None:
    """Two tasks that interleave do not see one another's operation."""

    async def work(name: str, mine: asyncio.Event, other: asyncio.Event) -> str | None:
        with context.operation(name, correlation_id=name):
            mine.set()
            await other.wait()
            return context.correlation_id()

    async def both() -> list[str | None]:
        a, b = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(work("a", a, b), work("b", b, a)))

    assert asyncio.run(both()) == ["a", "b"]


def test_an_async_generator_closed_elsewhere_raises_nothing() -> None:
    """A guard that is left in another context than it was entered in does no harm."""

    async def numbers() -> object:
        with context.operation("numbers"):
            yield 1

    async def main() -> None:
        generator = numbers()
        await asyncio.create_task(generator.__anext__())  # type: ignore[attr-defined]
        await generator.aclose()  # type: ignore[attr-defined]
        assert context.current() is None

    asyncio.run(main())


def test_a_real_child_process_adopts_the_context() -> None:
    """A child started with to_environment() has the parent's id, operation and fields after adopt()."""
    program = (
        "from chaoskit.runtime import context\n"
        "context.adopt()\n"
        "c = context.current()\n"
        "print(c.correlation_id, c.operations, dict(c.fields))"
    )
    with context.operation("run", correlation_id="mine", sample="S\u00e9", n=3):
        result = subprocess.run(
            [sys.executable, "-c", program],
            env={**context.to_environment(), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        )
    expected = "mine ('run',) {'sample': 'S\u00e9', 'n': 3}"
    assert result.stdout.decode("utf-8").strip() == expected


def test_without_a_context_the_grandparents_is_not_passed_on() -> None:
    """to_environment() outside operations removes what this process itself was given."""
    assert context.to_environment({context.ENVIRONMENT_VARIABLE: "x", "A": "b"}) == {"A": "b"}


def test_secrets_and_objects_do_not_travel() -> None:
    """Fields that others may not see, and values that are not plain, are left out of the environment."""
    with context.operation("run", password="hunter2", api_key="k", thing=object(), sample="S1"):
        text = context.dumps()
    assert text is not None
    assert json.loads(text)["fields"] == {"sample": "S1"}


def test_values_at_the_limits_travel_and_beyond_do_not() -> None:
    """Text of 512 characters and integers of 64 bits are passed on, longer ones are not."""
    fields = {"a": "x" * 512, "b": "x" * 513, "c": 2**63 - 1, "d": 2**63, "e": -(2**63) + 1, "f": -(2**63)}
    with context.operation("run", **fields):
        text = context.dumps()
    assert text is not None
    assert sorted(json.loads(text)["fields"]) == ["a", "c", "e"]


def test_the_text_is_bounded_however_much_there_is() -> None:
    """Thousands of fields and deep nesting give a text that is short enough, and that parses back."""
    fields = {f"f{i}": "\u00e9" * 500 for i in range(100)}
    with context.operation("run", **fields):
        guards = [context.operation("\u00e9" * 128) for _ in range(200)]
        for guard in guards:
            guard.__enter__()
        text = context.dumps()
        for guard in reversed(guards):
            guard.__exit__()
    assert text is not None
    assert len(text) <= 8192
    assert context.loads(text) is not None


@given(fields=st.dictionaries(st.text(max_size=40), SCALARS, max_size=8))
def test_whatever_is_written_parses_back(fields: dict[str, object]) -> None:
    """loads(dumps(c)) gives the id, the operations, and exactly the fields that were written."""
    made = context.Context("id-1", ("a", "b"), fields)
    text = context.dumps(made)
    assert text is not None
    assert text.isascii()
    back = context.loads(text)
    assert back is not None
    assert (back.correlation_id, back.operations) == ("id-1", ("a", "b"))
    assert dict(back.fields) == json.loads(text)["fields"]
    assert all(fields[name] == value for name, value in back.fields.items())


HOSTILE = [
    "",
    "null",
    "[]",
    "{",
    "x" * 10_000,
    "[" * 8000,
    '{"v":2,"id":"a","op":[],"fields":{}}',
    '{"v":1,"op":[],"fields":{}}',
    '{"v":1,"id":"a\\nFAKE LOG LINE","op":[],"fields":{}}',
    '{"v":1,"id":7,"op":[],"fields":{}}',
    '{"v":1,"id":"a","op":["x\\u0000"],"fields":{}}',
    '{"v":1,"id":"a","op":"abc","fields":{}}',
    '{"v":1,"id":"a","op":[],"fields":[]}',
    '{"v":1,"id":"a","op":[],"fields":{"x":{"y":1}}}',
    '{"v":1,"id":"a","op":[],"fields":{"x":NaN}}',
    '{"v":1,"id":"a","op":[],"fields":{"operation":"fake"}}',
    '{"v":1,"id":"a","op":[],"fields":{"a b":1}}',
    '{"v":1,"id":"a","op":[],"fields":{"x":"\\u001b[31m"}}',
    '{"v":1,"id":"a","op":[],"fields":{"x":' + "9" * 5000 + "}}",
    '{"v":1,"id":"a","op":' + json.dumps(["x"] * 65) + ',"fields":{}}',
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_refused_and_said_so(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """What dumps() would not have written is refused without an error, and never logged itself."""
    with caplog.at_level(logging.WARNING, logger="chaoskit"):
        assert context.adopt({context.ENVIRONMENT_VARIABLE: text}) is None
    assert context.current() is None
    assert "refused" in caplog.text
    assert "FAKE" not in caplog.text


@given(st.text(max_size=200))
def test_no_text_makes_loads_raise(text: str) -> None:
    """loads() returns a context or None, whatever it is given."""
    assert context.loads(text) is None


def test_adopted_is_left_again() -> None:
    """adopted() puts the parent's context in force for a block only; without one it does nothing."""
    with context.operation("run", correlation_id="mine"):
        environment = context.to_environment({})
    with context.adopted(environment):
        assert context.correlation_id() == "mine"
    with context.adopted({}):
        assert context.correlation_id() is None


def test_ids_differ_and_leave_the_random_state_alone() -> None:
    """New ids come from the system; random's global state is untouched."""
    import random

    state = random.getstate()
    ids = {context.new_correlation_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(i) for i in ids} == {32}
    assert random.getstate() == state


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_the_context() -> None:
    """A child made by fork is in the same operation as its parent was."""
    read, write = os.pipe()
    with context.operation("run", correlation_id="mine"):
        child = os.fork()
        if child == 0:
            os.write(write, str(context.correlation_id()).encode())
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    assert os.read(read, 100) == b"mine"
    os.close(read)
