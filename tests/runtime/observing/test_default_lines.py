"""What a program finds in its log that has set up nothing: what was given up, and what replaced it."""

from __future__ import annotations

import logging

import pytest

from chaoskit.runtime import (
    Candidate,
    CircuitBreaker,
    Constant,
    EventLog,
    FallbackChain,
    Recovery,
    RecoveryStep,
    VirtualClock,
    retry,
)


def fail() -> None:
    raise ConnectionError("password=hunter2 refused")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and text of what was logged, and forget it."""
    found = [(record.levelname, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return found


def test_a_retry_that_gives_up_leaves_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A warning with policy, function, attempts and reason, without secrets; none for what succeeds."""
    policy = retry(on=ConnectionError, wait=Constant(0.0), name="archive")
    with caplog.at_level(logging.DEBUG, "chaoskit"):
        with pytest.raises(ConnectionError):
            policy(fail)()
        [(level, said)] = lines(caplog)
        assert level == "WARNING"
        for part in ("retry.exhausted", "policy=archive", "function=fail", "attempts=3", "reason=attempts"):
            assert part in said
        assert "hunter2" not in said
        policy(len)("value")
        # An error that is not retried is the caller's to see, and no news.
        with pytest.raises(ZeroDivisionError):
            policy(lambda: 1 // 0)()
        assert lines(caplog) == []


def test_a_breaker_says_when_it_opens_and_when_it_is_well(caplog: pytest.LogCaptureFixture) -> None:
    """A warning, and later information; not a line for each rejected call."""
    clock = VirtualClock()
    breaker = CircuitBreaker(failures=1, open_for=10.0, name="archive", clock=clock)
    with caplog.at_level(logging.DEBUG, "chaoskit"):
        for _ in range(3):
            with pytest.raises(Exception, match=r"refused|open"):
                breaker.call(fail)
        clock.advance(10.0)
        breaker.call(int)
        said = lines(caplog)
    assert [level for level, _ in said] == ["WARNING", "INFO", "INFO"]
    assert "breaker=archive before=closed after=open reason=too many failures in a row" in said[0][1]


def test_a_fallback_and_a_recovery_say_what_they_took(caplog: pytest.LogCaptureFixture) -> None:
    """The value does not show that it is a substitute; the log does."""
    with caplog.at_level(logging.DEBUG, "chaoskit"):
        FallbackChain(Candidate("cache", lambda: 1), name="prices")(fail)()
        Recovery(by={}, then=RecoveryStep.SKIP, policy=retry(on=OSError, attempts=1), name="items").call(fail)
        said = lines(caplog)
    assert [level for level, _ in said] == ["WARNING", "WARNING"]
    assert "fallback.chosen chain=prices candidate=cache" in said[0][1]
    assert "recovery.applied recovery=items step=skip category=transient" in said[1][1]
    assert "hunter2" not in said[1][1]


def test_an_event_log_takes_the_place_of_these_lines(caplog: pytest.LogCaptureFixture) -> None:
    """With one subscribed, each event is logged once, at its level."""
    with caplog.at_level(logging.DEBUG, "chaoskit"), EventLog().subscribe():
        with pytest.raises(ConnectionError):
            retry(on=ConnectionError, attempts=2, wait=Constant(0.0))(fail)()
        assert lines(caplog) == [("INFO", "retry.scheduled"), ("WARNING", "retry.exhausted")]


def test_a_log_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that raises ends no call; the caller sees the call's own error."""

    class Full(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    handler = Full()
    logger = logging.getLogger("chaoskit")
    logger.addHandler(handler)
    try:
        with pytest.raises(ConnectionError):
            retry(on=ConnectionError, wait=Constant(0.0))(fail)()
    finally:
        logger.removeHandler(handler)
