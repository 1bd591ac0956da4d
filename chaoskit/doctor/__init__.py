"""What works on this machine and what does not, found out by trying, with reasons and what would help.

``chaoskit doctor`` prints it. Nothing is taken from version numbers alone where it can be tried: the kernel
backend is run, and every kind of fault is made to strike a small workload in a temporary directory.
"""

from __future__ import annotations

from chaoskit.doctor.diagnosis import Diagnosis, Item, Status
from chaoskit.doctor.examine import examine

__all__ = ["Diagnosis", "Item", "Status", "examine"]
