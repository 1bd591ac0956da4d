"""The command ``chaoskit``.

Exit codes, which scripts may rely on: 0 all is well; 1 the answer is no (problems, violations, a gate
that does not pass); 2 wrong use; 3 this machine cannot do it; 4 another error of chaoskit; 129, 130 and
143 ended by SIGHUP, Ctrl-C and SIGTERM.
"""

from __future__ import annotations

from chaoskit.cli.group import main

__all__ = ["main"]
