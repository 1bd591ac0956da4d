"""What to install where a part of chaoskit needs a library that not everybody has."""

from __future__ import annotations


def missing(error: ModuleNotFoundError, library: str, extra: str, part: str) -> ModuleNotFoundError:
    """The error to raise for ``error``: it names the extra that brings ``library``, which ``part`` needs.

    An error about another module is given back as it is: that one is missing for another reason.
    """
    if error.name != library:
        return error
    text = (
        f"{part} needs {library}, which is not installed here; expected chaoskit with its extra {extra!r}. "
        f"Install it: pip install 'chaoskit[{extra}]'"
    )
    return ModuleNotFoundError(text, name=library)
