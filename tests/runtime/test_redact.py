"""Secrets do not get out, and nothing that is shown can hurt whoever shows it."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from array import array
from collections import UserDict, deque, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.runtime.redact import DEFAULT, REDACTED, RedactionLimits, Redactor, is_secret_name, redact_text

SECRET = "hunter2XyZ99"


@pytest.mark.parametrize(
    "name",
    ["password", "DB_PASSWORD", "apiKey", "api-key", "API_KEY", "Authorization", "authToken", "token",
     "X-Auth-Token", "secret_key", "AWS_SECRET_ACCESS_KEY", "aws_access_key_id", "userPwd", "Set-Cookie",
     "private_key", "client_secret", "connectionString", "dsn", "jwt", "refresh_token",
     "tokens", "token2", "pass1", "creds", "passcode", "authkey", "userpass", "bindpw", "ssh_key",
     "master_key",
     "hmac_key", "AccountKey", "client-key-data", "license_key", "session", "user_session", "sid",
     "community", "webhook_url", "Passwort", "contraseña", "mot_de_passe", "пароль", "密码", "senhaDoBanco"],
)  # fmt: skip
def test_secret_names_are_known(name: str) -> None:
    """Usual names of secrets are recognised in every spelling."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "author",
        "bypass",
        "tokenizer",
        "compass",
        "key",
        "keys",
        "sample",
        "passed",
        "spin",
        "path",
        "session_timeout",
        "community_size",
        "monkey",
        "signal",
        "sidecar",
        "discount",
    ],
)
def test_innocent_names_are_left_alone(name: str) -> None:
    """Words that merely contain such a word are not hidden."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f"password: {SECRET}",
        f"passwd: 'it\\'s {SECRET}'",
        f'password="a \\" {SECRET}", x=1',
        f"ValueError: token={SECRET}",
        f"a=b: password={SECRET}",
        f'{{"password": "{SECRET} with blanks"}}',
        f"{{'api_key': '{SECRET}', 'n': 1}}",
        f"Config(name='x', secret='{SECRET}')",
        f"postgres://user:{SECRET}@host/db",
        f"Authorization: Bearer {SECRET}",
        f"Authorization: Basic {SECRET}, more",
        f"Cookie: a=1; session={SECRET}",
        f"bearer {SECRET}",
        f"Authorization:{SECRET}",
        f"bearer\n{SECRET}",
        f"tool\n--token\t{SECRET}",
        f"postgres://user:p@{SECRET}@host/db",
        f"mysql --password {SECRET} -h host",
        f"mysql --password={SECRET}",
        f"http://host/path?access_token={SECRET}&b=1",
        f"http://host/path?a=1&token={SECRET}",
        f"export AWS_SECRET_ACCESS_KEY={SECRET}",
        f'"{{\\"password\\": \\"{SECRET}\\"}}"',
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{SECRET}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"ghp_{SECRET}{SECRET}",
        # PEM with headers, escaped line ends, or cut
        f"-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES,AB\n\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"{{'key': '-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n-----END PRIVATE KEY-----'}}",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}",
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n{SECRET}\n-----END PGP PRIVATE KEY BLOCK-----",
        # assignments
        f"password := {SECRET}",
        f"password == {SECRET}",
        f"password = correct {SECRET}",
        f"db:\n  password: correct {SECRET}\n  host: a",
        f"key: 1\npassword: |\n  line\n  {SECRET}\nhost: a",
        f'\\\\\\"password\\\\\\": \\\\\\"{SECRET}\\\\\\"',
        f"('password', '{SECRET}')",
        f"dict_items([('db_password', '{SECRET}')])",
        f"<password>{SECRET}</password>",
        f'<ns:apiKey type="x">{SECRET}</ns:apiKey>',
        f"Passwort: {SECRET}",
        f"contraseña={SECRET}",
        f"tokens={SECRET}",
        # SQL and prose
        f"CREATE USER a IDENTIFIED BY '{SECRET}'",
        f"ALTER USER a IDENTIFIED WITH caching_sha2_password BY '{SECRET}'",
        f"ALTER ROLE a WITH PASSWORD '{SECRET}'",
        f"login failed with password {SECRET}",
        # URLs
        f"postgres://u:pa/{SECRET}@h/db",
        f"postgres://u:it's{SECRET}@h/db",
        f"https://{SECRET}{SECRET}@github.com/x",
        f"https://h/x?key={SECRET}&b=1",
        f"https://a.blob.core.windows.net/c?sv=1&sig={SECRET}",
        f"https://h/callback?code={SECRET}",
        f"AccountName=a;AccountKey={SECRET};EndpointSuffix=x",
        # command lines
        f"mysql -h h -u root -p{SECRET} db",
        f"sshpass -p {SECRET} ssh h",
        f"docker login -u a -p {SECRET} h",
        f"curl -u admin:{SECRET} http://h/",
        f"curl --user admin:{SECRET} http://h/",
        f"redis-cli -a {SECRET} ping",
        f"7z x -p{SECRET} a.7z",
        f"smbclient //h/s -U user%{SECRET}",
        f"openssl rsa -passin pass:{SECRET}",
        f"curl -uadmin:{SECRET} http://h/",
        f"curl -su admin:{SECRET} http://h/",
        f"curl --user=admin:{SECRET} http://h/",
        f"http -a bob:{SECRET} GET h",
        f"lftp -u bob,{SECRET} h",
        f"keytool -list -storepass {SECRET}",
        f"ssh-keygen -f key -N {SECRET}",
        f"unzip -P{SECRET} a.zip",
        f"restic --password-command 'echo {SECRET}' backup",
        # a name and its value as two words, or as two fields
        f"ENV DB_PASSWORD {SECRET}",
        f"aws configure set aws_secret_access_key {SECRET}",
        f"CONFIG SET requirepass {SECRET}",
        f'{{"name": "DB_PASSWORD", "value": "{SECRET}"}}',
        f'{{"Name": "DB_PASSWORD", "Type": "SecureString", "Value": "{SECRET}"}}',
        f"- name: DB_PASSWORD\n  value: {SECRET}",
        f"config['password'] = '{SECRET}'",
        f'os.environ["DB_PASSWORD"]="{SECRET}"',
        f"machine h\n  login bob\n  password {SECRET}",
        # headers whose parameters are quoted
        f'Authorization: Hawk id="dh37", ts="1353832234", mac="{SECRET}"',
        f'Authorization: Digest username="bob", response="{SECRET}"',
        f'curl -H "Authorization: OAuth oauth_version=\\"1.0\\", oauth_signature=\\"{SECRET}\\"" h',
        f"Ocp-Apim-Subscription-Key: {SECRET}",
        f"jdbc:oracle:thin:scott/{SECRET}@//h:1521/x",
        # lists and objects under one name
        f'{{"password": ["a", "{SECRET}"]}}',
        f'{{"password": {{"kind": "}}", "value": "{SECRET}"}}}}',
        f"tokens:\n  - abc\n  - {SECRET}\nhost: a",
        f"secrets:\n- abc\n- {SECRET}\nhost: a",
        f"secrets:\n  a: abc\n  b: {SECRET}\nhost: a",
        f"refresh-token = {SECRET}",
        f"psk={SECRET}",
        f"client_assertion={SECRET}",
        f"SSHPASS={SECRET} sshpass -e ssh h",
        f'<string name="api_key">{SECRET}</string>',
        f"<password><![CDATA[{SECRET}]]></password>",
        # SQL and prose again
        f"SET PASSWORD FOR bob = '{SECRET}'",
        f"SET PASSWORD FOR 'bob'@'%' = PASSWORD('{SECRET}')",
        f"CREATE LOGIN bob WITH PASSWORD = N'{SECRET}'",
        f"Incorrect API key provided: {SECRET}.",
        f"the password is {SECRET}",
        f'token "{SECRET}" has expired',
        f"requirepass {SECRET}",
        f"npm config set //r.example/:_authToken {SECRET}",
        f"https://api.telegram.org/bot123456789:AA{SECRET}{SECRET}{SECRET}/getMe",
    ],
)
def test_secrets_in_text_are_found(text: str) -> None:
    """A secret in a message, a URL, a header, a command line or a repr is replaced."""
    assert SECRET not in redact_text(text)
    assert REDACTED in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "author=Bob",
        "a token of thanks",
        "time: 12:30:01",
        "tokens: 512",
        "path=/tmp/a key=3",
        "http://host:80/x?y=1",
        "http://host:8080/people/me@there",
        "git clone ssh://git@github.com/a/b",
        "max_tokens=512, prompt_tokens: 7",
        "FATAL: password authentication failed for user bob",
        "signed in with password authentication",
        "session_timeout = 30 seconds",
        "results: 'pass', 'fail'",
        "mysql -h host -u root db",
        "curl -u admin http://h/",
        "docker run -it x",
        "docker run -p 8080:80 x",
        "curl -sSfL http://h/",
        "set password policy to strict",
        "set token expired",
        '{"name": "host", "value": "db.example"}',
        "- name: DB_PASSWORD\n  valueFrom: x\n- name: HOST\n  value: h",
        "the default password is not set",
        "<author>Bob</author>",
        "rate: 1//2",
        "basic training complete",
        "token_count=5, password_length: 12",
        "--max-token-length 12",
        'File "a/token.py:12" in get',
        "task-auth-failed on host",
        "refresh-token failed",
        "SET PASSWORD FOR bob",
        "the password is required",
        "API key is missing",
        "unexpected token } at position 4",
        "invalid token at line 3",
    ],
)
def test_innocent_text_is_unchanged(text: str) -> None:
    """Text without secrets stays as it is."""
    assert redact_text(text) == text


def _of(alphabet: str, length: int) -> str:
    return (alphabet * length)[:length]


HEX = _of("0123456789abcdef", 64)
WORD = _of("aB3dE6gH9jK2mN5pQ8sT", 80)


@pytest.mark.parametrize(
    "token",
    [
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "glpat-" + WORD[:20],
        "glrt-" + WORD[:20],
        "xapp-1-" + WORD[:20],
        "https://hooks.slack.com/services/T0/B0/" + WORD[:24],
        "https://discord.com/api/webhooks/123456789/" + WORD[:60],
        "whsec_" + WORD[:32],
        "sk-ant-api03-" + WORD[:40],
        "npm_" + WORD[:36],
        "pypi-" + WORD[:60],
        "hf_" + WORD[:34],
        "SG." + WORD[:22] + "." + WORD[:43],
        "SK" + HEX[:32],
        "dop_v1_" + HEX,
        "dapi" + HEX[:32],
        "123456789:AA" + WORD[:33],
        "hvs." + WORD[:24],
        "key-" + HEX[:32],
        "ATATT3" + WORD[:60],
        "shpat_" + HEX[:32],
        "lin_api_" + WORD[:40],
        "dp.pt." + WORD[:40],
        "AGE-SECRET-KEY-1" + WORD[:58].upper(),
        "ya29." + WORD[:60],
        "GOCSPX-" + WORD[:28],
        "abc8Q~" + WORD[:34],
        "dckr_pat_" + WORD[:27],
        "glsa_" + WORD[:32],
        "pscale_tkn_" + WORD[:32],
        "PMAK-" + HEX[:24],
        "NRAK-" + WORD[:27].upper(),
        "sntrys_" + WORD[:60],
        "aBcDeFgHiJkLmN.atlasv1." + WORD[:60],
        "figd_" + WORD[:40],
        "gsk_" + WORD[:52],
        "xai-" + WORD[:80],
        "pplx-" + WORD[:48],
        "lsv2_pt_" + HEX[:32] + "_" + HEX[:10],
        "ntn_" + WORD[:46],
        "secret_" + WORD[:43],
        "nfp_" + WORD[:36],
        "rubygems_" + HEX[:48],
        "tskey-auth-k" + WORD[:10] + "-" + WORD[:32],
        "HRKU-" + WORD[:36],
        "fo1_" + WORD[:43],
        "fm2_" + WORD,
        "pul-" + HEX[:40],
        "glc_" + WORD,
        "squ_" + HEX[:40],
        "sq0atp-" + WORD[:22],
        "bkua_" + HEX[:40],
        "CCIPAT_" + WORD[:22] + "_" + HEX[:40],
        "ops_eyJ" + WORD,
        "aio_" + WORD[:28],
        "EZAK" + WORD[:54],
        "duffel_test_" + WORD[:43],
        "access_token$production$" + HEX[:16] + "$" + HEX[:32],
        "CFPAT-" + WORD[:43],
        "AKCp" + WORD[:69],
        "oy2" + HEX[:43],
        "SSWS 00" + WORD[:40],
        "EAAC" + WORD,
        "pat" + WORD[:14] + "." + HEX,
        HEX[:32] + "-us12",
        "https://x.webhook.office.com/webhookb2/" + HEX[:36] + "/IncomingWebhook/" + HEX[:32],
    ],
)
def test_tokens_of_providers_are_known_by_their_look(token: str) -> None:
    """A token that stands alone in a text, without a name before it, is hidden whole."""
    shown = redact_text(f"sent {token} to the service")
    assert token[-16:] not in shown
    assert shown.startswith("sent ")
    assert shown.endswith(" to the service")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"name": "DB_PASSWORD", "value": SECRET}, {"name": "DB_PASSWORD", "value": REDACTED}),
        ({"Key": "api_key", "Value": SECRET}, {"Key": "api_key", "Value": REDACTED}),
        ({"name": "HOST", "value": "h"}, {"name": "HOST", "value": "h"}),
        (["password", SECRET], ["password", REDACTED]),
        (["pass", "fail"], ["pass", "fail"]),
        (("set", "password", SECRET), ["set", "password", REDACTED]),
        ({"password": SECRET}.items(), {"password": REDACTED}),
        ({"password": SECRET, "n": 1}.values(), {"password": REDACTED, "n": 1}),
        ({"max_tokens": 512, "tokens": [SECRET]}, {"max_tokens": 512, "tokens": REDACTED}),
        (["mysql", "-u", "root", f"-p{SECRET}"], ["mysql", "-u", "root", f"-p{REDACTED}"]),
        (["/usr/bin/curl", "-u", f"me:{SECRET}", "h"], ["/usr/bin/curl", "-u", f"me:{REDACTED}", "h"]),
        (["sshpass", "-p", SECRET, "ssh"], ["sshpass", "-p", REDACTED, "ssh"]),
        (["sudo", "-n", "mysql", f"-p{SECRET}"], ["sudo", "-n", "mysql", f"-p{REDACTED}"]),
        (
            ["docker", "exec", "db", "mysql", f"-p{SECRET}"],
            ["docker", "exec", "db", "mysql", f"-p{REDACTED}"],
        ),
        (["docker", "run", "-p", "80:80", "x"], ["docker", "run", "-p", "80:80", "x"]),
        (["grep", "-p", "word", "file"], ["grep", "-p", "word", "file"]),
    ],
)
def test_names_and_values_side_by_side(value: Any, shown: Any) -> None:
    """A secret is known by the name beside it, whatever structure the two stand in."""
    assert DEFAULT.plain(value) == shown


@pytest.mark.parametrize(
    "part",
    ["a", "a=", "--a ", "'", "password=", "a:", "://", "eyJ", "bearer ", " ", "-----BEGIN PRIVATE KEY-----",
     "cookie: ", "\\", '"', "-", "a.a", "x@", "token token ", "<password>", "mysql -p", "curl -u a:b ", "-a",
     "password: |\n ", "with password ", "?key=", "8Q~", "1//0", "'password', ", "\n",
     "-----BEGIN ", "&sig=", "token=[", "secret: {'", "[", "tokens:\n  - a\n", "tokens:\n", "token a1 ",
     '<a name="key">', "set password for ", "mysql ", "basic a", "a1-us"],
)  # fmt: skip
def test_no_text_takes_long(part: str) -> None:
    """Patterns match in linear time: a hundred thousand hostile characters take well under a second or so."""
    text = part * (100_000 // len(part))
    begin = time.process_time()
    redact_text(text)
    assert time.process_time() - begin < 2.0


def test_nested_values_are_walked() -> None:
    """Secrets are hidden at any depth, by key, by header pair, by command option, and in text."""
    value = {
        "outer": [{"password": SECRET}, ("Authorization", SECRET), ["cmd", "--token", SECRET, "x"]],
        "text": f"password={SECRET}",
        b"api_key": SECRET,
        "set": {f"token={SECRET}"},
    }
    shown = DEFAULT.plain(value)
    assert SECRET not in json.dumps(shown)
    assert shown["outer"][2] == ["cmd", "--token", REDACTED, "x"]


def test_objects_with_named_parts_are_walked() -> None:
    """Dataclasses, named tuples and mappings hide their secret fields by name."""

    @dataclasses.dataclass
    class Login:
        user: str
        password: str
        hidden: str = dataclasses.field(default="h", repr=False)

    pair = namedtuple("pair", "user token")
    for value in (Login("u", SECRET), pair("u", SECRET), UserDict(user="u", secret=SECRET)):
        shown = DEFAULT.plain(value)
        assert SECRET not in json.dumps(shown)
        assert shown["user"] == "u"
        assert "hidden" not in shown


def test_cycles_end() -> None:
    """A structure that contains itself is shown with a mark; one that is shared is shown twice."""
    loop: list[Any] = [1]
    loop.append({"again": loop})
    assert DEFAULT.plain(loop) == [1, {"again": "<cycle>"}]
    shared = [1]
    assert DEFAULT.plain([shared, shared]) == [[1], [1]]


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("no")


class HostileDict(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")


class HostileText(str):
    def __getitem__(self, key: object) -> str:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


class Recursive:
    def __repr__(self) -> str:
        return repr(self)


def test_hostile_objects_are_named_instead() -> None:
    """An object that raises when it is looked at costs a line that says so, and nothing else."""
    for value in (Hostile(), HostileDict(a=1), HostileText("abc"), Recursive(), {Hostile(): 1}, [Hostile()]):
        json.dumps(DEFAULT.plain(value))


def test_a_raising_repr_is_named() -> None:
    """The line says the type of the object and of what it raised."""
    assert DEFAULT.plain(Hostile()) == "<Hostile, which cannot be shown: RuntimeError>"


def test_huge_values_are_bounded() -> None:
    """Large texts, numbers, containers and depths are cut, quickly, and say that they are."""
    deep: Any = "x"
    for _ in range(10_000):
        deep = [deep]
    value = {
        "text": "x" * 10**7,
        "bytes": b"x" * 10**7,
        "int": 10**10_000,
        "deep": deep,
        "list": list(range(10**6)),
    }
    begin = time.process_time()
    shown = DEFAULT.plain(value)
    assert time.process_time() - begin < 2.0
    assert len(json.dumps(shown)) < 20_000
    assert shown["text"].endswith("<10000000 characters>")
    assert shown["list"][-1] == "<999950 more>"


def test_containers_of_other_kinds_are_bounded() -> None:
    """Deques, views and arrays of millions are not shown in full, and take no time."""
    big = {
        "deque": deque(range(10**6)),
        "view": dict.fromkeys(range(10**6)).keys(),
        "array": array("i", [0]) * 10**7,
    }
    begin = time.process_time()
    shown = DEFAULT.plain(big)
    assert time.process_time() - begin < 2.0
    assert shown["array"] == "<array of 10000000 items>"
    assert shown["view"] == "<dict_keys of 1000000 items>"
    assert len(shown["deque"]) == 51


def test_the_number_of_values_is_bounded() -> None:
    """A wide and deep tree is cut after the whole number of values, not only level by level."""
    tree: Any = 1
    for _ in range(6):
        tree = [tree] * 50
    shown = json.dumps(Redactor(limits=RedactionLimits(values=500)).plain(tree))
    assert len(shown) < 50_000


def test_numbers_without_json_are_text() -> None:
    """Infinity and NaN become text, so that the result is always valid JSON."""
    shown = DEFAULT.plain([float("nan"), float("inf"), -float("inf")])
    assert shown == ["nan", "inf", "-inf"]


def test_a_secret_across_the_cut_is_hidden() -> None:
    """A secret that begins before the limit of a text and ends after it does not show in part."""
    text = "x" * 1990 + " password=" + SECRET * 20
    assert SECRET[:4] not in DEFAULT.plain(text)


def test_users_add_names_and_patterns() -> None:
    """Further names and patterns are hidden as well, and the built-in ones stay."""
    redactor = Redactor(names=frozenset({"patient"}), patterns=(re.compile(r"\bMRN\d+"),))
    shown = redactor.plain({"Patient": "Doe", "note": "MRN12345", "password": SECRET})
    assert shown == {"Patient": REDACTED, "note": REDACTED, "password": REDACTED}


def test_a_further_name_hides_in_any_case() -> None:
    """Written with capitals it hid nothing; a list and a generator of names are as good as a set."""
    for names in ({"Kunde"}, ["KUNDE"], (name for name in ["kunde"])):
        redactor = Redactor(names=names)  # type: ignore[arg-type]
        assert [redactor.hides(name) for name in ("Kunde", "kunde", "KUNDE", "kind")] == [
            True,
            True,
            True,
            False,
        ]


def test_messages_of_errors_are_guarded() -> None:
    """message() redacts, and survives an error whose text cannot be made."""

    class Bad(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert DEFAULT.message(KeyError("x")) == "'x'"
    assert SECRET not in DEFAULT.message(ValueError(f"password={SECRET}"))
    assert DEFAULT.message(Bad()) == "<Bad, which cannot be shown: ValueError>"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
        max_leaves=20,
    )
)
def test_everything_becomes_valid_json(value: Any) -> None:
    """plain() gives what JSON can hold, for any structure."""
    json.dumps(DEFAULT.plain(value), allow_nan=False)


def test_numbers_up_to_eight_bytes_stay_numbers():
    """Beyond that a number is shown as hexadecimal text, since many a reader of JSON would round it."""
    for number in (2**63 - 1, -(2**63) + 1, 0):
        assert DEFAULT.plain(number) == number
    assert DEFAULT.plain(2**63) == "0x8000000000000000"
    assert DEFAULT.plain(-(2**63)) == "-0x8000000000000000"


def test_what_is_nested_too_deeply_says_how_deep_that_is():
    """The kind of what is left out, and the limit."""
    limited = Redactor(limits=RedactionLimits(depth=2))
    assert limited.plain([[[1]], 2]) == [["<list, deeper than 2 levels>"], 2]


def test_an_exported_setting_is_hidden_to_the_end_of_its_line():
    """A value with blanks is the whole of it, with ``export`` before its name as without."""
    for before in ("", "export "):
        shown = redact_text(f"{before}DB_PASSWORD = correct horse battery\nHOST = db1")
        assert shown == f"{before}DB_PASSWORD = {REDACTED}\nHOST = db1"


def test_a_block_of_lines_is_hidden_as_one_value():
    """Every line that is indented below the name, and none that follows."""
    shown = redact_text("password: |\n  first line\n  second line\nhost: db1\n")
    assert "line" not in shown
    assert shown.endswith("host: db1\n")


@pytest.mark.parametrize(
    "text", [f"password={REDACTED[:-2]}{SECRET}", f"tool --password {REDACTED[:-2]}{SECRET}"]
)
def test_what_only_begins_like_the_mark_is_hidden(text: str) -> None:
    """A value counts as hidden before only if it has all of the mark's word."""
    assert SECRET not in redact_text(text)


