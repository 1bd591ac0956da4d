"""The record for one client library: its rules, and where its errors keep their code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.runtime.failures.rules import Rule

__all__ = ["Library", "classes"]


@dataclass(frozen=True, slots=True)
class Library:
    """The rules for the errors of one library, the specific ones first.

    ``rules`` are tried before the built-in ones. ``vague`` rules are tried last, if nothing else in the chain
    of causes matched: they are for classes that say no more than "connection". ``code_of`` returns the code
    that the rules compare with ``codes``; the error's attribute ``code`` is then not an HTTP status.
    ``source`` names the references for the rules.
    """

    name: str
    source: str
    rules: tuple[Rule, ...]
    vague: tuple[Rule, ...] = ()
    code_of: Callable[[BaseException], object] | None = None


def classes(module: str, *names: str) -> tuple[str, ...]:
    """The qualified names of ``names`` in ``module``, as rules have them."""
    return tuple(f"{module}.{name}" for name in names)
