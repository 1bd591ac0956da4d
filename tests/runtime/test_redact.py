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
     "private_key", "client_secret", "connectionString", "dsn", "jwt", "refresh_token"],
)  # fmt: skip
def test_secret_names_are_known(name: str) -> None:
    """Usual names of secrets are recognised in every spelling."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["author", "bypass", "tokenizer", "compass", "key", "keys", "sample", "passed", "spin", "path"]
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
    ],
)
def test_innocent_text_is_unchanged(text: str) -> None:
    """Text without secrets stays as it is."""
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "part",
    ["a", "a=", "--a ", "'", "password=", "a:", "://", "eyJ", "bearer ", " ", "-----BEGIN PRIVATE KEY-----",
     "cookie: ", "\\", '"', "-", "a.a", "x@", "token token "],
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
