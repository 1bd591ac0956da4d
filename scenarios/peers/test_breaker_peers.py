"""What is published about other breakers is true: each reproduction runs, the page has them all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scenarios.peers import published
from scenarios.peers.breaker_reproductions import reproductions
from scenarios.peers.breaker_table import PAGE


# aiobreaker uses a deprecated function of datetime, which says so on every call.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("library", "program"), published.cases(reproductions()))
def test_the_reproduction_shows_it(library: str, program: Callable[[], None]) -> None:
    """The few lines that are published show what is said of them, with the installed version."""
    published.show(library, program)


def test_the_page_has_every_reproduction_as_it_is() -> None:
    """Page and programs do not drift apart, and a row said to fail has its program."""
    published.check(PAGE, reproductions())
