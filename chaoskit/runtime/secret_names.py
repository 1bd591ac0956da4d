"""Which names stand before a secret: of keys, variables, options, headers and elements."""

from __future__ import annotations

import functools
import re

__all__ = ["is_count_name", "is_secret_name", "is_sure_secret_name"]

# Parts of names, compared after dropping case and separators, so that apiKey, API_KEY and api-key are one.
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
    # The same in the languages in which programs are written most.
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
# Too short or too common to be looked for inside other words ("author", "bypass", "tokenizer").
_WORDS = frozenset(
    {
        *("auth", "pass", "pwd", "pw", "token", "tokens", "jwt", "bearer", "otp", "pin", "salt", "dsn"),
        *("creds", "cred", "mdp", "geheim", "psk", "sshpass"),
    }
)
# A secret where the name ends with it: a session, but not the session's length.
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

# Of every script: a name need not be in English.
_SEPARATORS = re.compile(r"[\W_]+|(?<=[^\W\dA-Z])(?=[A-Z])|(?<=[0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """True if a value of this name (key, variable, option, header) is to be hidden."""
    # token2 is a token.
    words = [word.lower().rstrip("0123456789") for word in _SEPARATORS.split(name)]
    words = [word for word in words if word]
    if not _WORDS.isdisjoint(words) or (words and words[-1] in _LAST_WORDS):
        return True
    return is_sure_secret_name(name)


@functools.lru_cache(maxsize=4096)
def is_sure_secret_name(name: str) -> bool:
    """True if the name is one of a secret beyond doubt, so that even what only stands behind it is hidden."""
    joined = _SEPARATORS.sub("", name).lower()
    return any(part in joined for part in _PARTS)


def is_count_name(name: str) -> bool:
    """True if a number under this name is how many there are, or how long it lives, and no secret.

    As in ``max_tokens=512``, ``token_count``, ``password_length``, ``session_timeout``.
    """
    return name.lower().rstrip("\"'\\ ").endswith(_COUNTS)
