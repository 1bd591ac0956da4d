"""A base class for objects that are closed when their ``with`` block is left, however that happens."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["ClosedOnExit"]


class ClosedOnExit:
    """The base of classes whose ``with`` block only has to close them. A subclass defines ``close``.

    An error of the block is passed on; if ``close`` raises too, its error replaces that one and has it as its
    context.
    """

    __slots__ = ()

    def close(self) -> object:
        """Release everything. Calling it again does nothing."""
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
