"""Reads the rate limit headers of HTTP: is the allowance used up, and when is it filled up again?

Sources: draft-ietf-httpapi-ratelimit-headers, in its older form (three numbers, each in a field or a member)
and in its newer form (``RateLimit: "default";r=0;t=25`` with ``RateLimit-Policy: "default";q=100;w=60``); the
documentation of GitHub, Discord, OpenAI, Anthropic and X.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

__all__ = ["is_used_up", "refilled_in"]

_DIGITS = r"[+-]?[0-9]{1,13}(\.[0-9]{1,9})?\Z"
_RESET = (
    r"(?:x-|[a-z]{1,20}-)?rate-?limit(?:-requests|-tokens|-input-tokens|-output-tokens)?"
    r"-reset(?:-after|-requests|-tokens)?\Z"
)
_MOMENT = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d)"
_PART = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)"
_DURATION = rf"(?:{_PART}){{1,5}}"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_STARTS = ("ratelimit", "x-ratelimit", "x-rate-limit")

# A member of a structured list: a string or token with parameters, or a token with a value.
_MEMBER = (
    r'\s*("[^"]{0,200}"|[\w.*/:-]{1,200})(?:=([0-9]{1,12}))?'
    r"((?:\s*;\s*[\w*-]{1,50}(?:=[^;,]{1,200})?){0,20})\s*(?:,|\Z)"
)
_NUMBER = r";\s*{}=([0-9]{{1,12}})(?=\s*(?:;|\Z))"
# The rest of a longer header holds nothing that a client could act on.
_LONGEST = 4000


def refilled_in(headers: Mapping[str, str], wall: float) -> float | None:
    """Seconds until the allowance is certainly filled up again; None if no header says.

    ``wall`` is the time of the answer in seconds since the epoch, for headers that name a moment.
    """
    found = [*_from_structure(headers)]
    for name, value in headers.items():
        if not re.match(_RESET, name):
            continue
        text = value.strip()
        if re.match(_DIGITS, text, re.ASCII):
            number = float(text)
            if number > 1e11:
                number /= 1000  # a date in milliseconds: in seconds it would be three thousand years away
            # So many seconds, more than thirty years, are a date and not a duration.
            found.append(max(0.0, number - wall) if number > 1e9 else max(0.0, number))
        elif re.fullmatch(_DURATION, text):
            found.append(sum(float(n) * _UNITS[unit] for n, unit in re.findall(_PART, text)))
        elif re.fullmatch(_MOMENT, text, re.ASCII):
            found.extend(_left_until(text, wall))
    return max(found, default=None)


def _left_until(moment: str, wall: float) -> Iterator[float]:
    """The seconds until ``moment`` (RFC 3339); nothing if there is none such, as the 31st of February."""
    try:
        yield max(0.0, datetime.fromisoformat(moment.upper()).timestamp() - wall)
    except ValueError:
        return


def is_used_up(headers: Mapping[str, str]) -> bool:
    """Return True if a header says that nothing is left of an allowance."""
    if any(headers.get(f"{start}-remaining") == "0" for start in _STARTS):
        return True
    limits = [(name, value, said.get("r")) for name, value, said in _members(headers, "ratelimit")]
    return any(left == 0 or (name == "remaining" and value == 0) for name, value, left in limits)


def _from_structure(headers: Mapping[str, str]) -> Iterator[float]:
    windows = {name: said["w"] for name, _, said in _members(headers, "ratelimit-policy") if "w" in said}
    limits = list(_members(headers, "ratelimit"))
    # If there are several limits, those with something left did not cause this answer.
    used_up = [one for one in limits if one[2].get("r") == 0]
    for name, value, said in used_up or limits:
        if "t" in said:
            yield said["t"]
        elif name == "reset" and value is not None:
            yield value
        elif said.get("r") == 0 and name in windows:
            # No time is given, but no allowance takes longer than its window to fill up.
            yield windows[name]


def _members(headers: Mapping[str, str], header: str) -> Iterator[tuple[str, float | None, dict[str, float]]]:
    """Name, value and parameters of each member of a structured list; only numbers are kept."""
    text, at = headers.get(header, "")[:_LONGEST], 0
    while at < len(text) and (found := re.compile(_MEMBER, re.ASCII).match(text, at)):
        at = found.end()
        name, value, parameters = found.groups()
        said = {key: re.search(_NUMBER.format(key), parameters, re.ASCII) for key in ("r", "t", "w")}
        numbers = {key: float(one[1]) for key, one in said.items() if one}
        yield name.strip('"'), None if value is None else float(value), numbers
