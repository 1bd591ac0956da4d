"""What is known of one client library: its rules, and where its errors keep their code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.runtime.failures.rules import Rule

__all__ = ["Library", "classes"]


@dataclass(frozen=True, slots=True)
class Library:
    """The rules for the errors of one library, the more specific first.

    ``rules`` are asked before the built-in ones. ``vague`` ones are asked last, when no link of the chain
    said more: they are for classes that only say "connection". ``code_of`` reads the code that the rules
    compare with ``codes``; what the error has as ``code`` is then no HTTP status. ``source`` says what the
    rules were checked against.
    """

    name: str
    source: str
    rules: tuple[Rule, ...]
    vague: tuple[Rule, ...] = ()
    code_of: Callable[[BaseException], object] | None = None


def classes(module: str, *names: str) -> tuple[str, ...]:
    """The classes ``names`` of ``module``, as a rule names them."""
    return tuple(f"{module}.{name}" for name in names)
