"""The command, configured by variables of its name in capitals; logs go to standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scenarios import command
from scenarios.optimizer import program, settings


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: that of the program, or 2 for a configuration that is wrong."""
    return command.run("optimizer", lambda: settings.read().value, program.main, words)


if __name__ == "__main__":
    sys.exit(main())
