"""Known findings: by store, each schedule that shows one, with the models and what comes of it.

Each was looked at: the crash state is one that the model allows, and the replay line shows it.
"""

from __future__ import annotations

KNOWN: dict[str, tuple[str, ...]] = {}
