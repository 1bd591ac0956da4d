"""What secrets look like in text. A module of its own, because compiling it costs milliseconds.

``redact`` loads it when the first text is redacted; a program that imports the runtime does not pay.
"""

from __future__ import annotations

import re

# Every repetition below is bounded or over one character class, so that matching is linear in the text.
LOOKS_SECRET = (
    re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"),
    re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"),  # JSON web token, RFC 7519
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),  # AWS access key id
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}"),  # GitHub
    re.compile(r"\bgithub_pat_\w{20,}"),
    re.compile(r"\bglpat-[\w-]{15,}"),  # GitLab
    re.compile(r"\bxox[abeoprs]-[\w-]{8,}"),  # Slack
    re.compile(r"\bsk-[\w-]{16,}|\b[sr]k_(?:live|test)_\w{10,}"),  # OpenAI, Stripe
    re.compile(r"\bAIza[\w-]{30,}"),  # Google
)
URL_LOGIN = re.compile(r"(?<=://)[^\s/@:'\"]{0,256}:[^\s/@'\"]{1,256}(?=@)")
SCHEME = re.compile(r"\b(bearer|basic|digest|negotiate)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
# A header's value goes to the end of the line or of the quoted text.
HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie)\s{0,3}:\s{0,3}[^\r\n'\"]{1,4000}", re.IGNORECASE
)
# A name, then = or :, then a value, quoted or bare. The value is no part of the search: what follows a
# harmless name ("ValueError: token=…") may be another name.
ASSIGNED = re.compile(
    r"(?<![\w.-])(?P<name>-{0,2}[A-Za-z_][\w.-]{0,80})\\?['\"]?\s{0,3}(?:=>|[=:](?!//))\s{0,3}"
)
VALUE = re.compile(r"b?\\?\"[^\"]{0,2000}\"?|b?\\?'[^']{0,2000}'?|[^\s,;&?)\]}'\"]{1,2000}")
LONG_OPTION = re.compile(r"(?P<name>--?[A-Za-z][\w-]{1,60})\s+(?P<value>[^\s-][^\s]{0,2000})")
