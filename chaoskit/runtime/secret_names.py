"""The names under which secrets are kept: of keys, variables, options, headers and elements."""

from __future__ import annotations

import functools
import re

__all__ = ["is_count_name", "is_secret_name", "is_sure_secret_name"]

# Parts of names, compared without case and separators, so that apiKey, API_KEY and api-key are the same.
_PARTS = (
    *(
        "password",
        "passwd",
        "passphrase",
        "passcode",
        "secret",
        "credential",
        "apikey",
        "accesskey",
        "privatekey",
    ),
    *(
        "encryptionkey",
        "signingkey",
        "masterkey",
        "hmackey",
        "accountkey",
        "sharedkey",
        "licensekey",
        "licencekey",
    ),
    *(
        "subscriptionkey",
        "requirepass",
        "masterauth",
        "sshkey",
        "authkey",
        "storagekey",
        "clientkeydata",
        "deploykey",
        "serviceaccountkey",
        "webhookurl",
    ),
    *("authorization", "cookie", "sessionid", "sessionkey", "signature", "sharedaccess", "connectionstring"),
    "clientassertion",
    *("authtoken", "accesstoken", "refreshtoken", "userpass", "bindpw", "rootpw", "dbpass"),
    # The same in other languages in which many programs name their settings.
    *(
        "passwort",
        "kennwort",
        "motdepasse",
        "contraseña",
        "contrasena",
        "senha",
        "parola",
        "wachtwoord",
        "haslo",
    ),
    *("hasło", "salasana", "lösenord", "losenord", "пароль", "密码", "密碼", "パスワード", "비밀번호"),
)
# Too short or too common to look for inside other words ("author", "bypass", "tokenizer").
_WORDS = frozenset(
    {
        *("auth", "pass", "pwd", "pw", "token", "tokens", "jwt", "bearer", "otp", "pin", "salt", "dsn"),
        *("creds", "cred", "mdp", "geheim", "psk", "sshpass"),
    }
)
# A secret if the name ends with it: a session, but not the session's length.
_LAST_WORDS = frozenset({"session", "sid", "community"})

_COUNTS = (
    "tokens",
    "count",
    "length",
    "len",
    "size",
    "limit",
    "timeout",
    "ttl",
    "age",
    "lifetime",
    "attempts",
)

# Where words end, in any script: a name need not be English.
_SEPARATORS = re.compile(r"[\W_]+|(?<=[^\W\dA-Z])(?=[A-Z])|(?<=[0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return True if a value with this name (key, variable, option, header) must be hidden."""
    # token2 is also a token.
    words = [word.lower().rstrip("0123456789") for word in _SEPARATORS.split(name)]
    words = [word for word in words if word]
    if not _WORDS.isdisjoint(words) or (words and words[-1] in _LAST_WORDS):
        return True
    return is_sure_secret_name(name)


@functools.lru_cache(maxsize=4096)
def is_sure_secret_name(name: str) -> bool:
    """Return True if the name is certainly that of a secret, so that any value behind it is hidden."""
    joined = _SEPARATORS.sub("", name).lower()
    return any(part in joined for part in _PARTS)


def is_count_name(name: str) -> bool:
    """Return True if a number under this name is a count or a lifetime, and not a secret.

    Examples: ``max_tokens=512``, ``token_count``, ``password_length``, ``session_timeout``.
    """
    return name.lower().rstrip("\"'\\ ").endswith(_COUNTS)
