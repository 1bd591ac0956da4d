"""The named failures: categories, hints, records and pickling."""

from __future__ import annotations

import errno
import json
import pickle
import threading

import pytest

from chaoskit.core.errors import ChaoskitError
from chaoskit.runtime.failures import taxonomy as t

CLASSES = [getattr(t, name) for name in t.__all__ if name != "Category"]


def made(cls: type[t.ResilienceError]) -> t.ResilienceError:
    known = {"stage": "upload", "operation": "put", "retry_count": 2, "context": {"run": 7}, "at": 1.5}
    if cls is t.PartialFailure:
        return cls("it broke", [ValueError("one")], **known)
    return cls("it broke", **known)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_pickling_with_all_it_knows(cls):
    """What is caught on the other side of a pipe tells the same as what was raised."""
    error = made(cls)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))
        assert type(copy) is cls
        assert copy.to_dict() == error.to_dict()
        assert str(copy) == str(error)
        assert isinstance(copy, ChaoskitError)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_a_record(cls):
    """``to_dict`` is JSON, and holds message, category, hint, place and context."""
    record = json.loads(json.dumps(made(cls).to_dict()))
    assert record["type"] == cls.__name__
    assert record["message"] == "it broke"
    assert record["category"] == cls.category.value
    assert record["retryable"] is cls.category.retryable
    assert (record["stage"], record["operation"], record["retry_count"]) == ("upload", "put", 2)
    assert record["context"] == {"run": 7}
    assert record["at"] == "1970-01-01T00:00:01.500Z"
    assert record["hint"] == cls.default_hint


def test_the_tree_in_the_docstring_is_the_tree():
    """Every class stands in the module's drawing, below its base."""
    stack: list[tuple[int, str]] = []
    drawn = {}
    for line in (t.__doc__ or "").splitlines():
        name = line.lstrip(" │├└─").split(" ")[0]
        if name in t.__all__ or name == "ChaoskitError":
            depth = line.index(name)
            while stack and stack[-1][0] >= depth:
                stack.pop()
            drawn[name] = stack[-1][1] if stack else None
            stack.append((depth, name))
    assert set(drawn) == {*t.__all__, "ChaoskitError"} - {"Category"}
    for cls in CLASSES:
        assert drawn[cls.__name__] in {base.__name__ for base in cls.__mro__[1:]}


def test_only_transient_and_resource_are_worth_another_try():
    """Nothing else is retryable by its category."""
    assert {category for category in t.Category if category.retryable} == {"transient", "resource"}


def test_a_hint_can_be_replaced_and_even_emptied():
    """The instance's own hint wins over its class's."""
    assert t.DiskFull("x").hint.startswith("Free space")
    assert t.DiskFull("x", hint="Call Ann.").hint == "Call Ann."
    assert t.DiskFull("x", hint="").hint == ""


def test_context_that_cannot_be_pickled_arrives_as_text():
    """A lock in the context does not keep the error from crossing a process border."""
    error = t.TransientError("x", context={"lock": threading.Lock(), "n": 1})
    copy = pickle.loads(pickle.dumps(error))
    assert copy.context["n"] == 1
    assert "lock" in copy.context["lock"]
    rejected = pickle.loads(pickle.dumps(t.ResultRejected("x", value=threading.Lock())))
    assert "lock" in rejected.value


def test_files_errors_are_os_errors_with_errno_and_name():
    """Code that catches OSError, and looks at errno, keeps working; so does the pickled copy."""
    error = t.DiskFull("no space", errno=errno.ENOSPC, filename="/data/a")
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(one, OSError)
        assert (one.errno, one.filename, str(one)) == (errno.ENOSPC, "/data/a", "no space")
        assert one.to_dict()["errno"] == errno.ENOSPC


def test_errors_that_say_when_to_come_back():
    """``retry_after`` stays through a record and a pickle."""
    for cls in (t.RateLimited, t.BreakerOpen, t.Throttled):
        error = pickle.loads(pickle.dumps(cls("x", retry_after=2.5)))
        assert error.retry_after == error.to_dict()["retry_after"] == 2.5


def test_malformed_data_is_located():
    """File, line and column are part of the record."""
    record = t.MalformedData("NUL", file="a.csv", line=3, column=9).to_dict()
    assert (record["file"], record["line"], record["column"]) == ("a.csv", 3, 9)


def test_partial_failure_is_a_group():
    """It splits like any ExceptionGroup, and its parts keep hint and context."""
    error = t.PartialFailure("2 of 9", [ValueError(1), KeyError(2)], context={"batch": 1}, stage="load")
    with pytest.raises(ExceptionGroup) as caught:
        raise error
    values, rest = caught.value.split(ValueError)
    for part in (values, rest):
        assert isinstance(part, t.PartialFailure)
        assert part.context == {"batch": 1}
        assert part.stage == "load"
    assert [type(e) for e in pickle.loads(pickle.dumps(error)).exceptions] == [ValueError, KeyError]


def test_causes_are_listed_once_each_even_in_a_cycle():
    """A record of a cyclic chain is finite."""
    first, second = t.TransientError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    assert first.to_dict()["causes"] == [{"type": "OSError", "message": "second"}]


def test_a_record_is_finite_whatever_the_context_holds():
    """A context that holds itself, or objects that cannot be shown, still gives JSON."""

    class Hostile:
        def __repr__(self):
            raise RuntimeError

    context = {"deep": {}, "hostile": Hostile(), "many": [1, (2,), {"3"}]}
    context["deep"]["again"] = context["deep"]
    record = t.ResilienceError("x", context=context).to_dict()
    assert "cannot be shown" in record["context"]["hostile"]
    assert record["context"]["many"] == [1, [2], ["3"]]
    json.dumps(record)