@pytest.mark.parametrize("length", [80, 30])
def test_a_long_option_hides_the_value_behind_it(length: int) -> None:
    """Up to eighty characters."""
    option = "--" + "x" * (length - 11) + "-password"
    assert len(option) == length
    assert SECRET not in json.dumps(DEFAULT.plain([option, SECRET, 3]))


def test_bytes_that_are_shown_whole_have_no_size_behind_them() -> None:
    """Only what is missing is counted."""
    redactor = Redactor(limits=RedactionLimits(text=20))
    assert redactor.plain(b"x" * 17) == repr(b"x" * 17)
    assert not redactor.plain(b"x" * 20).endswith("bytes>")
    assert redactor.plain(b"x" * 21).endswith("<21 bytes>")


def test_a_named_tuple_with_more_values_than_names_is_shown() -> None:
    """A subclass may have added some; those with a name are shown, and none makes the rest unreadable."""

    class Longer(namedtuple("Pair", "a b")):  # type: ignore[misc]
        def __new__(cls, *values: int) -> Any:
            return tuple.__new__(cls, values)

    assert DEFAULT.plain(Longer(1, 2, 3)) == {"<type>": Longer.__qualname__, "a": 1, "b": 2}


def test_a_command_after_one_whose_argument_names_a_program_is_read() -> None:
    """The name inside of a value that was just hidden ends nothing."""
    shown = redact_text(f"curl -u 'mysql root:{SECRET}' http://x ; redis-cli -a {SECRET} ping")
    assert SECRET not in shown


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_text_that_was_not_read_to_its_end_says_so(beyond: int) -> None:
    """Also where the part that was read is short, since it was a secret."""
    words = ["password=" + "x" * 440] * 4
    text = " ".join([*words, "password=" + "x" * (200 + 2048 + beyond - 4 * 450 - 9)])
    shown = Redactor(limits=RedactionLimits(text=200)).plain(text)
    hidden = " ".join([f"password={REDACTED}"] * 5)
    assert shown == hidden + (f"… <{len(text)} characters>" if beyond else "")


