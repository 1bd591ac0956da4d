"""A rule: conditions on a failure, and the class of the taxonomy that it gets."""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import asked, synchronous
from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.symptoms import Symptoms

__all__ = ["Proven", "Rule"]


class Proven(str):
    """A pattern that is known to compile, and so is compiled when a text is first searched for it.

    The words of programs are dozens of long patterns, which most processes never need.
    """

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An error that meets all given conditions is a ``verdict``.

    ``types`` are classes, or names like ``"requests.exceptions.ReadTimeout"`` (of the class or of one of its
    bases), so that nothing has to be imported. ``errnos`` are names like ``"ENOSPC"``. ``message`` and
    ``stderr`` are regular expressions, searched without regard to case. A ``*`` at the end of a code in
    ``codes`` matches any rest. ``stages`` are names that the caller gives to its steps. ``names_file``
    distinguishes errors of a call with a path from those of a socket or descriptor. ``when`` is tried last.
    ``why`` tells the reader in a sentence why this verdict is right.

    Raises:
        UsageError: the rule has no condition, or an impossible one.
    """

    name: str
    verdict: type[t.ResilienceError]
    types: tuple[type[BaseException] | str, ...] = ()
    errnos: tuple[str, ...] = ()
    winerrors: tuple[int, ...] = ()
    statuses: tuple[int | range, ...] = ()
    codes: tuple[str, ...] = ()
    exit_codes: tuple[int | range, ...] = ()
    message: str | None = None
    stderr: str | None = None
    stages: tuple[str, ...] = ()
    names_file: bool | None = None
    when: Callable[[Symptoms], bool] | None = None
    why: str = ""
    _tests: tuple[Callable[[Symptoms], bool], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.verdict, type) and issubclass(self.verdict, t.ResilienceError)):
            raise wrong("verdict", self.verdict, "a class of chaoskit.runtime.failures.taxonomy")
        self._check_kinds()
        synchronous("when", self.when)
        # Built once: a failure is compared with up to a hundred rules.
        object.__setattr__(self, "_tests", tuple(self._conditions()))
        # all() of an empty sequence is true: the rule would match every error.
        if not self._tests:
            raise wrong(
                "rule", self.name, "at least one condition", "To set the answer for all else, use unknown=."
            )

    def _check_kinds(self) -> None:
        kinds.text("name", self.name)
        kinds.text("why", self.why)
        for name in ("message", "stderr"):
            kinds.text(name, getattr(self, name), optional=True)
        if self.names_file is not None:
            kinds.switch("names_file", self.names_file)
        for name, classes in _LISTED:
            # Most are empty, and the first failure of a program makes hundreds of rules.
            if (given := getattr(self, name)) != ():
                object.__setattr__(self, name, kinds.listed(name, given, *classes))

    def __reduce__(self) -> tuple[object, ...]:
        given = {name: value for name, value in self.__dict__.items() if name != "_tests"}
        # The tests are closures, which cannot be pickled; they are rebuilt from the other fields.
        return (_rule, (given,))

    def matches(self, symptoms: Symptoms) -> bool:
        """Return True if every condition holds."""
        return all(test(symptoms) for test in self._tests)

    def suits(self, kind: type[BaseException]) -> bool:
        """Return False if no error of this class can match, whatever its evidence."""
        if (self.errnos or self.winerrors or self.names_file is not None) and not issubclass(kind, OSError):
            return False
        return not self.types or _is_one_of(kind, self.types)

    @property
    def looks_at(self) -> frozenset[str]:
        """The names of the given conditions."""
        return frozenset(name for name in _CONDITIONS if getattr(self, name) not in ((), None))

    def _conditions(self) -> list[Callable[[Symptoms], bool]]:
        tests = [
            self.types and _by_type(self.types),
            self.errnos and _by_errno(self.errnos),
            self.winerrors and (lambda e: e.winerror in self.winerrors),
            self.statuses and (lambda e: _among(e.status, self.statuses)),
            self.codes and _by_code(self.codes),
            self.exit_codes and (lambda e: _among(e.exit_code, self.exit_codes)),
            self.message and _by_text("message", self.message),
            self.stderr and _by_text("stderr", self.stderr),
            self.stages and (lambda e: e.stage in self.stages),
            self.names_file is not None and (lambda e: e.names_file is self.names_file),
            self.when and functools.partial(_asked, self.when),
        ]
        return [test for test in tests if test]


def _asked(when: Callable[[Symptoms], bool], symptoms: Symptoms) -> bool:
    # If the user's condition raises, that must not replace the failure to be judged.
    return asked("when", when, symptoms, if_it_raises=False)


def _rule(given: dict[str, object]) -> Rule:
    return Rule(**given)  # type: ignore[arg-type]


def _by_type(types: tuple[type[BaseException] | str, ...]) -> Callable[[Symptoms], bool]:
    classes = tuple(one for one in types if isinstance(one, type))
    # Names allow a rule for a library that is not installed.
    names = frozenset(one for one in types if isinstance(one, str))
    if len(classes) + len(names) != len(types) or not all(issubclass(c, BaseException) for c in classes):
        raise wrong("types", types, "exception classes, or their names as 'module.Class'")
    return lambda e: isinstance(e.error, classes) or not names.isdisjoint(e.type_names)


def _by_errno(names: tuple[str, ...]) -> Callable[[Symptoms], bool]:
    if names == ("*",):
        return lambda e: e.errno is not None
    for name in names:
        if name not in _ERRNO_NAMES:
            raise wrong("errno", name, "a name like 'ENOSPC'", "See the module errno for the names.")
    # A name that this platform lacks cannot match here.
    numbers = frozenset(getattr(errno, name) for name in names if hasattr(errno, name))
    return lambda e: e.errno in numbers


def _by_text(where: str, pattern: str) -> Callable[[Symptoms], bool]:
    # re keeps some hundred compiled patterns, but forgets them when there are more.
    compiled = functools.cache(functools.partial(re.compile, pattern, re.IGNORECASE))
    if not isinstance(pattern, Proven):
        try:
            compiled()
        except re.error as error:
            raise wrong(where, pattern, "a regular expression", f"It does not compile: {error}.") from None
    return lambda e: (
        bool(text) and compiled().search(text) is not None if (text := getattr(e, where)) else False
    )


def _by_code(codes: tuple[str, ...]) -> Callable[[Symptoms], bool]:
    whole = frozenset(code for code in codes if not code.endswith("*"))
    beginnings = tuple(code[:-1] for code in codes if code.endswith("*"))
    return lambda e: e.code in whole or (e.code != "" and e.code.startswith(beginnings))


def _among(number: int | None, numbers: tuple[int | range, ...]) -> bool:
    # Looking for None in a range would iterate over the range.
    if number is None:
        return False
    return any(number in one if isinstance(one, range) else number == one for one in numbers)


def _is_one_of(kind: type[BaseException], types: tuple[type[BaseException] | str, ...]) -> bool:
    names = {f"{one.__module__}.{one.__qualname__}" for one in kind.__mro__}
    return any(one in names if isinstance(one, str) else issubclass(kind, one) for one in types)


_LISTED: tuple[tuple[str, tuple[type, ...]], ...] = (
    *((name, (str,)) for name in ("errnos", "codes", "stages")),
    *((name, (int, range)) for name in ("statuses", "exit_codes")),
    ("winerrors", (int,)),
    ("types", (str, type)),
)
_CONDITIONS = (
    *("types", "errnos", "winerrors", "statuses", "codes", "exit_codes"),
    *("message", "stderr", "stages", "names_file", "when"),
)


# Names of other platforms, which this one may lack: a rule may use them anyway.
_ERRNO_NAMES = frozenset(name for name in dir(errno) if name[0] == "E") | {
    *("EADV", "EBADE", "EBADFD", "EBADR", "EBADRQC", "EBADSLT", "EBFONT", "ECHRNG", "ECOMM", "EDEADLOCK"),
    *(
        "EDOTDOT",
        "EDQUOT",
        "EFTYPE",
        "EHOSTDOWN",
        "EHWPOISON",
        "EISNAM",
        "EKEYEXPIRED",
        "EKEYREJECTED",
        "EKEYREVOKED",
        "EL2HLT",
    ),
    *("EL2NSYNC", "EL3HLT", "EL3RST", "ELIBACC", "ELIBBAD", "ELIBEXEC", "ELIBMAX", "ELIBSCN", "ELNRNG"),
    *("EMEDIUMTYPE", "EMULTIHOP", "ENAVAIL", "ENOANO", "ENOBUFS", "ENOCSI", "ENODATA", "ENOKEY", "ENOLCK"),
    *("ENOLINK", "ENOMEDIUM", "ENONET", "ENOPKG", "ENOSR", "ENOSTR", "ENOTBLK", "ENOTNAM", "ENOTRECOVERABLE"),
    *("ENOTSUP", "ENOTUNIQ", "EOPNOTSUPP", "EOWNERDEAD", "EPFNOSUPPORT", "EREMCHG", "EREMOTE", "EREMOTEIO"),
    *("ERESTART", "ERFKILL", "ESHUTDOWN", "ESOCKTNOSUPPORT", "ESRMNT", "ESTALE", "ESTRPIPE", "ETIME"),
    *("ETOOMANYREFS", "ETXTBSY", "EUCLEAN", "EUNATCH", "EUSERS", "EWOULDBLOCK", "EXFULL"),
}
