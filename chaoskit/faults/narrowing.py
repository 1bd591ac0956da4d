"""Filters that narrow a set of faults: by the place of an operation, and by the names of faults."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.operation import Frame, Operation
from chaoskit.core.schedule import PERSISTENT, Fault
from chaoskit.faults.calls import CALLS
from chaoskit.faults.power import MODELS
from chaoskit.faults.shapes import FORMS

_FAULT = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:\[(?P<argument>[^\[\]]*)\])?")


@dataclass(frozen=True, slots=True, repr=False)
class On:
    """Lets operations pass that fit every keyword given; each keyword lists alternatives."""

    call: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    site: tuple[str, ...] = ()
    host: tuple[str, ...] = ()

    @classmethod
    def checked(
        cls,
        call: str | Sequence[str],
        path: str | Sequence[str],
        site: str | Sequence[str],
        host: str | Sequence[str] = (),
    ) -> On:
        """The narrowing; raises ``UsageError`` for an unknown call, and if nothing was given."""
        given = {"call": call, "path": path, "site": site, "host": host}
        narrowing = cls(**{name: _alternatives(name, value) for name, value in given.items()})
        for name in narrowing.call:
            if name not in CALLS:
                raise unknown("call", name, CALLS)
        # It would let everything pass: it looks like a filter, but filters nothing.
        if narrowing == cls():
            raise UsageError(
                "on() was given nothing; expected at least one of call=, path=, site= and host=."
            )
        return narrowing

    def __repr__(self) -> str:
        given = {"call": self.call, "path": self.path, "site": self.site, "host": self.host}
        parts = (f"{k}={v[0]!r}" if len(v) == 1 else f"{k}={v!r}" for k, v in given.items() if v)
        return f".on({', '.join(parts)})"

    def lets(self, operation: Operation) -> bool:
        """Return True if ``operation`` is in a place where the faults may strike."""
        return (
            (not self.call or operation.call in self.call)
            and (not self.path or any(_fits_path(p, operation) for p in self.path))
            and (not self.site or any(_fits_site(s, operation.stack) for s in self.site))
            and (
                not self.host
                or any(_glob(h, within=".").fullmatch(operation.network.peer) for h in self.host)
            )
        )

    def misses(self, operations: Sequence[Operation]) -> Iterator[str]:
        """A sentence for each path here that no operation has, with the path that was perhaps meant."""
        names = sorted({n for one in operations for n in (one.target, one.second) if n})
        for pattern in self.path:
            if any(_fits_path(pattern, one) for one in operations):
                continue
            deeper = re.sub(r"(?<!\*)\*(?!\*)", "**", pattern)
            glob = _glob(deeper, within="[^/]")
            # Without a slash only the last part is compared, so look for the nearest among last parts.
            known = names if "/" in pattern else sorted({name.rpartition("/")[2] for name in names})
            near = max(known, key=lambda candidate: _likeness(pattern, candidate), default="")
            if deeper != pattern and "/" in pattern and any(glob.fullmatch(name) for name in names):
                hint = f" '*' stops at '/': did you mean {deeper!r}?"
            else:
                hint = f" Did you mean {near!r}?" if _likeness(pattern, near) > 0.5 else ""
            yield f"path={pattern!r} fits no file of this workload.{hint}"


@dataclass(frozen=True, slots=True, repr=False)
class Only:
    """Lets the wanted faults pass, by name, and by argument where one is given."""

    wanted: tuple[tuple[str, str | None], ...]

    @classmethod
    def checked(cls, names: tuple[str, ...], known: frozenset[str], owner: str) -> Only:
        """The narrowing; raises ``UsageError`` for a name that is not among ``known``, and for none."""
        return cls(_named("only", names, known, owner))

    def __repr__(self) -> str:
        return f".only({_written(self.wanted)})"

    def could(self, name: str) -> bool:
        """Return True if some fault of this name passes."""
        return any(name == wanted for wanted, _ in self.wanted)

    def lets(self, fault: Fault) -> bool:
        """Return True if ``fault`` is one of those wanted."""
        return any(_is(fault, name, argument) for name, argument in self.wanted)


@dataclass(frozen=True, slots=True, repr=False)
class Without:
    """Lets all but the unwanted faults pass, by name, and by argument where one is given."""

    unwanted: tuple[tuple[str, str | None], ...]

    @classmethod
    def checked(cls, names: tuple[str, ...], known: frozenset[str], owner: str) -> Without:
        """The narrowing; raises ``UsageError`` for a name that is not among ``known``, and for none."""
        return cls(_named("without", names, known, owner))

    def __repr__(self) -> str:
        return f".without({_written(self.unwanted)})"

    def could(self, name: str) -> bool:
        """Return True if some fault of this name may pass."""
        return (name, None) not in self.unwanted

    def lets(self, fault: Fault) -> bool:
        """Return True unless ``fault`` is one of those unwanted."""
        return not any(_is(fault, name, argument) for name, argument in self.unwanted)


Named = Only | Without

_ONCE = "once"
"""How to write the form that does not last; in a schedule it has no brackets."""


def _named(
    method: str, names: tuple[str, ...], known: frozenset[str], owner: str
) -> tuple[tuple[str, str | None], ...]:
    """Parse names of faults: each a name, and a glob for its argument or None for all forms."""
    if not names:
        raise UsageError(f"{method}() was given nothing; expected names of faults, of {_listed(known)}.")
    found = []
    for text in names:
        match = _FAULT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise _misspelt(text, known, owner)
        name, argument = match["name"], match["argument"]
        if name not in known:
            raise unknown(f"fault of {owner}", name, sorted(known))
        if argument is not None and not fits_form(name, argument):
            raise wrong("fault", text, _forms_of(name), f"In all forms: {name!r}.")
        found.append((name, "" if argument == _ONCE else argument))
    return tuple(found)


def _misspelt(given: object, known: frozenset[str], owner: str) -> UsageError:
    """The error for what cannot be a name, such as the form of a fault without its name: "503"."""
    examples = [form for name in sorted(known) for form in forms_of(name) if "[" in form]
    meant = [form for form in examples if form.partition("[")[2] == f"{given}]"]
    expected = f"one of {_listed(known)}, alone" + "".join(
        f" or with its form, as in {form!r}" for form in examples[-1:]
    )
    return wrong(f"fault of {owner}", given, expected, f"Did you mean {meant[-1]!r}?" if meant else "")


def _forms_of(name: str) -> str:
    if name == "power_loss":
        return f"a persistence model in them, one of {', '.join(MODELS)}: states follow from a recording"
    return f"one of {', '.join(forms_of(name)) or name}"


def _written(several: Iterable[tuple[str, str | None]]) -> str:
    texts = (
        name if argument is None else f"{name}[{argument or _empty(name)}]" for name, argument in several
    )
    return ", ".join(map(repr, texts))


def _empty(name: str) -> str:
    return _ONCE if fits_form(name, _ONCE) else ""


def _is(fault: Fault, name: str, argument: str | None) -> bool:
    if fault.name != name:
        return False
    return argument is None or _glob(argument, within=".").fullmatch(fault.argument) is not None


def fits_form(name: str, argument: str) -> bool:
    """Return True if a fault of this name can have such an argument, in which there may be wildcards."""
    if name == "power_loss":
        # The states are not known before a recording; only the models are checked here.
        return not argument or any(_glob(argument, within=".").fullmatch(model) for model in MODELS)
    rows = [form for form in FORMS if re.fullmatch(form.name, name)]
    lasting = any(re.fullmatch(form.argument, PERSISTENT) for form in rows)
    if argument == _ONCE:
        return lasting
    # With a wildcard it is enough that the fault can have brackets at all.
    if "*" in argument or "?" in argument:
        return any(form.argument for form in rows)
    return not argument or any(re.fullmatch(form.argument, argument) for form in rows)


def forms_of(name: str) -> tuple[str, ...]:
    """Examples of all forms that a fault of this name has."""
    found = []
    for form in FORMS:
        if not re.fullmatch(form.name, name):
            continue
        if re.fullmatch(form.argument, PERSISTENT):
            found += [f"{name}[{_ONCE}]", f"{name}[{PERSISTENT}]"]
        else:
            found += [example for example in form.examples if " such as " not in example] or [name]
    return tuple(found)


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a misspelt name: it shows the nearest known one and then all of them."""
    known = list(known)
    # The nearest first: few read a list of sixty errnos to its end.
    near = max(known, key=lambda candidate: _likeness(name, candidate), default="")
    hint = f"Did you mean {near!r}?" if _likeness(name, near) > 0.5 else ""
    return wrong(what, name, f"one of {_listed(known)}", hint)


