"""Secrets stay out of logs, error files and configuration listings: by a value's name, and by its look."""

from __future__ import annotations

import re

REDACTED = "[redacted]"

# Parts of names, compared after dropping case and separators, so that apiKey, API_KEY and api-key are one.
_SECRET_PARTS = (
    "password", "passwd", "passphrase", "secret", "credential", "apikey", "accesskey", "privatekey",
    "authorization", "cookie", "sessionid", "signature", "connectionstring", "dsn",
)  # fmt: skip
# Too short or too common to be looked for inside other words ("author", "bypass", "tokenizer").
_SECRET_WORDS = frozenset(
    {"auth", "pass", "pwd", "pw", "token", "tokens", "jwt", "bearer", "otp", "pin", "salt"}
)

_SEPARATORS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def is_secret_name(name: str) -> bool:
    """Whether a value of this name (key, variable, option, header) is to be hidden."""
    words = [w.lower() for w in _SEPARATORS.split(name) if w]
    if any(w in _SECRET_WORDS for w in words):
        return True
    joined = "".join(words)
    return any(part in joined for part in _SECRET_PARTS)
