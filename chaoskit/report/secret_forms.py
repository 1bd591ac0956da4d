"""The forms of secrets, as data: patterns of tokens, names of values, names of files.

Every repetition is bounded or over one class of characters, so that matching takes time linear in the text.
"""

from __future__ import annotations

import re

SEPARATORS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where a name is split into words, so that apiKey, API_KEY and api-key are the same name."""

SECRET_PARTS = (
    "password", "passwd", "passphrase", "passcode", "secret", "credential", "apikey", "accesskey",
    "accountkey", "privatekey", "encryptionkey", "signingkey", "masterkey", "deploykey", "authorization",
    "cookie", "sessionid", "connectionstring", "authtoken", "accesstoken", "refreshtoken", "sharedaccess",
)  # fmt: skip
"""Parts that make a name secret wherever they stand in it; case and separators do not matter."""

SECRET_WORDS = frozenset(
    {"auth", "pass", "pwd", "pw", "token", "tokens", "jwt", "bearer", "otp", "pin", "salt", "dsn", "sas"}
)
"""Words that make a name secret; within others ("author", "bypass", "tokenizer") they mean something else."""

HARMLESS_VALUES = frozenset(
    {"str", "bytes", "int", "bool", "float", "dict", "list", "None", "True", "False", "null", "true", "false"}
)
"""Values that reveal nothing after a secret name: types and constants in the text of a program."""

SECRET_FILES = (
    ".env", ".env.*", "*.env", ".netrc", "_netrc", ".pgpass", "pgpass.conf", ".my.cnf", ".mylogin.cnf",
    ".npmrc", ".pypirc", ".yarnrc*", ".git-credentials", ".gitconfig", ".htpasswd", "htpasswd", "shadow",
    "gshadow", "id_rsa", "id_dsa", "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks",
    "*.keystore", "*.kdbx", "*.ppk", "*.gpg", "*.asc", "*.ovpn", "*.tfvars", "*.tfstate", "kubeconfig",
    ".dockercfg", ".dockerconfigjson", "wp-config.php", "service-account*.json", "service_account*.json",
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", "vault*.yml", "vault*.yaml",
)  # fmt: skip
"""Files and directories that hold secrets by convention, in lower case. So do names with a secret word."""

_KEY = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"

FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    # A key, to its end or to the quote that ends the text. An encrypted one has lines with colons and dashes.
    (
        "PRIVATE KEY",
        re.compile(
            rf"-----BEGIN {_KEY}(?:(?!-----END)[A-Za-z0-9+/=\s\\:,.\-#*^?|_])*(?:-----END {_KEY})?",
        ),
    ),
    ("AGE-SECRET-KEY-", re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{20,}")),
    ("eyJ", re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?")),  # JSON web token, RFC 7519
    ("A", re.compile(r"\bA(?:KIA|SIA|BIA|CCA)[0-9A-Z]{16}\b")),  # AWS
    ("gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}")),  # GitHub
    ("github_pat_", re.compile(r"\bgithub_pat_\w{20,}")),
    ("gl", re.compile(r"\bgl[a-z]{2,5}-[\w-]{15,}")),  # GitLab
    ("xox", re.compile(r"\bxox[a-z]-[\w-]{8,}")),  # Slack
    ("xapp-", re.compile(r"\bxapp-[\w-]{8,}")),
    ("hooks.slack", re.compile(r"(?P<before>hooks\.slack\.com/services/)[\w/-]{10,}")),
    ("sk-", re.compile(r"\bsk-[\w-]{16,}")),  # OpenAI, Anthropic
    ("k_", re.compile(r"\b[srw]h?k_(?:live|test)_\w{10,}")),  # Stripe
    ("whsec_", re.compile(r"\bwhsec_[\w+/=]{10,}")),
    ("AIza", re.compile(r"\bAIza[\w-]{30,}")),  # Google
    ("ya29.", re.compile(r"\bya29\.[\w-]{10,}")),
    ("npm_", re.compile(r"\bnpm_[A-Za-z0-9]{20,}")),
    ("pypi-", re.compile(r"\bpypi-[\w-]{16,}")),
    ("hf_", re.compile(r"\bhf_[A-Za-z0-9]{16,}")),  # Hugging Face
    ("SG.", re.compile(r"\bSG\.[\w-]{10,}\.[\w-]{10,}")),  # SendGrid
    ("dop_v1_", re.compile(r"\bdop_v1_[0-9a-f]{20,}")),  # DigitalOcean
    ("shp", re.compile(r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{20,}")),  # Shopify
    ("hv", re.compile(r"\bhv[sbr]\.[\w-]{20,}")),  # HashiCorp Vault
    ("dapi", re.compile(r"\bdapi[0-9a-f]{32}")),  # Databricks
    (":AA", re.compile(r"\b\d{8,10}:AA[\w-]{30,}")),  # Telegram
    ("$", re.compile(r"\$(?:2[abxy]|5|6|7|y|argon2id?|argon2i)\$[\w./$=,+-]{12,}")),  # crypt(5)
    # A login in a URL. The password may hold a slash or an @: only the last @ ends it.
    ("://", re.compile(r"(?<=://)[^\s/@:'\"]{0,256}:[^\s'\"]{1,1000}(?=@)")),
    ("earer", re.compile(r"(?P<before>\b[Bb]earer\s{1,3})[\w.~+/=-]{6,}")),
    ("EARER", re.compile(r"(?P<before>\bBEARER\s{1,3})[\w.~+/=-]{6,}")),
    ("asic ", re.compile(r"(?P<before>\b[Bb]asic\s{1,3})[A-Za-z0-9+/]{8,}={0,2}(?![\w.])")),
    ("ookie", re.compile(r"(?P<before>\b(?:[Ss]et-)?[Cc]ookie['\"]?\s?[:,]\s?b?['\"]?)[^\r\n'\"]{3,4000}")),
    # netrc(5).
    (
        "password ",
        re.compile(r"(?P<before>\b(?:login|account)\s+\S{1,200}\s+password\s{1,3})[^\s'\"\\]{1,200}"),
    ),
)
"""Tokens with a known form. Before each, a text that occurs in every match, and is quicker to look for."""

_QUOTED = r"\\?\"(?:[^\"\\]|\\[^\"]){0,2000}(?:\\?\")?|\\?'(?:[^'\\]|\\[^']){0,2000}(?:\\?')?"

ASSIGNED = re.compile(
    # A name, with what ends it in a dictionary or a subscript; then = or :, but no == and no URL.
    r"(?<![\w.-])(?P<name>-{0,2}[A-Za-z_][\w.-]{0,80})(?:\\?['\"])?\]?\s{0,3}(?:=>|:=|[=:](?![=/]))\s{0,3}"
)
"""A name before its value, as in programs, configuration files, JSON, queries and headers. The match ends
before the value: what follows a harmless name ("ValueError: token=…") may be another name."""

VALUE = re.compile(
    rf"(?P<value>[rbuf]{{0,2}}(?:{_QUOTED})|(?:(?:basic|bearer|digest)\s)?[^\s,;&?)\]}}'\"]{{1,2000}})",
    re.IGNORECASE,
)

PAIR = re.compile(
    rf"(['\"])(?P<name>[A-Za-z_][\w.-]{{0,80}})\1\s{{0,3}},\s{{0,3}}(?P<value>[rbuf]{{0,2}}(?:{_QUOTED}))"
)
"""A name and a value side by side, as in lists of headers or items."""

OPTION = re.compile(
    r"(?<![\w-])(?P<name>--?[A-Za-z][\w-]{1,60})['\"]?,?\s+['\"]?(?P<value>[^\s'\"-][^\s'\"]{0,2000})"
)
"""An option and the word after it."""

COMMAND_LOGIN = re.compile(
    r"(?P<before>(?<![\w-])(?:-u|--user|--proxy-user)['\"]?[,=\s]\s{0,3}['\"]?[^\s:'\"]{1,200}:)[^\s'\"]{1,1000}"
)
"""``-u name:password``, as of curl."""

PASSWORD_OPTION = re.compile(r"(?<![\w-])-p(?P<value>[^\s'\"=,\[-][^\s'\",]{2,200})")
"""``-psecret``, as of mysql: an option and its value in one word."""

HARMLESS_OPTIONS = re.compile(
    r"no:\S+|\d{1,5}(?::\d{1,5})?(?:/tcp|/udp)?|[./~]\S*|rint\w*|arallel\w*|ath\w*|erm\w*|rune|rofile\S*"
    r"|edantic\S*|thread|ipe|ie|ytest\S*|lugin\S*|xdist\S*|refix\S*|orts?|roject\S*|ackage\S*|latform\S*"
)
"""What may follow ``-p`` in well-known programs without being a password."""

RANDOM = re.compile(r"(?<![\w+])[A-Za-z0-9_+-]{32,}={0,2}")
"""A run that may have been drawn at random. Hexadecimal digests stay visible: readers compare them."""