def _likeness(one: str, other: str) -> float:
    """From 0 to 1. Letters count regardless of their order, too: swapped letters are the commonest slip."""
    a, b = one.lower(), other.lower()
    ratios = (difflib.SequenceMatcher(None, *pair).ratio() for pair in ((a, b), (sorted(a), sorted(b))))
    return sum(ratios) / 2


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names if isinstance(names, list) else sorted(names))


def _alternatives(keyword: str, given: object) -> tuple[str, ...]:
    # Whatever is not several values is one of them, to be refused by name: a Path, a number.
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    texts: list[str] = []
    for value in cast("Iterable[object]", given) if several else (given,):
        if not isinstance(value, str) or not value:
            raise wrong(f"{keyword}=", value, "text that is not empty, or several such texts")
        texts.append(value)
    return tuple(texts)


def _fits_path(pattern: str, operation: Operation) -> bool:
    glob = _glob(pattern, within="[^/]")
    names = (n for n in (operation.target, operation.second) if n)
    # Without a slash the last part is compared, as in .gitignore.
    return any(glob.fullmatch(n if "/" in pattern else n.rpartition("/")[2]) for n in names)


def _fits_site(pattern: str, stack: tuple[Frame, ...]) -> bool:
    # From the end: a Windows path has a colon near its beginning.
    file, colon, line = pattern.rpartition(":")
    if not colon:
        glob = _glob(pattern, within=".")
        return any(glob.fullmatch(f.function) or glob.fullmatch(f.function.rpartition(".")[2]) for f in stack)
    files, lines = _glob(file, within="[^/]"), _glob(line, within=".")
    return any(lines.fullmatch(str(f.line)) and _ends_with(f.file, files, file) for f in stack)


def _ends_with(file: str, glob: re.Pattern[str], pattern: str) -> bool:
    """Return True if the last parts of a file's name fit, as many as the pattern has."""
    # Only as many parts as the pattern has, since a traceback shows paths from the root.
    parts = file.replace("\\", "/").split("/")
    wanted = pattern.count("/") + 1
    return glob.fullmatch("/".join(parts[-wanted:])) is not None or glob.fullmatch(file) is not None


# Needed for each operation of a trace, while patterns are few.
@lru_cache(maxsize=256)
def _glob(pattern: str, *, within: str) -> re.Pattern[str]:
    """Compile a glob in which ``*`` and ``?`` match characters that fit ``within``, and ``**`` any."""
    wild = {"**": ".*", "*": f"{within}*", "?": within}
    tokens = re.findall(r"\*\*|\*|\?|[^*?]+", pattern)
    return re.compile("".join(wild.get(t) or re.escape(t) for t in tokens), re.DOTALL)
