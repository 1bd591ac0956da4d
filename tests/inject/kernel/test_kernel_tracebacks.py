"""The traceback that a case sends is made by hand; it says what the library's would say."""

from __future__ import annotations

import re
import traceback

import pytest

from chaoskit.inject.kernel.workload import child


class OfOurOwn(Exception):
    pass


def with_notes() -> Exception:
    error = ValueError("first line\nsecond line")
    error.add_note("a note")
    error.add_note("another\nof two lines")
    return error


ERRORS = [
    ValueError("text"),
    ValueError(),
    KeyError("key"),
    OSError(28, "No space left on device", "a/b"),
    AssertionError(),
    OfOurOwn("own", 1),
    KeyboardInterrupt(),
    SyntaxError("bad", ("file.py", 1, 2, "x =")),
    ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
    with_notes(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_brief_traceback_is_the_usual_one_without_source(error: BaseException) -> None:
    """The same frames, error and notes, and not a line of code, which would have to be read from files."""

    def fails() -> None:
        # The errors are shared: what happens to be handled around the test must not become their context.
        raise error from None

    try:
        fails()
    except BaseException as caught:
        usual = "".join(traceback.format_exception(caught, chain=False))
        name = f"{type(caught).__module__}.{type(caught).__qualname__}"
        brief = child._brief(caught, caught.__traceback__, name)
    whole = isinstance(error, SyntaxError | ExceptionGroup)
    assert brief == (usual if whole else _without_source(usual))


def _without_source(text: str) -> str:
    return re.sub(r'(?m)(^  File ".*)\n(?:    .*\n)+', r"\1\n", text)
