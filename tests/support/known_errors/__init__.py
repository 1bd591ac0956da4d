"""Errors as programs meet them, with the category that an operator would give them, and why.

The classes are the libraries' own where the library is installed, else classes of the same name and place.
What is expected is written by hand here, from the libraries' documents, never from the classifier's rules.
"""

from __future__ import annotations

from known_errors.case import Case


def cases() -> list[Case]:
    """All of them."""
    from known_errors import brokers, databases, loops, processes, spoken, system, web

    modules = (web, loops, databases, brokers, system, processes, spoken)
    return [case for module in modules for case in module.CASES]
