"""What is published about other retries is true: each reproduction runs, the page has them all."""

from __future__ import annotations

import importlib.util
import inspect
import textwrap
from collections.abc import Callable

import pytest

from scenarios.peers.retry_reproductions import reproductions
from scenarios.peers.retry_table import PAGE

CASES = [
    pytest.param(library, program, id=f"{library}-{row}")
    for (library, row), program in reproductions().items()
]


@pytest.mark.parametrize(("library", "program"), CASES)
@pytest.mark.filterwarnings("ignore")
def test_the_reproduction_shows_it(library: str, program: Callable[[], None]) -> None:
    """The few lines that are published show what is said of them, with the installed version."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install --group peers")
    program()


def test_the_page_has_every_reproduction_as_it_is() -> None:
    """Page and programs do not drift apart, and a row said to fail has its program."""
    page = PAGE.read_text("utf-8")
    for (library, row), program in reproductions().items():
        assert f"### {library}, {row}\n" in page
        assert textwrap.dedent(inspect.getsource(program)).rstrip() in page
    assert page.count("**fails**") == len(reproductions())
