"""What an error shows, read without importing the library that raised it.

Nothing here raises, whatever the error is like: an attribute that raises counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.failures.allowances import refilled_in

__all__ = ["Symptoms", "asked_to_wait", "leaves", "links", "parse_retry_after", "retry_after"]

# Longer chains are accidents, and a classifier runs when there is enough trouble already.
_LONGEST_CHAIN = 100
# A bound on the work: a group may hold any number of errors.
_MOST_LEAVES = 1000
# A program gives its reason at the end of its output; patterns must not search megabytes.
_TEXT = 10_000

# Strings and not compiled patterns: few errors have headers, and the module re caches what is used.
_DIGITS = r"[+-]?[0-9]{1,12}(\.[0-9]{1,9})?\Z"
_MANY_DIGITS = r"\+?[0-9]{13,}\Z"
_SEVERAL = r"[0-9]{1,12}(?:\.[0-9]{1,9})?(?:\s*,\s*[0-9]{1,12}(?:\.[0-9]{1,9})?){1,20}\Z"
# Seconds for a number of any length: more than any cap, and still a float that can be added to a time.
_HUGE = 1e12


class Symptoms:
    """An error, and what the caller knows about the failed step; either may be missing."""

    def __init__(
        self,
        error: BaseException | None,
        stage: str | None = None,
        given_stderr: str | bytes | None = None,
        given_exit_code: int | None = None,
    ) -> None:
        self.error, self.stage = error, stage
        self.given_stderr, self.given_exit_code = given_stderr, given_exit_code
        # Returns the code of this library's errors; their attribute ``code`` is then not an HTTP status.
        self.code_of: Callable[[BaseException], object] | None = None

    @cached_property
    def message(self) -> str:
        try:
            return str(self.error)[-_TEXT:] if self.error is not None else ""
        except Exception:
            return ""

    @cached_property
    def type_names(self) -> frozenset[str]:
        """The error's class and all its bases, as ``module.Class``."""
        return frozenset(f"{c.__module__}.{c.__qualname__}" for c in type(self.error).__mro__)

    @cached_property
    def errno(self) -> int | None:
        return _integer(_get(self.error, "errno")) if isinstance(self.error, OSError) else None

    @cached_property
    def winerror(self) -> int | None:
        return _integer(_get(self.error, "winerror")) if isinstance(self.error, OSError) else None

    @cached_property
    def names_file(self) -> bool:
        """True if the error is an OSError that names a path."""
        return isinstance(self.error, OSError) and _get(self.error, "filename") is not None

    @cached_property
    def response(self) -> Any:
        return _get(self.error, "response")

    @cached_property
    def status(self) -> int | None:
        """The HTTP status, if the error has one."""
        return _status(None if self.code_of else self.error, self.response)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer, with names in lower case."""
        return _headers(self.error, self.response)

    @cached_property
    def code(self) -> str:
        """The code that the library gives the error, or that an AWS-style answer has; else empty."""
        if self.code_of is not None and self.error is not None:
            return _code(self.code_of, self.error)
        answer = self.response if isinstance(self.response, dict) else {}
        details = answer.get("Error")
        return str(details.get("Code", "")) if isinstance(details, dict) else ""

    @cached_property
    def stderr(self) -> str:
        text = self.given_stderr if self.given_stderr is not None else _get(self.error, "stderr")
        if isinstance(text, bytes | bytearray):
            text = bytes(text[-_TEXT:]).decode("utf-8", "replace")
        return text[-_TEXT:] if isinstance(text, str) else ""

    @cached_property
    def exit_code(self) -> int | None:
        """The exit code; minus the signal's number, or 128 plus it, if a signal killed the process."""
        if self.given_exit_code is not None:
            return self.given_exit_code
        if isinstance(self.error, SystemExit):
            return None
        # subprocess; docker; billiard and multiprocessing.
        codes = (_integer(_get(self.error, name)) for name in ("returncode", "exit_status", "exitcode"))
        return next((code for code in codes if code is not None), None)


