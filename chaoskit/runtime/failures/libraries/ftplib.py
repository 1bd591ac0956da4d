"""The errors of ftplib, by the server's reply codes."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]


_PERM = classes("ftplib", "error_perm")

LIBRARY = Library(
    name="ftplib",
    source="RFC 959, 4.2: 4yz may be tried again, 5yz may not",
    code_of=lambda error: str(error)[:3],
    rules=(
        Rule(
            name="ftp.stopping",
            verdict=t.Unreachable,
            types=classes("ftplib", "error_temp"),
            codes=("421", "425"),
            why="the server closes, or the data connection cannot be opened",
        ),
        Rule(
            name="ftp.storage",
            verdict=t.ResourceError,
            types=classes("ftplib", "error_temp"),
            codes=("452",),
            why="the server is short of storage",
        ),
        Rule(
            name="ftp.later",
            verdict=t.TransientError,
            types=classes("ftplib", "error_temp"),
            why="4yz: may be tried again",
        ),
        Rule(
            name="ftp.credentials",
            verdict=t.ConfigurationError,
            types=_PERM,
            codes=("530", "532"),
            why="user or password is wrong",
        ),
        Rule(
            name="ftp.quota", verdict=t.QuotaExceeded, types=_PERM, codes=("552",), why="the quota is used up"
        ),
        Rule(
            name="ftp.name",
            verdict=t.ValidationError,
            types=_PERM,
            codes=("553",),
            why="this name is refused",
        ),
        Rule(
            name="ftp.denied",
            verdict=t.PermissionRefused,
            types=_PERM,
            codes=("550",),
            message=r"permission|denied|not allowed",
            why="the user lacks permission",
        ),
        Rule(
            name="ftp.missing",
            verdict=t.FileMissing,
            types=_PERM,
            codes=("550",),
            why="the file does not exist, or is not available",
        ),
        Rule(
            name="ftp.other",
            verdict=t.PermanentError,
            types=classes("ftplib", "Error"),
            why="5yz, or not an answer of this protocol",
        ),
    ),
)
