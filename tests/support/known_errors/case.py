"""One error with what is expected of it, and how it is built."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """``build`` makes the error; ``category`` is what an operator would say, ``why`` the reason."""

    name: str
    build: Callable[[], Any]
    category: str
    why: str


def found(path: str) -> type[BaseException] | None:
    """The library's own class, or None where the library is not installed."""
    module, _, name = path.rpartition(".")
    while True:
        try:
            with warnings.catch_warnings():
                # What a library uses that is deprecated is its own affair.
                warnings.simplefilter("ignore")
                place: Any = importlib.import_module(module)
        except ImportError:
            # A nested class, such as imaplib.IMAP4.abort, or no library.
            outer, dot, inner = module.rpartition(".")
            if not dot:
                return None
            module, name = outer, f"{inner}.{name}"
            continue
        for part in name.split("."):
            place = getattr(place, part, None)
        return place if isinstance(place, type) else None


def made(path: str, *arguments: Any, base: str = "", **attributes: Any) -> BaseException:
    """An error of the class at ``path``, with ``attributes`` set on it.

    Without the library, a class of that name and place stands in, below ``base`` where that matters.
    """
    kind = found(path)
    if kind is None:
        module, _, name = path.rpartition(".")
        above = (type(made(base)),) if base else (Exception,)
        kind = type(name, above, {"__module__": module})
    try:
        error = kind(*arguments)
    except TypeError:
        # A constructor that wants the library's own objects: the class and what it keeps are enough.
        error = kind.__new__(kind, *arguments)
        error.args = arguments
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def group(
    category: str,
    why: str,
    module: str,
    names: Iterable[str],
    *arguments: Any,
    base: str = "",
    **attributes: Any,
) -> list[Case]:
    """One case for each class of a module that is expected to be the same."""
    return [
        Case(
            f"{module}.{name}",
            lambda name=name: made(f"{module}.{name}", *arguments, base=base, **attributes),  # type: ignore[misc]
            category,
            why,
        )
        for name in names
    ]


def one(category: str, why: str, path: str, *arguments: Any, base: str = "", **attributes: Any) -> Case:
    """One error, with what matters in its arguments or attributes."""
    shown = ", ".join([*map(repr, arguments), *(f"{k}={v!r}" for k, v in attributes.items())])
    return Case(
        f"{path}({shown[:60]})", lambda: made(path, *arguments, base=base, **attributes), category, why
    )


class Answer:
    """An HTTP answer, as far as errors carry it."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.reason, self.url = "", "http://service.test/"


def caused(outer: BaseException, cause: BaseException) -> BaseException:
    """``outer`` as ``raise outer from cause`` leaves it."""
    outer.__cause__ = cause
    return outer