def links(error: BaseException) -> Iterator[BaseException]:
    """``error``, then its causes, nearest first, each once, even if they form a cycle."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < _LONGEST_CHAIN:
        seen.add(id(link))
        yield link
        link = _before(link)


def leaves(error: BaseException) -> list[BaseException]:
    """The single errors in a group at any depth, each once; the error itself if it is not a group."""
    found: list[BaseException] = []
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) < _MOST_LEAVES:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(reversed(one.exceptions))
        else:
            found.append(one)
    return found


def retry_after(symptoms: Symptoms, wall: float) -> float | None:
    """Seconds that the other side asked to wait, zero or more; None if it did not, or not clearly."""
    # Our own errors and those of some clients have the number.
    own = _get(symptoms.error, "retry_after")
    if isinstance(own, int | float) and not isinstance(own, bool):
        return max(0.0, float(own)) if own == own else None
    headers = symptoms.headers
    if not headers:
        return None
    # Some services give milliseconds: OpenAI, Azure, Cosmos DB.
    exact = (headers.get("retry-after-ms") or headers.get("x-ms-retry-after-ms", "")).strip()
    if re.match(_DIGITS, exact, re.ASCII):
        return max(0.0, float(exact) / 1000)
    asked = parse_retry_after(headers.get("retry-after"), wall, headers.get("date"))
    if asked is not None or symptoms.status not in (403, 429):
        return asked
    sent = _http_date(headers.get("date", "").strip())
    return refilled_in(headers, wall if sent is None else sent)


def asked_to_wait(error: BaseException, clock: Clock) -> float | None:
    """:func:`retry_after` for a bare error; fast for the many errors that do not ask for a wait."""
    try:
        silent = not (
            hasattr(error, "retry_after") or hasattr(error, "response") or hasattr(error, "headers")
        )
    except Exception:
        return None
    return None if silent else retry_after(Symptoms(error), clock.time())


def parse_retry_after(value: str | None, wall: float, date: str | None = None) -> float | None:
    """Seconds from a ``Retry-After`` header (RFC 9110, 10.2.3), digits or a date; None for anything else.

    A date is compared with the answer's own ``date`` header if there is one, so that a wrong local clock does
    not matter, else with ``wall`` (seconds since the epoch). A date in the past gives zero; a number that is
    absurdly large gives seconds that any cap will limit. If clients have joined several headers with commas,
    the longest wait counts, because it satisfies all of them.
    """
    if value is None:
        return None
    text = value.strip()
    if re.match(_DIGITS, text, re.ASCII):
        return max(0.0, float(text))
    if re.match(_MANY_DIGITS, text, re.ASCII):
        return _HUGE
    if re.match(_SEVERAL, text, re.ASCII):
        return max(float(one) for one in text.split(","))
    then = _http_date(text)
    if then is None:
        return None
    sent = _http_date(date.strip()) if date else None
    return max(0.0, then - (wall if sent is None else sent))


def _http_date(text: str) -> float | None:
    from email.utils import parsedate_tz  # heavy, and hardly ever needed

    try:
        parts = parsedate_tz(text)
        return _epoch(*parts[:6], offset=parts[9] or 0) if parts else None
    except Exception:  # the parser was not written for hostile text
        return None


def _epoch(year: int, month: int, day: int, hour: int, minute: int, second: int, *, offset: int) -> float:
    import datetime

    # datetime has no leap second, which RFC 9110 allows.
    moment = datetime.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=datetime.UTC)
    return moment.timestamp() - offset


def _before(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    # urllib and urllib3 keep the cause in ``reason``, SQLAlchemy in ``orig``.
    for name in ("reason", "orig"):
        inner = _get(error, name)
        if isinstance(inner, BaseException):
            return inner
    # ``raise … from None`` says that the handled error is not the cause.
    return None if error.__suppress_context__ else error.__context__


def _get(thing: object, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _code(code_of: Callable[[BaseException], object], error: BaseException) -> str:
    try:
        found = code_of(error)
        return "" if found is None else str(found)
    except Exception:
        return ""


def _status(error: object, response: object) -> int | None:
    if isinstance(response, dict):
        meta = response.get("ResponseMetadata")
        return _integer(meta.get("HTTPStatusCode")) if isinstance(meta, dict) else None
    # requests and httpx (response.status_code), aiohttp (status), urllib (code), xmlrpc (errcode).
    places = (
        (response, "status_code"),
        (response, "status"),
        (error, "status_code"),
        (error, "status"),
        (error, "code"),
        (error, "errcode"),
    )
    for thing, name in places:
        status = _integer(_get(thing, name))
        if status is not None and 100 <= status <= 599:
            return int(status)
    return None


def _headers(error: object, response: object) -> Mapping[str, str]:
    if isinstance(response, dict):
        meta = response.get("ResponseMetadata")
        found = meta.get("HTTPHeaders") if isinstance(meta, dict) else None
    else:
        found = _get(response, "headers") or _get(error, "headers")
    headers: dict[str, str] = {}
    try:
        for name, value in found.items() if found else ():
            name = str(name).lower()
            # Joined as in RFC 9110, 5.2: urllib3 lists a repeated header twice.
            headers[name] = f"{headers[name]}, {value}" if name in headers else str(value)
    except Exception:
        return {}
    return headers