@pytest.mark.parametrize(
    "text",
    [
        f"GET /login?next=https%3A%2F%2Fx%2Fcb%3Fa%3D1%26token%3D{SECRET}%26b%3D2",
        f"next%3Dhttps%3A%2F%2Fx%3Fclient_secret%3d{SECRET}",
        f"password%3D{SECRET}",
        f"state=https%3A%2F%2Fx%23access_token%3D{SECRET}",
    ],
)
def test_a_secret_in_a_quoted_address_is_hidden(text: str) -> None:
    """An address may be the parameter of another one, and is quoted there."""
    assert SECRET not in redact_text(text)


def test_other_parameters_of_a_quoted_address_stay() -> None:
    """They say what was asked for."""
    text = "GET /login?next=https%3A%2F%2Fx%3Fpage%3D2%26sort%3Dname"
    assert redact_text(text) == text
    shown = redact_text(f"next=https%3A%2F%2Fx%3Ftoken%3D{SECRET}%26page%3D2")
    assert shown == f"next=https%3A%2F%2Fx%3Ftoken%3D{REDACTED}%26page%3D2"


@pytest.mark.parametrize(
    ("name", "value"),
    [("param", "val"), ("parameter", "content"), ("variable", "content"), ("key", "content")],
)
def test_more_words_for_a_name_and_its_value_are_known(name: str, value: str) -> None:
    """Each pair is in use somewhere."""
    assert DEFAULT.plain({name: "DB_PASSWORD", value: SECRET}) == {name: "DB_PASSWORD", value: REDACTED}
    assert DEFAULT.plain({name: "title", value: "x"}) == {name: "title", value: "x"}
