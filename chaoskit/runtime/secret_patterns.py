"""What secrets look like in text. A separate module, because compiling the patterns takes milliseconds.

``redact`` loads it when the first text is redacted; a program that only imports the runtime does not pay.
"""

from __future__ import annotations

import re

# Every repetition below is bounded or over one character class, so that matching is linear in the text.
# Before each pattern a text without which it cannot match: looking for that first is what makes the
# redaction of an ordinary log line cheap.
LOOKS_SECRET = (
    (
        "-----BEGIN",
        re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"),
    ),
    ("eyJ", re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?")),  # JSON web token, RFC 7519
    ("AKIA", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),  # AWS access key id
    ("ASIA", re.compile(r"\bASIA[0-9A-Z]{16}\b")),
    ("gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}")),  # GitHub
    ("github_pat_", re.compile(r"\bgithub_pat_\w{20,}")),
    ("glpat-", re.compile(r"\bglpat-[\w-]{15,}")),  # GitLab
    ("xox", re.compile(r"\bxox[abeoprs]-[\w-]{8,}")),  # Slack
    ("sk-", re.compile(r"\bsk-[\w-]{16,}")),  # OpenAI
    ("k_", re.compile(r"\b[sr]k_(?:live|test)_\w{10,}")),  # Stripe
    ("AIza", re.compile(r"\bAIza[\w-]{30,}")),  # Google
    # A login in a URL. A password may hold an @: the last one ends it.
    ("://", re.compile(r"(?<=://)[^\s/@:'\"]{0,256}:[^\s/'\"]{1,1000}(?=@)")),
)
SCHEME_WORDS = ("bearer", "basic", "digest", "negotiate")
SCHEME = re.compile(r"\b(bearer|basic|digest|negotiate)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
HEADER_WORDS = ("authorization", "cookie")
# A header's value goes to the end of the line or of the quoted text.
HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie)\s{0,3}:\s{0,3}[^\r\n'\"]{1,4000}", re.IGNORECASE
)
# A name, then = or :, then a value, quoted or bare. The value is no part of the search: what follows a
# harmless name ("ValueError: token=…") may be another name.
ASSIGNED = re.compile(
    r"(?<![\w.-])(?P<name>-{0,2}[A-Za-z_][\w.-]{0,80})\\?['\"]?\s{0,3}(?:=>|[=:](?!//))\s{0,3}"
)
VALUE = re.compile(
    r"b?\\\"[^\"\\]{0,2000}(?:\\\")?"  # within a text that is quoted itself: \"…\"
    r"|b?\"(?:[^\"\\]|\\.){0,2000}\"?|b?'(?:[^'\\]|\\.){0,2000}'?"
    r"|[^\s,;&?)\]}'\"]{1,2000}"
)
LONG_OPTION = re.compile(r"(?P<name>--?[A-Za-z][\w-]{1,60})\s+(?P<value>[^\s-][^\s]{0,2000})")
