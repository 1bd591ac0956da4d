"""How many cases a sweep of the runtime runs: a sample in continuous integration, all on request.

``make scenarios BUDGET=all`` runs every case. A sample sees every call once before it sees one twice, and the
report says how many cases were left out.
"""

from __future__ import annotations

import os


def bounded(cases: int) -> int | None:
    """The budget of one scenario: ``cases``, or None for all of them."""
    return None if os.environ.get("BUDGET") == "all" else cases
