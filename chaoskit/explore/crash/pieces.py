"""How a write can be split: ranges that a disk may write separately, and where one may be torn."""

from __future__ import annotations

from collections.abc import Iterator

PAGE = 4096
"""Bytes that the page cache writes as a whole; also the block size of the file systems we model."""

SECTOR = 512
"""Bytes that every disk writes as a whole: the smallest sector size."""

_MOST_PIECES = 4


def pieces(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Cut a range at page borders into at most four (offset, length) that a disk may write separately.

    Larger writes are cut after the first page, before the last, and in the middle, so that the number of
    crash states does not grow with their size.
    """
    end = offset + length
    first, last = offset // PAGE, (end - 1) // PAGE
    if last - first < _MOST_PIECES:
        borders = [page * PAGE for page in range(first + 1, last + 1)]
    else:
        borders = [(first + 1) * PAGE, ((first + last + 1) // 2) * PAGE, last * PAGE]
    starts = [offset, *borders]
    yield from ((start, stop - start) for start, stop in zip(starts, [*borders, end], strict=True))


def cuts(offset: int, length: int) -> tuple[int, ...]:
    """Where a torn write of this range may end: the first and last sector and page border inside."""
    end = offset + length
    found: set[int] = set()
    for unit in (SECTOR, PAGE):
        inside = range((offset // unit + 1) * unit, end, unit)
        # One cut near the start and one near the end: cuts in between show nothing more.
        found.update((inside[0], inside[-1]) if inside else ())
    return tuple(sorted(found))


def changed(before: bytes, now: bytes) -> Iterator[tuple[int, int]]:
    """The ranges of whole pages where ``now`` differs from ``before``, cut or extended by zeroes."""
    begin = None
    old, new = memoryview(before), memoryview(now)
    for start in range(0, len(now), PAGE):
        page = new[start : start + PAGE]
        one = old[start : start + len(page)]
        # Past the end of the old content a hole reads as zeroes: a page of zeroes there is no change.
        equal = one == page if len(one) == len(page) else bytes(one).ljust(len(page), b"\0") == page
        if not equal and begin is None:
            begin = start
        elif equal and begin is not None:
            yield begin, start
            begin = None
    if begin is not None:
        yield begin, len(now)
