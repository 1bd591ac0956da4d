"""The recovery manager: the right strategy, an outcome that hides nothing, and a history without secrets."""

from __future__ import annotations

import json
import threading

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Category, FileMissing, RecoveryManager, RecoveryResult, ValidationError

RECOVERED, SKIPPED = RecoveryResult.RECOVERED, RecoveryResult.SKIPPED
GIVEN_UP, FAILED = RecoveryResult.GIVEN_UP, RecoveryResult.FAILED


def test_the_nearest_class_decides_and_then_the_category():
    """What is said of a class beats what is said of its base, and both beat the category."""
    manager = RecoveryManager(
        {
            OSError: lambda error, context: "os",
            ConnectionResetError: lambda error, context: "reset",
            Category.TRANSIENT: lambda error, context: "transient",
        }
    )
    assert manager.handle(ConnectionResetError()).value == "reset"
    assert manager.handle(ConnectionRefusedError()).value == "os"
    assert manager.handle(TimeoutError()).value == "os"
    outcome = RecoveryManager({Category.TRANSIENT: lambda e, c: c["item"]}).handle(
        TimeoutError(), {"item": 7}
    )
    assert (outcome.result, outcome.value, outcome.category) == (RECOVERED, 7, Category.TRANSIENT)


def test_what_has_no_strategy_is_skipped_or_given_up():
    """By its category: one wrong item is passed over, anything else is not."""
    manager = RecoveryManager({})
    assert manager.handle(ValidationError("row 3")).result == SKIPPED
    assert manager.handle(PermissionError()).result == GIVEN_UP


def test_a_strategy_without_a_result_has_recovered_what_is_not_skipped():
    """Most have none: only for a category that may be skipped does None say that it was."""
    manager = RecoveryManager(dict.fromkeys((ConnectionError, ValidationError), lambda error, context: None))
    assert manager.handle(ConnectionError()).result == RECOVERED
    assert manager.handle(ValidationError("row 3")).result == SKIPPED


def test_a_strategy_that_raises_does_not_hide_the_error():
    """The outcome says so, and the first error is the cause of the second."""

    def worse(error, context):
        raise RuntimeError("worse")

    first = ConnectionError("down")
    outcome = RecoveryManager({ConnectionError: worse}).handle(first)
    assert outcome.result == FAILED
    assert str(outcome.error) == "worse"
    assert outcome.error.__cause__ is first


def test_requests_to_stop_are_not_handled():
    """Whatever strategies there are."""
    manager = RecoveryManager({BaseException: lambda error, context: None})
    with pytest.raises(KeyboardInterrupt):
        manager.handle(KeyboardInterrupt())
    assert manager.report().entries == ()


def test_the_report_has_counts_and_the_newest_failures(tmp_path):
    """Bounded, as text, without secrets, and whole on disk."""
    manager = RecoveryManager({ConnectionError: lambda e, c: 1}, history=2)
    for n in range(3):
        manager.handle(
            ConnectionError(f"password=hunter2 try {n}"), {"job": n, "token": "token=abc123secret"}
        )
    manager.handle(PermissionError("no"))
    report = manager.report()
    assert report.counts == {"transient": {"recovered": 3}, "permanent": {"given up": 1}}
    assert len(report.entries) == 2
    manager.write(tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text)["counts"] == report.counts
    assert "hunter2" not in text
    assert "abc123secret" not in text
    assert str(report) == "transient: 3 recovered\npermanent: 1 given up"


def test_each_handling_is_an_event():
    """With what was done and how it ended."""
    events = []
    manager = RecoveryManager({ConnectionError: lambda e, c: 1}, listeners=[events.append])
    manager.handle(ConnectionError())
    assert [(e.name, e.result, e.category) for e in events] == [("recovery.done", RECOVERED, "transient")]


def test_threads_lose_no_count():
    """Eight of them, a hundred failures each."""
    manager = RecoveryManager({ConnectionError: lambda e, c: 1})
    threads = [
        threading.Thread(target=lambda: [manager.handle(ConnectionError()) for _ in range(100)])
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert manager.report().counts == {"transient": {"recovered": 800}}


def test_what_cannot_be_is_refused():
    """A strategy that would never be awaited, and a history of nothing."""

    async def later(error, context):
        pass

    with pytest.raises(UsageError):
        RecoveryManager({OSError: later})
    with pytest.raises(UsageError, match="history"):
        RecoveryManager({}, history=0)


def test_what_an_error_is_judged_to_be_has_a_strategy_too():
    """A class of the taxonomy stands for all errors that the rules call so, its own class being nearer."""
    by = {FileMissing: lambda error, context: "judged", OSError: lambda error, context: "own"}
    assert RecoveryManager(by).handle(FileNotFoundError(2, "no", "a")).value == "own"
    del by[OSError]
    assert RecoveryManager(by).handle(FileNotFoundError(2, "no", "a")).value == "judged"
    assert RecoveryManager(by).handle(PermissionError(13, "no")).result == "given up"


def test_a_strategy_that_raises_the_error_again_leaves_it_as_it_is():
    """It has failed, with the error itself, which does not become its own cause."""

    def again(error, context):
        raise error

    first = ConnectionError("down")
    outcome = RecoveryManager({ConnectionError: again}).handle(first)
    assert (outcome.result, outcome.error) == (FAILED, first)
    assert first.__cause__ is None


def test_a_cause_that_a_strategy_gives_is_kept():
    """What it says of its own trouble is nearer than the error that it was called for."""
    cause = LookupError("nothing there")

    def worse(error, context):
        raise RuntimeError("worse") from cause

    assert RecoveryManager({OSError: worse}).handle(OSError("first")).error.__cause__ is cause


def test_a_history_of_one_has_the_newest_failure():
    """The least that may be asked for; the report as data says which form it has."""
    manager = RecoveryManager({}, history=1)
    for text in ("first", "second"):
        manager.handle(PermissionError(text))
    report = manager.report().to_dict()
    assert report["version"] == 1
    assert [one["error"]["message"] for one in report["entries"]] == ["second"]
