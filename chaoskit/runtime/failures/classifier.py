"""Decides what kind of failure an error is, and names the rule that decided."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from errno import EMFILE, ENFILE, ENOMEM
from itertools import islice
from typing import TYPE_CHECKING, Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.failures.plan import RulesMissing, RulesOfClass, plan_of
from chaoskit.runtime.failures.symptoms import Symptoms, leaves, links, retry_after
from chaoskit.runtime.failures.taxonomy import (
    Category,
    OutOfMemory,
    PermanentError,
    ResilienceError,
    TooManyFiles,
)
from chaoskit.runtime.loading import load_ahead

if TYPE_CHECKING:
    from chaoskit.runtime.failures.rules import Rule

__all__ = ["Classifier", "Decision", "classify"]

# The worst error decides for a group: repeating the call would repeat that one as well.
_SEVERITY = (
    Category.SECURITY,
    Category.DATA_INTEGRITY,
    Category.CONFIGURATION,
    Category.PERMANENT,
    Category.VALIDATION,
    Category.RECOVERABLE,
    Category.RESOURCE,
    Category.TRANSIENT,
)

# Errors that may keep the rules from being loaded, and that can be judged without them.
_SCARCE: dict[int | None, type[ResilienceError]] = {
    EMFILE: TooManyFiles,
    ENFILE: TooManyFiles,
    ENOMEM: OutOfMemory,
}

_Groups = dict[int, "Decision | None"]
# Kept instead of a decision: no rule for this class matches.
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Decision:
    """``verdict`` is a class of the taxonomy, and ``rule`` the name of the rule that decided.

    ``error_type`` names the class of the error, or of the cause, that the rule matched. ``retry_after`` is
    the wait that the other side asked for, in seconds, without a cap.
    """

    verdict: type[ResilienceError]
    rule: str
    error_type: str
    retry_after: float | None = None

    @property
    def category(self) -> Category:
        return self.verdict.category

    @property
    def retryable(self) -> bool:
        """True if the same call may succeed when it is made again later."""
        return self.category.retryable


class Classifier:
    """Ordered rules, the user's before the built-in ones; the first rule that matches decides.

    A rule is tried on the error, then on each of its causes, the nearest first. An error of the taxonomy
    decides for itself, unless a user's rule matches. The worst member of a group decides for the group.
    ``unknown`` is the verdict if no rule matches; by default such an error is not retried
    (``unknown=TransientError`` changes that).


    Instances are immutable and may be shared. Raises ``UsageError`` for anything but rules, and for an
    ``unknown`` that is not a class of the taxonomy.
    """

    __slots__ = ("rules", "unknown")

    def __init__(
        self, rules: Iterable[Rule] = (), *, unknown: type[ResilienceError] = PermanentError
    ) -> None:
        if not isinstance(rules, Iterable):
            raise wrong("rules", rules, "chaoskit.runtime.Rules in a list")
        self.rules = tuple(rules)
        if self.rules:
            # Imported late, as are the rules themselves: only a failure needs them.
            from chaoskit.runtime.failures.rules import Rule

            load_ahead("chaoskit.runtime.failures.built_in")
            for rule in self.rules:
                if not isinstance(rule, Rule):
                    raise wrong("rule", rule, "a chaoskit.runtime.Rule")
        if not (isinstance(unknown, type) and issubclass(unknown, ResilienceError)):
            raise wrong("unknown", unknown, "a class of errors of chaoskit.runtime")
        self.unknown = unknown

    def __repr__(self) -> str:
        names = ", ".join(rule.name for rule in self.rules)
        return f"<Classifier rules=[{names}] unknown={self.unknown.__name__}>"

    def with_rules(self, *rules: Rule) -> Classifier:
        """A new classifier that tries ``rules`` before its own."""
        return Classifier((*rules, *self.rules), unknown=self.unknown)

    def classify(
        self,
        error: BaseException | None = None,
        *,
        stage: str | None = None,
        stderr: str | bytes | None = None,
        exit_code: int | None = None,
    ) -> Decision:
        """Decide by the error, by what a process left behind, or by both.

        Never raises because of the error's form, but lets errors of a user's ``when`` through. The first call
        loads the rules. If that fails because no descriptor or memory is left, an error that reports just
        this is still judged correctly, and any other counts as unknown.
        """
        if error is not None and stage is None and stderr is None and exit_code is None and not self.rules:
            known = self._at_once(error)
            if known is not None:
                return known
        given = Symptoms(None, stage, stderr, exit_code)
        try:
            return self._judge(given, error, {}) or self._undecided(error)
        except RulesMissing:
            return self._without_rules(error)

    def wrap(self, error: BaseException, message: str | None = None, **known: Any) -> ResilienceError:
        """Return ``error`` as an error of the taxonomy, caused by ``error``; itself if it already is one.

        ``known`` is passed on: ``stage``, ``operation``, ``context`` and so on. The error is returned; the
        caller raises it.
        """
        if isinstance(error, ResilienceError):
            return error
        decision = self.classify(error, stage=known.get("stage"))
        wrapped = decision.verdict(Symptoms(error).message if message is None else message, **known)
        for name in ("errno", "filename", "retry_after"):
            if hasattr(wrapped, name):
                source = decision if name == "retry_after" else error
                setattr(wrapped, name, getattr(source, name, None))
        wrapped.context.setdefault("rule", decision.rule)
        # Set here, as ``raise … from`` would, so that the caller need not write that.
        wrapped.__cause__ = error
        return wrapped

    def _at_once(self, error: BaseException) -> Decision | None:
        """The decision if class, errno and file name settle it; None if more has to be examined."""
        try:
            plan = plan_of(type(error))
            if not plan.simple:
                return None
            key = plan.key(error)
            if key in plan.kept:
                found = plan.kept[key]
            else:
                found = _by_plan(plan, Symptoms(error)) or _NOTHING
                plan.keep(key, found)
        except Exception:
            # An attribute of the error raises; the slow way treats it as absent.
            return None
        if found is not _NOTHING:
            decision: Decision = found
            return decision
        alone = error.__cause__ is None and error.__context__ is None
        return self._undecided(error) if alone and not plan.vague else None

    def _judge(self, given: Symptoms, error: BaseException | None, groups: _Groups) -> Decision | None:
        links: Iterable[Symptoms] = [given] if error is None else _linked(given, error)
        if self.rules:
            links = list(links)
            found = next((one for link in links if (one := _first(self.rules, link))), None)
            if found is not None:
                return found
        seen = []
        for link in links:
            found = self._built_in(link, groups)
            if found is not None:
                return found
            seen.append(link)
        # Tried last: a vague rule must not match the outer error before an exact rule matches its cause.
        return next((one for link in seen if (one := _first(_plan(link).vague, link))), None)

    def _built_in(self, symptoms: Symptoms, groups: _Groups) -> Decision | None:
        error = symptoms.error
        if isinstance(error, BaseExceptionGroup) and error.exceptions:
            return self._group(symptoms, error, groups)
        if isinstance(error, ResilienceError):
            return _decided(type(error), "taxonomy", symptoms)
        return _by_plan(_plan(symptoms), symptoms)

    def _group(self, symptoms: Symptoms, group: BaseException, groups: _Groups) -> Decision | None:
        """Decide by the worst member. Each group is judged once, even if it is reached in several ways."""
        if id(group) not in groups:
            groups[id(group)] = None  # until it is known: a cycle may lead back here
            given = Symptoms(None, symptoms.stage)
            found = [self._judge(given, one, groups) or self._undecided(one) for one in leaves(group)]
            groups[id(group)] = min(found, key=lambda one: _SEVERITY.index(one.category), default=None)
        return groups[id(group)]

    def _undecided(self, error: BaseException | None) -> Decision:
        return Decision(self._unknown(error), "unknown", _name(error))

    def _without_rules(self, error: BaseException | None) -> Decision:
        number = error.errno if isinstance(error, OSError) else None
        verdict = _SCARCE.get(ENOMEM if isinstance(error, MemoryError) else number)
        return self._undecided(error) if verdict is None else Decision(verdict, "scarce", _name(error))

    def _unknown(self, error: BaseException | None) -> type[ResilienceError]:
        # Not an Exception: a request to stop the program, which ``unknown`` must not make retryable.
        return self.unknown if error is None or isinstance(error, Exception) else PermanentError


DEFAULT = Classifier()


def classify(
    error: BaseException | None = None,
    *,
    stage: str | None = None,
    stderr: str | bytes | None = None,
    exit_code: int | None = None,
) -> Decision:
    """Decide by the built-in rules alone; see :meth:`Classifier.classify`. Unknown errors are permanent."""
    return DEFAULT.classify(error, stage=stage, stderr=stderr, exit_code=exit_code)


def _linked(given: Symptoms, error: BaseException) -> Iterator[Symptoms]:
    # The caller's evidence belongs to the outermost error only.
    yield Symptoms(error, given.stage, given.given_stderr, given.given_exit_code)
    for link in islice(links(error), 1, None):
        yield Symptoms(link, given.stage)


def _plan(symptoms: Symptoms) -> RulesOfClass:
    # Without an error there is only a process, which the rules for any Exception cover.
    return plan_of(Exception if symptoms.error is None else type(symptoms.error))


def _by_plan(plan: RulesOfClass, symptoms: Symptoms) -> Decision | None:
    symptoms.code_of = plan.code_of
    for needs, rules in plan.blocks:
        # Most errors show only their class, so hundreds of conditions need not be tried.
        if needs and getattr(symptoms, needs) in (None, ""):
            continue
        found = _first(rules, symptoms)
        if found is not None:
            return found
    return None


def _first(rules: tuple[Rule, ...], symptoms: Symptoms) -> Decision | None:
    for rule in rules:
        if rule.matches(symptoms):
            return _decided(rule.verdict, rule.name, symptoms)
    return None


def _decided(verdict: type[ResilienceError], rule: str, symptoms: Symptoms) -> Decision:
    # The wall clock matters only for a date in a header if the answer itself had no Date.
    return Decision(verdict, rule, _name(symptoms.error), retry_after(symptoms, time.time()))


def _name(error: BaseException | None) -> str:
    return "" if error is None else type(error).__qualname__
