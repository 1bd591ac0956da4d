"""chaoskit: find out, in plain pytest, whether a program survives the faults of the real world.

Importing this package is cheap: the harness is loaded when one of its names is first used, and
``chaoskit.runtime`` never loads any of it.
"""

from __future__ import annotations

__version__ = "0.1.0"
