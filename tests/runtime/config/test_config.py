"""Configuration: every source, every problem at once, nothing secret shown, nothing half in force."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime.config import (
    ConfigurationProblems,
    Live,
    from_environment,
    from_file,
    from_mapping,
    from_pyproject,
    load,
    option,
)
from chaoskit.runtime.config.convert import Unfit, convert


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Steady:
    kind: ClassVar[str] = "steady"
    seconds: float = 1.0


@dataclass(frozen=True)
class Growing:
    kind: ClassVar[str] = "growing"
    initial: float = 1.0
    cap: float = 60.0

    def __post_init__(self) -> None:
        if self.initial > self.cap:
            raise ValueError(f"initial is {self.initial}; expected at most cap, {self.cap}")


@dataclass(frozen=True)
class Server:
    host: str
    port: int = option(default=80, minimum=1, maximum=65535)
    password: str = ""
    pepper: str = option(default="", secret=True)


@dataclass(frozen=True)
class App:
    server: Server = Server("localhost", 8080)
    wait: Steady | Growing = Growing()
    attempts: int | None = option(default=3, minimum=1)
    timeout: float = option(default=300.0, above=0, unit="s")
    limit: int = option(default=0, minimum=0, unit="bytes")
    share: float = option(default=0.1, minimum=0, maximum=1, unit="ratio")
    on: tuple[type[BaseException], ...] = ()
    mode: Literal["fast", "safe", 3] = "fast"
    colour: Colour = Colour.RED
    verbose: bool = False
    folder: Path = Path()
    names: frozenset[str] = frozenset()
    pair: tuple[int, str] = (1, "a")
    extra: dict[str, Any] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    several: tuple[Server, ...] = ()
    hook: Callable[[], object] | None = None
    _private: int = 0


def problems_of(*layers: Any) -> list[str]:
    with pytest.raises(ConfigurationProblems) as caught:
        load(App, *layers)
    return [str(p) for p in caught.value.problems]


def outcome(layer: Any) -> object:
    try:
        return load(App, layer)
    except ConfigurationProblems as error:
        return error.problems


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


YAML = """\
server:
  host: example
  port: 99
timeout: 5m
on: [OSError, DiskFull]
several:
  - host: a
  - {host: b, port: 3}
"""
TOML = """\
timeout = "5m"
on = ["OSError", "DiskFull"]
[server]
host = "example"
port = 99
[[several]]
host = "a"
[[several]]
host = "b"
port = 3
"""
JSON = json.dumps(
    {
        "server": {"host": "example", "port": 99},
        "timeout": "5m",
        "on": ["OSError", "DiskFull"],
        "several": [{"host": "a"}, {"host": "b", "port": 3}],
    },
    indent=1,
)


@pytest.mark.parametrize(
    ("name", "text"), [("a.yaml", YAML), ("a.yml", YAML), ("a.toml", TOML), ("a.json", JSON)]
)
def test_the_formats_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    """One configuration, written in each format, is one record."""
    value = load(App, from_file(write(tmp_path, name, text))).value
    assert (value.server.host, value.server.port, value.timeout) == ("example", 99, 300.0)
    assert [k.__name__ for k in value.on] == ["OSError", "DiskFull"]
    assert value.several == (Server("a"), Server("b", 3))


def test_defaults_alone_make_the_record() -> None:
    """Without any layer the record is what its class says, and every origin is the default."""
    loaded = load(App)
    assert loaded.value == App()
    assert {s.origin for s in loaded.settings} == {"default"}


def test_stronger_layers_win_key_by_key(tmp_path: Path) -> None:
    """Tables are merged, other values replaced; each value knows where it comes from."""
    file = from_file(write(tmp_path, "a.yaml", "server: {host: file, port: 1}\non: [OSError]\ntimeout: 1\n"))
    env = from_environment("APP_", {"APP_SERVER__PORT": "2", "APP_ON": "ValueError", "OTHER": "x"})
    code = from_mapping({"timeout": 9})
    loaded = load(App, file, env, code)
    assert loaded.value.server == Server("file", 2)
    assert loaded.value.on == (ValueError,)
    assert loaded.value.timeout == 9.0
    assert loaded.origin("server.host") == f"{tmp_path / 'a.yaml'}:1"
    assert loaded.origin("server.port") == "$APP_SERVER__PORT"
    assert loaded.origin("timeout") == "code"
    assert loaded.origin("attempts") == "default"


def test_a_records_default_is_kept_where_nothing_is_said() -> None:
    """An option of a nested record that nobody sets is as in the outer record's default, not the class's."""
    assert load(App, from_mapping({"server": {"host": "x"}})).value.server == Server("x", 8080)


def test_siblings_start_from_the_entry_called_default() -> None:
    """In a table of records the others inherit from ``default``, and so does their origin."""
    layer = from_mapping({"servers": {"b": {"port": 7}, "default": {"host": "x", "port": 3}, "a": {}}})
    loaded = load(App, layer)
    assert loaded.value.servers == {"default": Server("x", 3), "a": Server("x", 3), "b": Server("x", 7)}
    assert loaded.origin("servers.a.host") == "code"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"kind": "steady", "seconds": 3}, Steady(3.0)),
        ({"kind": "growing", "cap": 5}, Growing(1.0, 5.0)),
    ],
)
def test_a_union_of_records_is_told_apart_by_kind(values: dict[str, Any], expected: object) -> None:
    """``kind`` says which record a table is."""
    assert load(App, from_mapping({"wait": values})).value.wait == expected


def test_another_kind_drops_the_weaker_layers_options() -> None:
    """A layer that changes the kind does not inherit options of the other kind."""
    weak = from_mapping({"wait": {"kind": "growing", "cap": 5}})
    strong = from_mapping({"wait": {"kind": "steady"}})
    assert load(App, weak, strong).value.wait == Steady()


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    """One error names every problem: where it stands, what it is, what is allowed."""
    text = """\
