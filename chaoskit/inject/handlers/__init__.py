"""Which ``except``, ``finally`` and ``with`` of the project an exception reached while a workload ran."""

from __future__ import annotations

from chaoskit.inject.handlers.marks import CALLED, RAN, UNTOLD, Marks
from chaoskit.inject.handlers.sites import HandlerKind, Handlers, HandlerSite, scan
from chaoskit.inject.handlers.watching import HandlerWatch, cheap

__all__ = [
    "CALLED",
    "RAN",
    "UNTOLD",
    "HandlerKind",
    "HandlerSite",
    "Handlers",
    "Marks",
    "HandlerWatch",
    "cheap",
    "scan",
]
