"""What is closed when its ``with`` block is left, however that happens."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["ClosedOnExit"]


class ClosedOnExit:
    """The base of what a ``with`` block only has to close. A subclass says in ``close`` how.

    An error of the block goes on; one of ``close`` takes its place, with that of the block as its context.
    """

    __slots__ = ()

    def close(self) -> object:
        """Give back what is held. Twice does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
