"""Hides secrets in a report. They are recognised by their form, by the name before them, or by their file.

It is strict on purpose: hiding too much costs a reader one more run with everything shown; showing too much
puts a secret on the page of a CI run for good. The runtime has a redactor, too, for the logs of production
programs. The two are separate because a report must not depend on the runtime, which may be under test.
This one hides more, and knows files and command lines where the other knows objects.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from chaoskit.report.secret_forms import (
    ASSIGNED,
    COMMAND_LOGIN,
    FORMS,
    HARMLESS_OPTIONS,
    HARMLESS_VALUES,
    OPTION,
    PAIR,
    PASSWORD_OPTION,
    RANDOM,
    SECRET_FILES,
    SECRET_PARTS,
    SECRET_WORDS,
    SEPARATORS,
    VALUE,
)

REDACTED = "[redacted]"

_LEAST = 6
"""Characters that a value from the environment must have: shorter ones are in every other word."""
_CLASSES = (str.islower, str.isupper, str.isdigit)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return True if a value with this name (variable, key, option, header) has to be hidden."""
    words = [word.lower() for word in SEPARATORS.split(name) if word]
    joined = "".join(words)
    return not SECRET_WORDS.isdisjoint(words) or any(part in joined for part in SECRET_PARTS)


@lru_cache(maxsize=4096)
def is_secret_file(path: str) -> bool:
    """Return True if the name of the file, or of a directory on its path, says that it holds secrets."""
    parts = path.split("/")
    known = any(fnmatchcase(part.lower(), glob) for part in parts for glob in SECRET_FILES)
    return known or any(map(is_secret_name, parts))


def _is_known_secret(name: str, value: str) -> bool:
    # PWD is a directory; SSH_AUTH_SOCK and XAUTHORITY hold paths, too. Such paths are in half of all texts.
    return is_secret_name(name) and len(value) >= _LEAST and not value.startswith(("/", "./", "~"))


@dataclass(frozen=True, slots=True)
class Secrets:
    """Hides secrets in text. ``values`` are texts known to be secret, whatever they look like."""

    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str] | None = None) -> Secrets:
        """The values of all variables whose names say that they are secret; by default, of this process."""
        variables = os.environ if environment is None else environment
        return cls().knowing(value for name, value in variables.items() if _is_known_secret(name, value))

    def knowing(self, values: Iterable[str]) -> Secrets:
        """The same, with further texts that are known to be secret."""
        # The longest first: one may begin with another.
        return Secrets(tuple(sorted({*self.values, *values}, key=lambda value: (-len(value), value))))

    def hide(self, text: str) -> str:
        """``text`` with everything that is or looks secret replaced. Hiding it again changes nothing."""
        for value in self.values:
            text = text.replace(value, REDACTED)
        for needle, form in FORMS:
            # A plain search is cheap, and in most texts it finds nothing.
            if needle in text:
                text = form.sub(_replaced, text)
        text = COMMAND_LOGIN.sub(_replaced, text) if "-" in text else text
        text = PASSWORD_OPTION.sub(_of_option, text) if "-p" in text else text
        text = OPTION.sub(_of_secret_name, text) if "-" in text else text
        text = _assigned(text) if "=" in text or ":" in text else text
        text = PAIR.sub(_of_secret_name, text) if "," in text else text
        return RANDOM.sub(_if_random, text)

    def hide_words(self, words: Sequence[str]) -> tuple[str, ...]:
        """The words of a command line with what is secret replaced; the value after an option counts too."""
        shown: list[str] = []
        before = ""
        for word in words:
            named = before.startswith("-") and "=" not in before and is_secret_name(before)
            login = before in ("-u", "--user", "--proxy-user") and ":" in word
            shown.append(REDACTED if (named or login) and not word.startswith("-") else self.hide(word))
            before = word
        return tuple(shown)


def _replaced(match: re.Match[str]) -> str:
    """Keep the group ``before``, which may be shown, and replace the rest."""
    return (match.groupdict().get("before") or "") + REDACTED


def _assigned(text: str) -> str:
    parts, done = [], 0
    for found in ASSIGNED.finditer(text):
        # Skip a name within a value that was just hidden, and a name whose value is harmless.
        if found.start() < done or not is_secret_name(found["name"]):
            continue
        value = VALUE.match(text, found.end())
        if value is not None and _is_secret(found["name"], value["value"]):
            parts += [text[done : found.end()], REDACTED]
            done = value.end()
    return "".join([*parts, text[done:]])


def _is_secret(name: str, value: str) -> bool:
    """Return True if ``value`` has to be hidden because of the ``name`` before it."""
    value = value.strip("'\"")
    # A type or a constant after a name is program text, and so is token=token, which passes one on.
    if not is_secret_name(name) or value in HARMLESS_VALUES or value in (name, ""):
        return False
    # Already hidden. Compared without the closing bracket, which is not part of the value found.
    return REDACTED[:-1] not in value


def _of_secret_name(match: re.Match[str]) -> str:
    if not _is_secret(match["name"], match["value"]):
        return match[0]
    start, end = match.span("value")
    return match[0][: start - match.start()] + REDACTED + match[0][end - match.start() :]


def _of_option(match: re.Match[str]) -> str:
    """Hide ``-psecret`` as mysql takes it, but not ``-print`` as find does."""
    harmless = HARMLESS_OPTIONS.fullmatch(match["value"]) is not None
    return match[0] if harmless else f"-p{REDACTED}"


def _if_random(match: re.Match[str]) -> str:
    """Hide a long run of letters and digits if it changes between their kinds more often than words do."""
    text = match[0]
    kinds = [next((i for i, is_of in enumerate(_CLASSES) if is_of(char)), -1) for char in text]
    changes = sum(one != other for one, other in itertools.pairwise(kinds))
    random = {0, 1, 2} <= set(kinds) and kinds.count(2) >= 3 and changes >= 0.4 * len(text)
    return REDACTED if random else text
