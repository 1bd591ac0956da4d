"""What narrows a set of faults: the place of an operation, and the names of faults."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.operation import Frame, Operation
from chaoskit.core.schedule import Fault
from chaoskit.faults.calls import CALLS

_FAULT = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:\[(?P<argument>[^\[\]]*)\])?")


@dataclass(frozen=True, slots=True, repr=False)
class On:
    """Lets operations pass that fit every keyword that was given; each holds alternatives."""

    call: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    site: tuple[str, ...] = ()

    @classmethod
    def checked(cls, call: str | Sequence[str], path: str | Sequence[str], site: str | Sequence[str]) -> On:
        """The narrowing; raises ``UsageError`` for an unknown call, and if nothing was given."""
        narrowing = cls(_alternatives("call", call), _alternatives("path", path), _alternatives("site", site))
        for name in narrowing.call:
            if name not in CALLS:
                raise unknown("call", name, CALLS)
        # It would let everything pass, which looks like a narrowing and is none.
        if narrowing == cls():
            raise UsageError("on() was given nothing; expected at least one of call=, path= and site=.")
        return narrowing

    def __repr__(self) -> str:
        given = {"call": self.call, "path": self.path, "site": self.site}
        parts = (f"{k}={v[0]!r}" if len(v) == 1 else f"{k}={v!r}" for k, v in given.items() if v)
        return f".on({', '.join(parts)})"

    def lets(self, operation: Operation) -> bool:
        """True if ``operation`` is in a place where the faults may strike."""
        return (
            (not self.call or operation.call in self.call)
            and (not self.path or any(_fits_path(p, operation) for p in self.path))
            and (not self.site or any(_fits_site(s, operation.stack) for s in self.site))
        )


@dataclass(frozen=True, slots=True, repr=False)
class Only:
    """Lets faults pass whose name, and argument where one is given, is among those wanted."""

    wanted: tuple[tuple[str, str | None], ...]

    @classmethod
    def checked(cls, names: tuple[str, ...], known: frozenset[str], owner: str) -> Only:
        """The narrowing; raises ``UsageError`` for a name that is not among ``known``, and for none."""
        if not names:
            raise UsageError(f"only() was given nothing; expected names of faults, of {_listed(known)}.")
        wanted = []
        for text in names:
            match = _FAULT.fullmatch(text) if isinstance(text, str) else None
            if match is None:
                raise wrong("fault", text, "a name such as 'ENOSPC', 'ENOSPC[persistent]' or 'kill[torn *]'")
            if match["name"] not in known:
                raise unknown(f"fault of {owner}", match["name"], sorted(known))
            wanted.append((match["name"], match["argument"]))
        return cls(tuple(wanted))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.wanted)

    def __repr__(self) -> str:
        texts = (name if argument is None else f"{name}[{argument}]" for name, argument in self.wanted)
        return f".only({', '.join(map(repr, texts))})"

    def lets(self, fault: Fault) -> bool:
        """True if ``fault`` is one of those wanted."""
        return any(
            fault.name == name
            and (argument is None or _glob(argument, within=".").fullmatch(fault.argument) is not None)
            for name, argument in self.wanted
        )


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a misspelt name: it shows the nearest known one and then all of them."""
    known = list(known)
    # The nearest first: a list of sixty errnos is not read to its end.
    near = max(known, key=lambda candidate: _likeness(name, candidate), default="")
    hint = f"Did you mean {near!r}?" if _likeness(name, near) > 0.5 else ""
    return wrong(what, name, f"one of {_listed(known)}", hint)


def _likeness(one: str, other: str) -> float:
    """From 0 to 1. The letters regardless of order count too: swapped letters are the commonest slip."""
    a, b = one.lower(), other.lower()
    ratios = (difflib.SequenceMatcher(None, *pair).ratio() for pair in ((a, b), (sorted(a), sorted(b))))
    return sum(ratios) / 2


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names if isinstance(names, list) else sorted(names))


def _alternatives(keyword: str, given: str | Sequence[str]) -> tuple[str, ...]:
    values = (given,) if isinstance(given, str) else tuple(given)
    for value in values:
        if not isinstance(value, str) or not value:
            raise wrong(f"{keyword}=", value, "text that is not empty, or several such texts")
    return values


def _fits_path(pattern: str, operation: Operation) -> bool:
    glob = _glob(pattern, within="[^/]")
    names = (n for n in (operation.target, operation.second) if n)
    # Without a slash the last part is compared, as in .gitignore.
    return any(glob.fullmatch(n if "/" in pattern else n.rpartition("/")[2]) for n in names)


def _fits_site(pattern: str, stack: tuple[Frame, ...]) -> bool:
    # From behind: a path of Windows has a colon in front.
    file, colon, line = pattern.rpartition(":")
    if not colon:
        glob = _glob(pattern, within=".")
        return any(glob.fullmatch(f.function) or glob.fullmatch(_bare(f.function)) for f in stack)
    files, lines = _glob(file, within="[^/]"), _glob(line, within=".")
    return any(lines.fullmatch(str(f.line)) and _ends_with(f.file, files, file) for f in stack)


def _bare(function: str) -> str:
    return function.rpartition(".")[2]


def _ends_with(file: str, glob: re.Pattern[str], pattern: str) -> bool:
    """True if the last parts of a file's name fit, as many as the pattern has."""
    # As many parts as the pattern has, since a traceback shows paths from the root.
    parts = file.replace("\\", "/").split("/")
    wanted = pattern.count("/") + 1
    return glob.fullmatch("/".join(parts[-wanted:])) is not None or glob.fullmatch(file) is not None


# Asked for each operation of a trace, while patterns are few.
@lru_cache(maxsize=256)
def _glob(pattern: str, *, within: str) -> re.Pattern[str]:
    """Compile a glob in which ``*`` and ``?`` stand for characters that fit ``within``, ``**`` for any."""
    wild = {"**": ".*", "*": f"{within}*", "?": within}
    tokens = re.findall(r"\*\*|\*|\?|[^*?]+", pattern)
    return re.compile("".join(wild.get(t) or re.escape(t) for t in tokens), re.DOTALL)
