"""Selects the rules that can match the errors of a class, once for each class.

A failure is often repeated thousands of times, and its class alone determines nearly all of its
classification. So rules for other classes are left out in advance, and if only class, errno and file name can
matter, the decision itself is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from chaoskit.runtime.failures.base import ResilienceError
from chaoskit.runtime.log import WARNING, log

if TYPE_CHECKING:
    from chaoskit.runtime.failures.library import Library
    from chaoskit.runtime.failures.rules import Rule

__all__ = ["RulesMissing", "RulesOfClass", "plan_of"]

Key: TypeAlias = tuple[int | None, int | None, bool] | None

# Conditions that give one answer for all errors of one class and one errno.
_OF_THE_CLASS = frozenset({"types", "errnos", "winerrors", "names_file"})
# Conditions that need one of the attributes in _EVIDENCE.
_BY_EVIDENCE = frozenset({"statuses", "codes", "exit_codes", "stderr"})
_EVIDENCE = frozenset(
    {
        *("response", "status_code", "status", "code", "errcode", "headers", "retry_after"),
        *("returncode", "exit_status", "exitcode", "stderr"),
        # Attributes that hold a cause, unknown to Python.
        *("reason", "orig"),
    }
)
_NEEDED = {
    "statuses": "status",
    "codes": "code",
    "exit_codes": "exit_code",
    "stderr": "stderr",
    "errnos": "errno",
    "winerrors": "winerror",
}
# Limits memory: some libraries, such as OpenSSL, put arbitrary numbers into ``errno``.
_MOST_KEPT = 200


class RulesOfClass(NamedTuple):
    """The rules for the errors of one class, in order, and where its library keeps a code.

    ``blocks`` are the same rules, with neighbours that need one kind of evidence grouped under its name:
    without that evidence the whole group is skipped. ``vague`` rules apply if no link of the chain matched.
    ``simple`` is true if class, errno and file name alone decide about an error without evidence; ``kept``
    holds those decisions.
    """

    rules: tuple[Rule, ...]
    blocks: tuple[tuple[str, tuple[Rule, ...]], ...]
    vague: tuple[Rule, ...]
    code_of: Callable[[BaseException], object] | None
    simple: bool
    has_errno: bool
    kept: dict[Key, Any]

    def key(self, error: BaseException) -> Key:
        """The key under which a decision on ``error`` may be kept.

        Raises:
            LookupError: it shows evidence, so another error of its class may be judged differently.
        """
        if not _EVIDENCE.isdisjoint(error.__dict__):
            raise LookupError
        if not self.has_errno:
            return None
        number, of_windows = error.errno, getattr(error, "winerror", None)  # type: ignore[attr-defined]
        if not (number is None or type(number) is int) or not (of_windows is None or type(of_windows) is int):
            raise LookupError
        return number, of_windows, error.filename is not None  # type: ignore[attr-defined]

    def keep(self, key: Key, decision: object) -> None:
        """Keep a decision, unless too many are kept already."""
        if len(self.kept) < _MOST_KEPT:
            self.kept[key] = decision


# Weak, so that classes made at run time can be collected.
_PLANS: WeakKeyDictionary[type[BaseException], RulesOfClass] = WeakKeyDictionary()


class RulesMissing(Exception):
    """The built-in rules cannot be loaded, most likely because no memory or descriptor is left."""


def plan_of(kind: type[BaseException]) -> RulesOfClass:
    """The plan for errors of class ``kind``, made when the class is first seen.

    Raises:
        RulesMissing: the built-in rules cannot be loaded.
    """
    plan = _PLANS.get(kind)
    if plan is not None:
        return plan
    try:
        from chaoskit.runtime.failures.index import libraries_of

        libraries = libraries_of(kind)
    except Exception as failure:
        # The error to be judged may be about just that lack of descriptors or memory, and the caller has to
        # see it. The plan is not kept, so that the next error is judged with the library's rules if they can
        # be loaded.
        log(WARNING, "%s is judged without the rules of its library: %r", kind.__qualname__, failure)
        return _made(kind, ())
    _PLANS[kind] = plan = _made(kind, libraries)
    return plan


def _made(kind: type[BaseException], libraries: tuple[Library, ...]) -> RulesOfClass:
    # Properties or __getattr__ may give an error evidence that its __dict__ does not show.
    evidence = {*_EVIDENCE, "__getattr__"}
    of_libraries = (rule for library in libraries for rule in library.rules)
    try:
        from chaoskit.runtime.failures.built_in import BUILT_IN, INTERRUPTS
    except Exception as failure:
        log(WARNING, "the rules of the classifier cannot be loaded: %r", failure)
        raise RulesMissing from failure
    rules = _reachable(kind, (*INTERRUPTS, *of_libraries, *BUILT_IN))
    code_of = next((library.code_of for library in libraries if library.code_of), None)
    return RulesOfClass(
        rules=rules,
        blocks=tuple((needs, tuple(run)) for needs, run in groupby(rules, key=_needs)),
        vague=_reachable(kind, (rule for library in libraries for rule in library.vague)),
        code_of=code_of,
        # Errors of the taxonomy decide for themselves, groups by their members.
        simple=not issubclass(kind, ResilienceError | BaseExceptionGroup)
        and all(_follows(rule, code_of is not None) for rule in rules)
        and evidence.isdisjoint(dir(kind)),
        has_errno=issubclass(kind, OSError),
        kept={},
    )


def _reachable(kind: type[BaseException], rules: Iterable[Rule]) -> tuple[Rule, ...]:
    reachable = []
    for rule in rules:
        if rule.suits(kind):
            reachable.append(rule)
            # This rule matches every error of the class, so none behind it is ever tried.
            if rule.looks_at == {"types"}:
                break
    return tuple(reachable)


def _needs(rule: Rule) -> str:
    """The attribute of the symptoms that the rule cannot match without; empty if there is none."""
    looks_at = rule.looks_at
    return next((needed for condition, needed in _NEEDED.items() if condition in looks_at), "")


def _follows(rule: Rule, has_code: bool) -> bool:
    """Return True if the rule gives one answer for all errors of a class that show no evidence."""
    looks_at = rule.looks_at
    if looks_at <= _OF_THE_CLASS:
        return True
    return not looks_at.isdisjoint(_BY_EVIDENCE) and not (has_code and "codes" in looks_at)
