"""The problems of a configuration, all in one error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaoskit.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its place (file:line, variable), the option's path, and what is allowed."""

    where: str
    path: str
    what: str
    allowed: str = ""

    def __str__(self) -> str:
        allowed = f"; {self.allowed}" if self.allowed else ""
        return f"{self.where}: {self.path or '(top)'}: {self.what}{allowed}"

    def to_dict(self) -> dict[str, str]:
        """The four parts, as text."""
        return {"where": self.where, "path": self.path, "what": self.what, "allowed": self.allowed}


class ConfigurationProblems(UsageError):
    """All problems of a configuration, in the order of its options; ``problems`` is a tuple."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem in the configuration" if count == 1 else f"{count} problems in the configuration"
        super().__init__("\n  ".join([f"{head}:", *map(str, self.problems)]))
