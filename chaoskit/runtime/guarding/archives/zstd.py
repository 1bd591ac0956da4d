"""A decompressor for zstd: Python 3.14 has one, and before that two packages do."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from chaoskit.runtime.failures.taxonomy import ConfigurationError

__all__ = ["zstd_decompressor"]

_WINDOW_LOG = 25
"""The largest window of a frame, as a power of 2: 32 MiB (the tool ``zstd`` accepts 128 MiB)."""
_PIECE = 512
"""Bytes that ``zstandard`` gets at once. Its output cannot be limited, and four bytes can stand for a block
of 128 KiB (RFC 8878, 3.1.1.2), so each piece yields at most 16 MiB."""


def zstd_decompressor() -> Any:
    """A decompressor for one frame, from the first of these modules that can be imported:
    ``compression.zstd``, ``backports.zstd``, ``zstandard``.

    Raises:
        ConfigurationError: none of them can be imported. That says nothing about the archive.
    """
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = import_module(name)
        except ImportError:
            continue
        options = {module.DecompressionParameter.window_log_max: _WINDOW_LOG}
        return module.ZstdDecompressor(options=options)
    try:
        module = import_module("zstandard")
    except ImportError as error:
        raise ConfigurationError(
            "it is compressed with zstd, which this Python cannot read",
            hint="Use Python 3.14, or install backports.zstd.",
        ) from error
    return _Zstandard(module)


class _Zstandard:
    """Gives the package ``zstandard`` the interface of the other two modules."""

    def __init__(self, module: Any) -> None:
        self._made = module.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return bool(self._made.eof)

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return bytes(self._made.unused_data) + self._waiting

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return up to 16 MiB, whatever ``max_length`` says."""
        waiting = self._waiting + data
        self._waiting = waiting[_PIECE:]
        return bytes(self._made.decompress(waiting[:_PIECE]))
