"""What the commands of the pipelines have in common: an option, a configuration, logs on standard error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from chaoskit.runtime import log_to
from chaoskit.runtime.config import ConfigurationProblems


def run(
    name: str, configuration: Callable[[], Any], program: Callable[..., int], words: Sequence[str] | None
) -> int:
    """Run ``program(configuration(), once=…)``; the exit status is its own, or 2 for a bad configuration."""
    parser = argparse.ArgumentParser(
        prog=name, description=f"Run {name}, configured by variables of its name in capitals."
    )
    parser.add_argument("--once", action="store_true", help="end when all that can be done now is done")
    once = parser.parse_args(words).once
    try:
        configured = configuration()
    except ConfigurationProblems as problems:
        print(problems, file=sys.stderr)
        return 2
    with log_to():
        return program(configured, once=once)
