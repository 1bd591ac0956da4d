"""Time stamps as text."""

from __future__ import annotations

import time


def utc(seconds: float, digits: int = 3) -> str:
    """``seconds`` since the epoch in ISO 8601, cut off after ``digits`` digits of the second.

    In UTC, so that stamps of several machines can be ordered, and sort as text.
    """
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 10**digits):0{digits}d}Z"
