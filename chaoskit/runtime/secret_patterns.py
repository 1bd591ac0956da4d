"""The forms of secrets in text. A separate module, because compiling the patterns takes milliseconds.

``redact`` loads it when the first text is redacted, so programs that only import the runtime do not pay.
Sources of the tokens' forms: the providers' documentation, and the list of GitHub's secret scanning.
"""

from __future__ import annotations

import re

# Every repetition below is bounded or over one character class, so that matching is linear in the text.
# Before each pattern stands a text without which it cannot match: looking for that text first makes the
# redaction of an ordinary log line cheap.
_TOKENS = (
    ("eyJ", r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"),  # JSON web token, RFC 7519
    ("AKIA", r"\bAKIA[0-9A-Z]{16}\b"),  # AWS access key id
    ("ASIA", r"\bASIA[0-9A-Z]{16}\b"),
    ("gh", r"\bgh[pousr]_[A-Za-z0-9]{20,}"),  # GitHub
    ("github_pat_", r"\bgithub_pat_\w{20,}"),
    ("gl", r"\bgl(?:pat|ptt|dt|rt|cbt|ft|soat|imt|agent|oas)-[\w-]{15,}"),  # GitLab
    ("xox", r"\bxox[abeoprs]-[\w-]{8,}"),  # Slack
    ("xapp-", r"\bxapp-[\w-]{10,}"),
    ("hooks.slack.com/", r"(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/[\w/-]{8,}"),
    ("/api/webhooks/", r"(?<=/api/webhooks/)\d{5,}/[\w-]{8,}"),  # Discord
    ("sk-", r"\bsk-[\w-]{16,}"),  # OpenAI, Anthropic
    ("k_", r"\b[sr]k_(?:live|test)_\w{10,}"),  # Stripe
    ("whsec_", r"\bwhsec_[\w+/=-]{10,}"),
    ("AIza", r"\bAIza[\w-]{30,}"),  # Google
    ("ya29.", r"\bya29\.[\w-]{20,}"),
    ("GOCSPX-", r"\bGOCSPX-[\w-]{10,}"),
    ("1//0", r"\b1//0[\w-]{20,}"),
    ("npm_", r"\bnpm_[A-Za-z0-9]{20,}"),
    ("pypi-", r"\bpypi-[\w-]{16,}"),
    ("hf_", r"\bhf_[A-Za-z0-9]{20,}"),  # Hugging Face
    ("SG.", r"\bSG\.[\w-]{10,}\.[\w-]{10,}"),  # SendGrid
    ("SK", r"\bSK[0-9a-f]{32}\b"),  # Twilio
    ("_v1_", r"\bdo[oprt]_v1_[0-9a-f]{20,}"),  # DigitalOcean
    ("dapi", r"\bdapi[0-9a-f]{20,}"),  # Databricks
    (":AA", r"(?<!\d)\d{6,12}:AA[\w-]{30,}"),  # Telegram, whose addresses have it as /bot123…
    ("hv", r"\bhv[sbr]\.[\w-]{20,}"),  # Vault
    ("key-", r"\bkey-[0-9a-f]{32}\b"),  # Mailgun
    ("ATATT3", r"\bATATT3[\w=-]{20,}"),  # Atlassian
    ("ATCTT3", r"\bATCTT3[\w=-]{20,}"),
    ("shp", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{16,}"),  # Shopify
    ("lin_", r"\blin_(?:api|oauth)_\w{20,}"),  # Linear
    ("dp.", r"\bdp\.(?:pt|st|sa|ct|scim|audit)\.[\w.-]{20,}"),  # Doppler
    ("AGE-SECRET-KEY-", r"\bAGE-SECRET-KEY-1[0-9A-Z]{20,}"),
    ("8Q~", r"[\w~.-]{3}8Q~[\w~.-]{20,}"),  # Azure AD
    ("dckr_pat_", r"\bdckr_pat_[\w-]{16,}"),  # Docker
    ("gls", r"\bglsa_[\w]{20,}"),  # Grafana
    ("pscale_", r"\bpscale_(?:pw|tkn|oauth)_[\w.-]{16,}"),  # PlanetScale
    ("PMAK-", r"\bPMAK-[0-9a-f-]{20,}"),  # Postman
    ("NRAK-", r"\bNRAK-[A-Z0-9]{20,}"),  # New Relic
    ("sntry", r"\bsntry[su]_[\w=+/-]{20,}"),  # Sentry
    (":thin:", r"(?<=:thin:)[\w$#.]{1,80}/[^\s@]{1,200}(?=@)"),  # Oracle's user/password
    (".atlasv1.", r"\b\w{10,20}\.atlasv1\.[\w-]{20,}"),  # Terraform
    ("r8_", r"\br8_[A-Za-z0-9]{20,}"),  # Replicate
    ("sbp_", r"\bsbp_[0-9a-f]{20,}"),  # Supabase
    ("figd_", r"\bfigd_[\w-]{20,}"),  # Figma
    ("gsk_", r"\bgsk_[A-Za-z0-9]{20,}"),  # Groq
    ("xai-", r"\bxai-[A-Za-z0-9]{20,}"),
    ("nvapi-", r"\bnvapi-[A-Za-z0-9_-]{40,}"),  # NVIDIA
    ("pplx-", r"\bpplx-[A-Za-z0-9]{20,}"),  # Perplexity
    ("lsv2_", r"\blsv2_(?:pt|sk)_\w{20,}"),  # LangSmith
    ("ntn_", r"\bntn_[A-Za-z0-9]{20,}"),  # Notion
    ("secret_", r"\bsecret_[A-Za-z0-9]{40,}"),
    ("nfp_", r"\bnfp_[A-Za-z0-9]{20,}"),  # Netlify
    ("rubygems_", r"\brubygems_[0-9a-f]{20,}"),
    ("tskey-", r"\btskey-[a-z]{2,12}-[\w-]{10,}"),  # Tailscale
    ("HRKU-", r"\bHRKU-[\w-]{20,}"),  # Heroku
    ("fm", r"\bfm[12]_[\w+/=]{20,}"),  # Fly
    ("fo1_", r"\bfo1_[\w-]{20,}"),
    ("pul-", r"\bpul-[0-9a-f]{20,}"),  # Pulumi
    ("glc_", r"\bglc_[\w+/=]{20,}"),  # Grafana Cloud
    ("sq", r"\bsq(?:[aup]_[0-9a-f]{20,}|0(?:atp|csp)-[\w-]{20,})"),  # SonarQube; Square
    ("bkua_", r"\bbkua_[0-9a-f]{20,}"),  # Buildkite
    ("CCIPAT_", r"\bCCIPAT_\w{20,}"),  # CircleCI
    ("ops_", r"\bops_eyJ[\w+/=-]{20,}"),  # 1Password
    ("aio_", r"\baio_[A-Za-z0-9]{20,}"),  # Adafruit
    ("EZ", r"\bEZ[AT]K[A-Za-z0-9]{30,}"),  # EasyPost
    ("duffel_", r"\bduffel_(?:test|live)_[\w-]{20,}"),
    ("access_token$", r"\baccess_token\$\w+\$\w+\$\w{20,}"),  # PayPal
    ("CFPAT-", r"\bCFPAT-[\w-]{20,}"),  # Contentful
    ("AKCp", r"\bAKCp[A-Za-z0-9]{30,}"),  # Artifactory
    ("oy2", r"\boy2[a-z0-9]{40,}"),  # NuGet
    ("SSWS", r"\bSSWS\s{1,3}[\w-]{20,}"),  # Okta
    ("EAA", r"\bEAA[A-Za-z][A-Za-z0-9]{40,}"),  # Facebook
    ("pat", r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{40,}"),  # Airtable
    ("-us", r"\b[0-9a-f]{32}-us[0-9]{1,2}\b"),  # Mailchimp
    ("office.com/webhook", r"(?<=office\.com/webhook)(?:b2)?/[\w@/-]{30,}"),  # Teams
)
_KEY = r"[A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
LOOKS_SECRET = (
    # Up to the end line, whatever headers and escaped line ends lie between; without one, everything else.
    ("-----BEGIN", re.compile(rf"(?s)-----BEGIN {_KEY}(?:.*?-----END {_KEY}|.*)")),
    ("PuTTY-User-Key-File", re.compile(r"(?s)Private-Lines: \d{1,5}.*?Private-MAC: \w{1,80}")),
    *((needle, re.compile(pattern)) for needle, pattern in _TOKENS),
    # A login in a URL. A password may contain an @, a slash or a quote: the last @ ends it. Digits before a
    # slash are a port.
    ("://", re.compile(r"(?<=://)[^\s/@:'\"]{0,256}:(?!\d{1,5}[/?#\s])[^\s\"<>]{1,1000}(?=@)")),
    # A token instead of a login. Names of users are shorter.
    ("://", re.compile(r"(?<=://)[\w.~%-]{20,256}(?=@)")),
)
SCHEME_WORDS = ("bearer", "basic", "digest", "negotiate")
# Encoded credentials contain capitals, digits or signs; "basic training" does not.
SCHEME = re.compile(
    r"\b(bearer|basic|digest|negotiate)\s+(?-i:(?=[a-z.-]{0,200}[A-Z0-9_~+/=]))[\w.~+/=-]{6,}", re.IGNORECASE
)
HEADER_WORDS = ("authorization", "cookie")
# A header's value ends with the line or the quoted string. Some schemes quote their parameters.
_PARAMETER = r"[\w-]{1,80}=(?:\\{0,7}\"[^\"\\\r\n]{0,2000}\\{0,7}\"|[^\s,'\"]{0,2000})"
HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie)\s{0,3}:\s{0,3}"
    rf"(?:(?:digest|oauth|hawk|signature|mac|\w{{1,20}}-hmac)\s{{1,3}}{_PARAMETER}(?:\s{{0,3}},\s{{0,3}}{_PARAMETER})"
    r"{0,30}|[^\r\n'\"]{1,4000})",
    re.IGNORECASE,
)
# A name, then =, := or :, then a value, quoted or bare. The value is not part of the match: the text behind a
# harmless name ("ValueError: token=…") may contain another name. In source code the name may be a key:
# config["password"] = "…".
ASSIGNED = re.compile(
    r"(?<![\w.-])(?P<name>-{0,2}[^\W\d][\w.-]{0,80})\\{0,7}(?:['\"]\]?)?"
    r"(?P<sep>\s{0,3}(?:=>|:=|={1,2}|:(?!//))\s{0,3}|\\{0,7}['\"]\s{0,3},\s{0,3}(?=\\{0,7}['\"]))"
)
VALUE = re.compile(
    r"[bN]?\\{1,7}\"[^\"\\]{0,2000}(?:\\{1,7}\")?"  # within a text that is quoted itself: \"…\"
    r"|[bN]?\"(?:[^\"\\]|\\.){0,2000}\"?|[bN]?'(?:[^'\\]|\\.){0,2000}'?"
    r"|[^\s,;&?)\]}'\"]{1,2000}"
)
# In a list or object of JSON.
BRACKETS = re.compile(r"[\[\]{}]|\"(?:[^\"\\]|\\.){0,2000}\"|'(?:[^'\\]|\\.){0,2000}'")
# A line of a settings file: its value may contain spaces.
SETTING = re.compile(r"[^\r\n,;&)\]}'\"]{1,2000}")
# A block of YAML: the lines below that are indented further than the name.
BLOCK = re.compile(r"[|>][+-]?[0-9]?[ \t]{0,20}\r?\n")
# A word in quotes, as a shell reads it; without an end, everything after it.
_QUOTED = r"'[^']{0,2000}'?|\"[^\"]{0,2000}\"?"
LONG_OPTION = re.compile(
    r"(?<![\w-])(?P<name>--?[A-Za-z][\w-]{1,60})\s+"
    rf"(?P<value>{_QUOTED}|[^\s=:-]\S{{0,2000}})"
)
# In lists of variables, headers and fields the name is itself a value, and its secret is in another field.
# The text between the two is short, and has no other such name.
_NAMES = r"(?:name|key|variable|header|field|option)"
_FIELD = r"\\{0,7}['\"]?\s{0,3}[:=]\s{0,3}"
PAIRED = re.compile(
    rf"\b{_NAMES}{_FIELD}\\{{0,7}}['\"]?(?P<name>[^\W\d][\w.-]{{0,80}})(?![\w.-])"
    rf"(?:(?!\b{_NAMES}\b)[^{{}}\[\]]){{1,200}}?\b(?:value|val|default){_FIELD}"
    r"(?P<value>\\{1,7}\"[^\"\\]{0,2000}|\"(?:[^\"\\]|\\.){0,2000}\"?|'(?:[^'\\]|\\.){0,2000}'?|[^\s,;&?)\]}'\"]{1,2000})",
    re.IGNORECASE,
)
# A setting in two words, name and value: ENV in a Dockerfile, setenv, "aws configure set", CONFIG SET.
GIVEN_WORDS = ("env ", "arg ", "set")
GIVEN = re.compile(
    r"\b(?:env|arg|setenv|set)\s{1,3}(?P<name>(?:[\w:/.-]{1,200}[.:])?[^\W\d]\w{3,80})\s{1,3}"
    rf"(?P<value>{_QUOTED}|(?!for\b)[^\s=,;|&]{{1,2000}})",
    re.IGNORECASE,
)
_INSIDE = r">(?P<value><!\[CDATA\[[^\]]{0,2000}\]\]>|[^<]{1,2000})(?=</)"
ELEMENT = re.compile(rf"<(?P<name>[\w:.-]{{1,80}})(?:\s[^<>]{{0,200}})?{_INSIDE}")
# Android's resources, .NET's settings: an attribute of the element has the name.
NAMED_ELEMENT = re.compile(rf"<\w{{1,40}}\s(?:name|key|id)=[\"'](?P<name>[\w:.-]{{1,80}})[\"']{_INSIDE}")
# Names that are harmless elsewhere, but come before a secret in the query of a URL.
QUERY = re.compile(
    r"(?<=[?&])(?P<name>key|sig|code|session|sid|state|auth|t)=[^&#\s'\"]{6,2000}", re.IGNORECASE
)
# A URL that is the value of another one's parameter: a redirect, as in "next=https%3A%2F%2Fx%3Ftoken%3D…".
QUOTED_QUERY = re.compile(
    r"(?:(?<=%3F)|(?<=%26)|(?<=%23)|(?<![\w.%-]))(?P<name>[A-Za-z0-9_.-]{1,60})%3D"
    r"(?P<value>(?:(?!%26|%23|%3F|%3D)[^\s&#'\"<>]){1,2000})",
    re.IGNORECASE,
)
# In SQL, in prose and in .netrc: a quoted value after the word, or any value after "with password".
SPOKEN_WORDS = ("password", "passwd", "identified", "passphrase", "requirepass", "masterauth")
SPOKEN = re.compile(
    r"\b(?P<lead>(?:identified\s{1,3}(?:with\s{1,3}\S{1,80}\s{1,3})?by|password|passwd|passphrase)\s{1,3}"
    r"(?=['\"])|with\s{1,3}(?:the\s{1,3})?(?:password|passphrase)\s{1,3}(?=[^\s=:])"
    r"|password\s{1,3}for\s{1,3}\S{1,200}\s{0,3}=\s{0,3}(?:password\s{0,3}\()?(?=')|\bpassword\s{0,3}\((?=')"
    r"|(?:requirepass|masterauth)\s{1,3}(?=\S)"
    r"|(?:machine\s{1,9}\S{1,200}|default)\s{1,9}(?:(?:login|account)\s{1,9}\S{1,200}\s{1,9}){1,2}password\s{1,9})"
    rf"(?P<value>{_QUOTED}|[^\s,;]{{1,2000}})",
    re.IGNORECASE,
)
# In unquoted prose, and in the answers of services: only values with letters and digits, which are not words.
# "Incorrect API key provided: …", "invalid token …", "the password is …".
TOLD_WORDS = ("password", "passphrase", "secret", "token", "key")
TOLD = re.compile(
    r"\b(?P<lead>(?:password|passphrase|secret|token|(?:api|access|secret|private)[ _-]key)\s{1,3}"
    r"(?:(?:is|was|provided|given|used|supplied):?\s{1,3})?)(?P<value>[\"']?"
    r"(?=[^\s\"'0-9]{0,200}[0-9])(?=[^\s\"'A-Za-z]{0,200}[A-Za-z])[\w.~+/=!@#$%^&*-]{10,200}[\"']?)",
    re.IGNORECASE,
)