server: {hots: a, port: 70000}
timeout: 0
attempts: 2.5
verbose: "yes"
colour: green
unknown: 1
on: [OSErorr]
mode: slow
wait: {kind: wavy}
several: [{port: 1}]
"""
    path = write(tmp_path, "a.yaml", text)
    assert problems_of(from_file(path)) == [
        f"{path}:6: unknown: is not an option; there are {', '.join(sorted(PUBLIC))}",
        f"{path}:1: server.hots: is not an option; did you mean 'host'? "
        "there are host, password, pepper, port",
        f"{path}:1: server.port: is 70000; expected a whole number, at least 1 and at most 65535",
        f"{path}:9: wait.kind: is 'wavy'; one of 'steady', 'growing'",
        f"{path}:3: attempts: is 2.5; expected a whole number or nothing, at least 1",
        f"{path}:2: timeout: is 0; expected a number of seconds, more than 0",
        f"{path}:7: on: is 'OSErorr'; expected the name of a BaseException class: "
        "'OSError', or 'package.module.Name'",
        f"{path}:8: mode: is 'slow'; expected one of 'fast', 'safe', 3",
        f"{path}:5: colour: is 'green'; expected one of 'red', 'blue'",
        f"{path}:4: verbose: is 'yes'; expected true or false",
        f"{path}:10: several.0.host: is missing; expected text; it has no default",
    ]


PUBLIC = [
    "server", "wait", "attempts", "timeout", "limit", "share", "on", "mode", "colour", "verbose", "folder",
    "names", "pair", "extra", "servers", "several", "hook",
]  # fmt: skip


def test_a_records_own_rules_are_problems_too(tmp_path: Path) -> None:
    """What ``__post_init__`` refuses is reported at its table, with all others."""
    path = write(tmp_path, "a.toml", "attempts = 0\n\n[wait]\nkind = 'growing'\ninitial = 90\n")
    assert problems_of(from_file(path)) == [
        f"{path}:3: wait: initial is 90.0; expected at most cap, 60.0",
        f"{path}:1: attempts: is 0; expected a whole number or nothing, at least 1",
    ]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.json", '{"server": {"host": "a",\n "port": 0}}', 2),
        (
            "a.json",
            '{"extra": {"port": 5, "x": [1, {"port": 2}]},\n\n "server": {"host": "port",\n "port": 0}}',
            4,
        ),
        ("a.toml", '[server]\nhost = "a"\n# port\nport = 0', 4),
        ("a.toml", "server.host = 'a'\nserver.port = 0", 2),
        ("a.toml", 'server = {host = "a", port = 0}', 1),
        ("a.yaml", "server:\n  host: a\n\n  port: 0", 4),
        ("a.yaml", "base: &b {port: 0}\nserver:\n  <<: *b\n  host: a\n", 3),
    ],
)
def test_problems_name_the_line(tmp_path: Path, name: str, text: str, line: int) -> None:
    """Each format's problems are located in the file, as exactly as is known."""
    found = [p for p in problems_of(from_file(write(tmp_path, name, text))) if "server.port" in p]
    assert len(found) == 1
    assert found[0].startswith((f"{tmp_path / name}:{line}:", f"{tmp_path / name}:{line - 1}:"))


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", '{"timeout": 1,\n"timeout": 2}'), ("a.yaml", "timeout: 1\ntimeout: 2\n")]
)
def test_a_key_that_stands_twice_is_a_problem(tmp_path: Path, name: str, text: str) -> None:
    """A key written twice is not silently the last one."""
    (problem,) = problems_of(from_file(write(tmp_path, name, text)))
    assert problem.startswith(f"{tmp_path / name}:2: timeout: stands here for the second time")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"a": ', ":1: (top): cannot be read"),
        ("a.json", '{"timeout": NaN}', "NaN is not a number"),
        ("a.json", "[" * 100_000, "cannot be read"),
        ("a.json", "[]", "holds a list"),
        ("a.toml", "a = \n", ":1: (top): cannot be read"),
        ("a.yaml", "a: [\n", ":2: (top): cannot be read"),
        ("a.yaml", "a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a.yaml", "- 1", "holds a list"),
        ("a.yaml", "a: 1\n---\nb: 2\n", "cannot be read"),
        ("a.yaml", "a: \x00", "cannot be read"),
        ("a.yaml", "? [1, 2]\n: 3", "cannot be read"),
        ("a.yaml", "timeout: 2001-99-99", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_a_located_problem(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    """Broken syntax, objects, several documents: one problem with the reason, never another error."""
    with pytest.raises(ConfigurationProblems) as caught:
        from_file(write(tmp_path, name, text))
    assert expected in str(caught.value)


def test_nested_aliases_take_no_exponential_time(tmp_path: Path) -> None:
    """The billion laughs: aliases of aliases are counted, and refused, without being expanded."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    with pytest.raises(ConfigurationProblems, match="stand for more than"):
        from_file(write(tmp_path, "a.yaml", "\n".join(lines)))


def test_a_file_that_is_missing_or_not_utf8_is_a_problem(tmp_path: Path) -> None:
    """An unreadable file is a problem with its place; a wrong suffix is wrong use."""
    with pytest.raises(ConfigurationProblems, match="No such file"):
        from_file(tmp_path / "none.toml")
    with pytest.raises(ConfigurationProblems, match="cannot be read"):
        from_file(write(tmp_path, "d.toml", "").parent.joinpath("d.toml", "x.toml"))
    (tmp_path / "a.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigurationProblems, match=r"a.toml:2: .* not UTF-8"):
        from_file(tmp_path / "a.toml")
    with pytest.raises(UsageError, match=r"ending in \.yaml"):
        from_file("a.ini")


def test_empty_files_say_nothing(tmp_path: Path) -> None:
    """An empty file of any format leaves everything at its default; a BOM does no harm."""
    for name in ("a.yaml", "a.toml", "a.json"):
        assert load(App, from_file(write(tmp_path, name, ""))).value == App()
    (tmp_path / "b.toml").write_bytes(b"\xef\xbb\xbftimeout = 3\n")
    assert load(App, from_file(tmp_path / "b.toml")).value.timeout == 3


def test_yaml_keys_are_names(tmp_path: Path) -> None:
    """The bare words on and off are names where a key stands."""
    assert load(App, from_file(write(tmp_path, "a.yaml", "on: [OSError]\n"))).value.on == (OSError,)


def test_pyproject_is_read_from_its_table(tmp_path: Path) -> None:
    """Only [tool.chaoskit] counts; a missing file or table has no values."""
    path = write(tmp_path, "pyproject.toml", "[project]\nname = 'x'\n[tool.chaoskit]\ntimeout = 0\n")
    (problem,) = problems_of(from_pyproject(path))
    assert problem.startswith(f"{path}:4: timeout: is 0")
    assert from_pyproject(tmp_path / "none.toml").values == {}
    assert from_pyproject(path, table="tool.other").values == {}
    with pytest.raises(ConfigurationProblems, match="is not a table"):
        from_pyproject(path, table="project.name")


@pytest.mark.parametrize(
    ("variables", "name", "expected"),
    [
        ({"A_TIMEOUT": "1.5h"}, "timeout", 5400.0),
        ({"A_TIMEOUT": "250 ms"}, "timeout", 0.25),
        ({"a_timeout": "1d"}, "timeout", 86400.0),
        ({"A_TIMEOUT": "1e3"}, "timeout", 1000.0),
        ({"A_LIMIT": "2GiB"}, "limit", 2 * 2**30),
        ({"A_LIMIT": "1.5 kB"}, "limit", 1500),
        ({"A_SHARE": "7%"}, "share", 0.07),
        ({"A_SHARE": "0.2"}, "share", 0.2),
        ({"A_ATTEMPTS": "none"}, "attempts", None),
        ({"A_ATTEMPTS": " 4 "}, "attempts", 4),
        ({"A_VERBOSE": "On"}, "verbose", True),
        ({"A_VERBOSE": "0"}, "verbose", False),
        ({"A_COLOUR": "blue"}, "colour", Colour.BLUE),
        ({"A_MODE": "3"}, "mode", 3),
        ({"A_FOLDER": "/tmp"}, "folder", Path("/tmp")),
        ({"A_NAMES": "a, b,,c"}, "names", frozenset("abc")),
        ({"A_NAMES": '["a,b"]'}, "names", frozenset(["a,b"])),
        ({"A_PAIR": "3,x"}, "pair", (3, "x")),
        ({"A_NAMES": ""}, "names", frozenset()),
        ({"A_SERVERS__X__HOST": "h"}, "servers", {"x": Server("h")}),
        ({"A_SERVER__PASSWORD": "1"}, "server", Server("localhost", 8080, "1")),
    ],
)
def test_variables_are_read_by_type(variables: dict[str, str], name: str, expected: object) -> None:
    """The text of a variable becomes what its option is."""
    assert getattr(load(App, from_environment("A_", variables)).value, name) == expected


@pytest.mark.parametrize(
    "variables",
    [
        {"A_TIMEOUT": "5 parsecs"},
        {"A_TIMEOUT": "nan"},
        {"A_TIMEOUT": "1e999"},
        {"A_TIMEOUT": ""},
        {"A_TIMEOUT": "1_000"},
        {"A_SHARE": "101%"},
        {"A_ATTEMPTS": "5%"},
        {"A_ATTEMPTS": "٣"},
        {"A_LIMIT": "0.5"},
        {"A_LIMIT": "9" * 5000},
        {"A_VERBOSE": "maybe"},
        {"A_PAIR": "1"},
        {"A_NAMES": "[1"},
        {"A_HOOK": "print"},
        {"A_FOLDER": ""},
        {"A_TIMEUOT": "1"},
        {"A__PRIVATE": "1"},
        {"A_SERVER": "x"},
        {"A_SERVER": "x", "A_SERVER__PORT": "1"},
        {"A_": "1"},
    ],
)
def test_wrong_variables_are_named(variables: dict[str, str]) -> None:
    """A variable that does not fit is a problem that names the variable."""
    assert any(problem.startswith("$A_") for problem in problems_of(from_environment("A_", variables)))


def test_the_contexts_own_variable_is_no_option() -> None:
    """What carries the context to children, and what the caller names, is passed over."""
    layer = from_environment(
        "CHAOSKIT_", {"CHAOSKIT_CONTEXT": "x", "CHAOSKIT_MINE": "y"}, ignore=["CHAOSKIT_MINE"]
    )
    assert load(App, layer).value == App()


def test_files_are_not_guessed_at(tmp_path: Path) -> None:
    """In a file a number in quotes is text, and true is not a number; only units may be written as text."""
    path = write(tmp_path, "a.json", '{"attempts": "3", "share": true, "pair": ["1", "a"], "limit": 1.0}')
    assert len(problems_of(from_file(path))) == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True])
def test_numbers_must_be_finite(value: object) -> None:
    """Infinity, NaN, numbers beyond a float, and booleans are not seconds."""
    assert len(problems_of(from_mapping({"timeout": value}))) == 1


def test_code_may_give_objects() -> None:
    """Ready records, classes and callables are taken as they are."""
    value = load(
        App, from_mapping({"server": Server("x"), "on": [OSError], "hook": print, "wait": Steady(2.0)})
    ).value
    assert (value.server, value.on, value.hook, value.wait) == (Server("x"), (OSError,), print, Steady(2.0))


def test_a_ready_record_of_another_type_is_refused() -> None:
    """Code cannot give one record where another is wanted."""
    assert problems_of(from_mapping({"server": Steady()})) == [
        "code: server: is Steady(seconds=1.0); expected a table of options (Server)"
    ]


def test_what_is_missing_names_all_sources(tmp_path: Path) -> None:
    """An option without a value could be added to any of the sources: all are named."""
    file = from_file(write(tmp_path, "a.toml", ""))
    with pytest.raises(ConfigurationProblems) as caught:
        load(Server, file, from_environment("A_", {}))
    (problem,) = caught.value.problems
    assert str(problem) == (
        f"{tmp_path / 'a.toml'} or environment: host: is missing; expected text; it has no default"
    )


@pytest.mark.parametrize(
    ("kind", "value", "text", "expected"),
    [
        (int | float, 3, False, 3),
        (int | float, 3.5, False, 3.5),
        (float | str, "5", False, "5"),
        (float | str, "5", True, 5.0),
        (list[int], [1, 2], False, [1, 2]),
        (list[int], "[1, 2]", True, [1, 2]),
        (tuple[int, ...], "1,2", True, (1, 2)),
        (set[str], ("a", "a"), False, {"a"}),
        (dict[str, int] | None, None, False, None),
        (Any, object, False, object),
        (Callable[[], object], print, False, print),
        (type[Exception], "KeyError", False, KeyError),
        (type[Exception], "json.JSONDecodeError", False, json.JSONDecodeError),
        (int, 10**30, False, 10**30),
    ],
)
def test_types_are_converted(kind: Any, value: object, text: bool, expected: object) -> None:
    """The result has the type that was asked for, the exact one first."""
    found = convert(value, kind, text=text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "value", "text", "allowed"),
    [
        (list[int], '["1"]', True, "expected a whole number"),
        (list[int], {"a": 1}, False, "expected a list of a whole number"),
        (tuple[int, str], [1], False, "expected a list of a whole number, text"),
        (Callable[[], object], object(), False, "expected"),
        (type[Exception], "KeyboardInterrupt", False, "the name of a Exception class"),
        (type[Exception], "..", False, "the name of a Exception class"),
        (type[Exception], "os.system", False, "the name of a Exception class"),
        (dict[str, int], 3, False, "expected a table"),
        (int | str | None, 2.5, False, "expected a whole number or text or nothing"),
        (Path, "a\0b", False, "expected a path"),
        (bytes, "x", True, "expected bytes"),
    ],
)
def test_what_does_not_fit_says_what_would(kind: Any, value: object, text: bool, allowed: str) -> None:
    """A value of the wrong type is refused with the type in words."""
    with pytest.raises(Unfit) as caught:
        convert(value, kind, text=text)
    assert caught.value.allowed.startswith(allowed) or allowed in caught.value.allowed


def test_a_value_and_a_group_at_once_are_named() -> None:
    """Two variables that contradict one another are a problem of their own."""
    for first in ({"A_EXTRA": "x", "A_EXTRA__B": "1"}, {"A_EXTRA__B__C": "x", "A_EXTRA__B": "1"}):
        assert any(
            "a value and a group of values at once" in p for p in problems_of(from_environment("A_", first))
        )


def test_secrets_are_never_shown() -> None:
    """Neither settings nor problems show what is secret by mark or by name; that none is set may be seen."""
    loaded = load(App, from_mapping({"server": {"host": "h", "password": "hunter2", "pepper": "hunter2"}}))
    shown = {s.path: s.shown for s in loaded.settings}
    assert shown["server.password"] == shown["server.pepper"] == "[redacted]"
    assert load(App).origin("server.pepper") == "default"
    assert {s.path: s.shown for s in load(App).settings}["server.pepper"] == "''"
    text = str(problems_of(from_mapping({"server": {"host": "h", "password": ["hunter2"], "pepper": 2.5}})))
    assert "hunter2" not in text
    assert "2.5" not in text
    assert "hunter2" not in repr(Server("h", pepper="hunter2"))


def test_secrets_inside_values_are_hidden() -> None:
    """A login in a URL and a secret in a free table are not shown either."""
    values = {"names": ["pg://me:hunter2@host"], "extra": {"x": [{"password": "hunter2"}]}}
    assert "hunter2" not in str([s.shown for s in load(App, from_mapping(values)).settings])


def test_endless_nesting_is_a_problem() -> None:
    """A table that contains itself, and a variable with thousands of levels, are problems and no crash."""
    loop: dict[str, Any] = {}
    loop["extra"] = loop
    for layer in (from_mapping(loop), from_environment("A_", {"A_" + "__".join(["EXTRA"] * 5000): "1"})):
        assert "nested too deeply" in problems_of(layer)[-1]


def test_the_error_is_picklable_and_json_ready() -> None:
    """The problems survive a process border, and can be printed for a machine."""
    with pytest.raises(ConfigurationProblems) as caught:
        load(App, from_mapping({"nope": 1}))
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert json.loads(json.dumps(again.problems[0].to_dict()))["path"] == "nope"


def test_only_dataclasses_are_schemas() -> None:
    """Anything but a dataclass is refused as a schema; an unknown unit is refused as a unit."""
    with pytest.raises(UsageError, match="a dataclass"):
        load(dict)
    with pytest.raises(UsageError, match="unit is 'm'"):
        option(unit="m")
    with pytest.raises(UsageError, match="prefix is ''"):
        from_environment("")


def test_reload_puts_the_new_values_in_force(tmp_path: Path) -> None:
    """After a reload the value is the file's, and the drift says what changed and from where."""
    path = write(tmp_path, "a.toml", "timeout = 1\n")
    live = Live(lambda: load(App, from_file(path)))
    told: list[tuple[float, list[str]]] = []
    live.on_change(lambda value, drift: told.append((value.timeout, [str(c) for c in drift.changes])))
    assert not live.reload()
    path.write_text("attempts = 9\n\n")
    drift = live.drift()
    assert live.value.timeout == 1
    assert drift.to_dict()["attempts"] == {"before": "3", "after": "9", "origin": f"{path}:1"}
    assert live.reload() == drift
    assert live.value == App(attempts=9)
    assert told == [(300.0, [f"attempts: 3 → 9 ({path}:1)", "timeout: 1.0 → 300.0 (default)"])]
    assert str(live.drift()) == "no drift"


def test_a_broken_source_changes_nothing(tmp_path: Path) -> None:
    """When the file has become wrong, reload raises and the old record stays whole and in force."""
    path = write(tmp_path, "a.toml", "timeout = 1\nattempts = 2\n")
    live = Live(lambda: load(App, from_file(path)))
    before = live.value
    path.write_text("timeout = 5\nattempts = 0\n")
    with pytest.raises(ConfigurationProblems):
        live.reload()
    assert live.value is before


def test_a_raising_listener_does_not_stop_a_reload(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The other listeners are told, the new record is in force, and the error is logged."""
    values = iter([{}, {"timeout": 5}])
    live = Live(lambda: load(App, from_mapping(next(values))))
    told: list[float] = []
    live.on_change(lambda value, drift: 1 / 0)
    live.on_change(lambda value, drift: told.append(value.timeout))
    with caplog.at_level(logging.ERROR):
        live.reload()
    assert told == [5.0]
    assert "ZeroDivisionError" in caplog.text


def test_drift_hides_secrets() -> None:
    """A changed secret is reported as changed, not shown."""
    values = iter([{"server": {"host": "h", "password": p}} for p in ("hunter2", "hunter3")])
    drift = Live(lambda: load(App, from_mapping(next(values)))).reload()
    assert [c.path for c in drift.changes] == ["server.password"]
    assert "hunter" not in str(drift)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*PUBLIC, "host", "kind", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_values_give_a_record_or_problems(values: Any) -> None:
    """Whatever a file holds, the answer is a record or the list of problems, and never another error."""
    assert outcome(from_mapping(dict.fromkeys(PUBLIC, values)))


@given(
    st.dictionaries(
        st.sampled_from([f"A_{n.upper()}" for n in PUBLIC] + ["A_SERVER__PORT", "A_X__Y"]), st.text()
    )
)
def test_any_environment_gives_a_record_or_problems(environment: dict[str, str]) -> None:
    """Whatever the environment holds, the answer is a record or the list of problems."""
    assert outcome(from_environment("A_", environment))
