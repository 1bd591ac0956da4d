"""Tries out what works on this machine; says why something does not, and what would help.

``chaoskit doctor`` prints it. It does not rely on version numbers where it can try: it runs the kernel
backend, and lets every kind of fault strike a small workload in a temporary directory.
"""

from __future__ import annotations

from chaoskit.doctor.diagnosis import Diagnosis, Item, Status
from chaoskit.doctor.examine import examine

__all__ = ["Diagnosis", "Item", "Status", "examine"]
