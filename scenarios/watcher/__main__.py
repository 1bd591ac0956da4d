"""The command, configured by variables of its name in capitals; logs go to standard error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from chaoskit.runtime import log_to
from chaoskit.runtime.config import ConfigurationProblems
from scenarios.watcher import program, settings


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: that of the program, or 2 for a configuration that is wrong."""
    parser = argparse.ArgumentParser(prog="watcher", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when all that can be done now is done")
    once = parser.parse_args(words).once
    try:
        configured = settings.live()
    except ConfigurationProblems as problems:
        print(problems, file=sys.stderr)
        return 2
    with log_to():
        return program.main(configured, once=once)


if __name__ == "__main__":
    sys.exit(main())
