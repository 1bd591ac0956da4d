"""The error for a missing optional library: it says which extra installs it."""

from __future__ import annotations


def missing(error: ModuleNotFoundError, library: str, extra: str, part: str) -> ModuleNotFoundError:
    """The error to raise for ``error``: it names the extra that installs ``library``, which ``part`` needs.

    An error about another module is returned unchanged: that module is missing for another reason.
    """
    if error.name != library:
        return error
    text = (
        f"{part} needs {library}, which is not installed here; expected chaoskit with its extra {extra!r}. "
        f"Install it: pip install 'chaoskit[{extra}]'"
    )
    return ModuleNotFoundError(text, name=library)
