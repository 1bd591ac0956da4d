"""Reports tell no secrets, and nothing that stands in them moves a cursor or adds markup."""

from __future__ import annotations

import json
import re
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chaoskit.core.case import CaseFailure, Difference
from chaoskit.core.result import Options, ScenarioResult
from chaoskit.report import Collector, Report, markdown, summary_lines, write
from chaoskit.report.concealing import NOT_SHOWN, concealed
from chaoskit.report.explain import violation_text
from chaoskit.report.markup import Markup, escape, md
from chaoskit.report.secrets import REDACTED, Secrets, is_secret_file, is_secret_name
from chaoskit.report.visible import on_one_line, visible
from chaoskit.runtime.redact import redact_text

from .samples import run, violated

# Put together here, so that no scanner takes this file for a leak.
TOKENS = [
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "gh" + "p_" + "a1" * 18,
    "glpat" + "-" + "a1" * 10,
    "xoxb" + "-1234567890-abcdef",
    "xapp" + "-1-A0B1-1234567890",
    "sk" + "-proj-" + "a1" * 20,
    "npm" + "_" + "a1" * 18,
    "hf" + "_" + "aB1" * 11,
    "SG" + "." + "a1" * 11 + "." + "b2" * 20,
    "eyJ" + "hbGciOi.eyJzdWIiOi.SflKxwRJ",
    "$2b$12$" + "abcdefghijklmnopqrstuv",
]
TEXTS = [
    "password=hunter2xyz",
    "{'password': 'hunter2xyz'}",
    '{"api_key": "hunter2xyz"}',
    '"{\\"password\\": \\"hunter2xyz\\"}"',
    'os.environ["DB_TOKEN"] = "hunter2xyz"',
    "login(user, password='hunter2xyz')",
    "postgres://u:hunter2xyz@h/db",
    "postgres://u:hunt/er2xyz@h/db",
    "mysql -u root -phunter2xyz db",
    "curl -u admin:hunter2xyz http://h",
    "curl --user admin:hunter2xyz http://h",
    "tool --db-password hunter2xyz",
    "Authorization: Basic aHVudGVyMnh5eg==",
    "('Authorization', 'Bearer hunter2xyz')",
    "Cookie: a=hunter2xyz; b=hunter2xyz",
    "machine h login me password hunter2xyz",
    "AccountName=n;AccountKey=hunter2xyz==;End",
    *TOKENS,
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_looks_secret_is_hidden(text):
    """Tokens, logins, values after names and options: none is left, and hiding again changes nothing."""
    hidden = Secrets().hide(text)
    assert REDACTED in hidden
    assert not any(part in hidden for part in ("hunter2", "er2xyz", "aHVudGVy", *TOKENS))
    assert Secrets().hide(hidden) == hidden


@pytest.mark.parametrize("text", TOKENS)
def test_what_the_runtime_hides_is_hidden_too(text):
    """A token that the redactor of logs knows is known to that of reports."""
    if redact_text(text) != text:
        assert Secrets().hide(text) == REDACTED


@pytest.mark.parametrize(
    "kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "PGP "], ids=lambda kind: kind.strip() or "plain"
)
@pytest.mark.parametrize("as_repr", [False, True])
def test_private_keys_are_hidden_whole(kind, as_repr):
    """Also encrypted ones with their headers, in a repr, and without an end."""
    end = f"PRIVATE KEY{' BLOCK' if kind == 'PGP ' else ''}-----"
    head = f"-----BEGIN {kind}{end}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB12\n\nMIIEabc+/=\n"
    text = f"{head}-----END {kind}{end}\n"
    for one in (text, head):
        shown = repr(one) if as_repr else one
        hidden = Secrets().hide(f"before {shown} after" if as_repr else f"before {shown}")
        assert hidden.startswith("before ")
        assert not re.search("MIIE|AES|ENCRYPTED", hidden)


@pytest.mark.parametrize(
    "text",
    [
        "def load(password: str) -> None:",
        "connect(token=token)",
        "find . -print -path x",
        "pytest -p no:randomly --chaoskit-report out",
        "docker run -p8080:80 image",
        "https://localhost:8080/path",
        "d41d8cd98f00b204e9800998ecf8427e" * 2,
        "TestCheckpointStoreKeepsEverythingWhenDisk2Full",
        "assert {'n': 1} == {'n': 2}",
        "write(secret.json)#1=EIO; run2:open(token)#1=kill",
        "the author's tokenizer bypasses it",
    ],
)
def test_what_is_not_secret_is_shown(text):
    """Program text, paths, digests and schedules are what a reader needs, and stay."""
    assert Secrets().hide(text) == text


def test_values_of_the_environment_are_hidden_wherever_they_stand():
    """A value whose variable has a secret name is known, whatever it looks like; short ones are not."""
    variables = {"DEPLOY_TOKEN": "zorro the fox", "PIN": "1234", "HOME": "/home/zorro"}
    # Where a shell is and where its agent listens are not secrets, though the names sound like it.
    secrets = Secrets.of({**variables, "PWD": "/home/zorro", "SSH_AUTH_SOCK": "/home/zorro/agent"})
    assert secrets.hide("it said: zorro the fox 1234 /home/zorro") == f"it said: {REDACTED} 1234 /home/zorro"


def test_words_of_a_command_line_are_hidden():
    """The value of an option counts, in the same word or in the next."""
    words = ["tool", "--password", "a b", "--token=c", "-u", "me:d", "--depth", "2", "file"]
    assert Secrets().hide_words(words) == (
        *("tool", "--password", REDACTED, f"--token={REDACTED}", "-u", REDACTED, "--depth", "2", "file"),
    )


@pytest.mark.parametrize(
    "unit", ["-a", "password:", "://a:", "x", "a1B", "-----BEGIN PRIVATE KEY-----", "'a", "-p", "--a ", 'a="']
)
def test_time_is_linear_in_the_text(unit):
    """What a form begins with, ten times as often, takes some ten times as long and not a hundred times."""

    def seconds(size):
        text = unit * (size // len(unit))
        began = time.process_time()
        Secrets().hide(text)
        return time.process_time() - began

    assert seconds(400_000) < 40 * max(seconds(40_000), 0.005)


@pytest.mark.parametrize("name", [".env", "a/.ssh/config", "secrets/x", "token.json", "server.pem", "id_rsa"])
def test_files_are_secret_by_name(name):
    """Also by the name of a directory on the way."""
    assert is_secret_file(name)


@pytest.mark.parametrize("name", ["job.json", "tokenizer.json", "keys.txt", "environment.yml"])
def test_other_files_are_shown(name):
    """A file whose name only sounds like it is not a secret."""
    assert not is_secret_file(name)
    assert not is_secret_name("author")


def leaky() -> ScenarioResult:
    """A finding with a secret in each kind of text, and a file that is secret by its name."""
    failure = CaseFailure(
        "assertion",
        "AssertionError",
        "assert 'hunter2hunter2' == 'x'",
        "E   assert 'hunter2hunter2' == 'x'\npassword = 'swordfish'",
    )
    differences = (
        Difference("credentials", "changed", "file", "file", "expected 'hunter2hunter2', found 'x'"),
        Difference("job.json", "changed", "file", "file", "expected 'token: swordfish', found ''"),
    )
    base = violated()
    finding = replace(
        base.findings[0],
        failure=failure,
        differences=differences,
        source=("login('a', password='swordfish')",),
    )
    runs = tuple(replace(one, error="E: token=swordfish") for one in base.cases[0].runs)
    case = replace(
        base.cases[0], runs=runs, output="DB_PASSWORD=swordfish", differences=differences, finding=0
    )
    options = Options(command="--check 'x --password swordfish' -- prog", test="t.py::test_it")
    return replace(base, cases=(case,), findings=(finding,), options=options, error="pwd: swordfish")


def collected(*, show: bool = False) -> Report:
    collector = Collector(Path("/nowhere"), show_secrets=show)
    collector.add(leaky().to_dict(), outcome="failed", reason="password: swordfish")
    return collector.report(command=["pytest", "--db-password", "swordfish"])


def test_no_view_tells_a_secret(tmp_path):
    """Neither the text of a failure, nor the JSON, nor the Markdown; files for their owner alone."""
    report = collected()
    paths = write(report, tmp_path)
    shown = [violation_text(concealed(leaky(), Secrets())), *(path.read_text() for path in paths)]
    shown += ["\n".join(map(str, summary_lines(report, verbose=True)))]
    for text in shown:
        assert "swordfish" not in text
        assert "hunter2" not in text
    assert NOT_SHOWN in shown[0]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}


def test_everything_is_shown_when_asked_for(tmp_path):
    """The switch shows all of it, as the program left it."""
    json_path, markdown_path = write(collected(show=True), tmp_path)
    assert json_path.read_text().count("swordfish") >= 7
    assert "hunter2hunter2" in markdown_path.read_text()
    assert concealed(leaky(), None) == leaky()


def test_what_replays_a_case_stays_whole():
    """Schedules and names of tests are no place for secrets, and must lead back to the case."""
    shown = concealed(leaky(), Secrets())
    assert [case.schedule for case in shown.cases] == [case.schedule for case in leaky().cases]
    assert (shown.nodeid, shown.options.test) == (leaky().nodeid, leaky().options.test)


HOSTILE = "\x1b]0;title\x07\x1b[2J\u202ename\u2066\x9b31m\r\x7f"


def hostile() -> ScenarioResult:
    """Escape sequences and bidirectional controls in everything that comes from the program."""
    base = violated()
    difference = Difference(f"{HOSTILE}\nforged: line", "extra", "", f"file {HOSTILE}", HOSTILE)
    failure = CaseFailure("assertion", "AssertionError", f"assert {HOSTILE}", f"E  {HOSTILE}")
    finding = replace(base.findings[0], failure=failure, differences=(difference,), source=(HOSTILE,))
    case = replace(base.cases[0], output=HOSTILE, differences=(difference,), finding=0, note=HOSTILE)
    return replace(base, nodeid=f"t.py::t[{HOSTILE}]", cases=(case,), findings=(finding,), error=HOSTILE)


def test_no_view_passes_a_control_character(tmp_path):
    """What a terminal or a reader's eye would obey is spelt out; JSON has its own escapes."""
    collector = Collector(Path("/nowhere"))
    collector.add(hostile().to_dict(), outcome="failed", reason=HOSTILE)
    report = collector.report(command=["pytest", HOSTILE])
    json_path, markdown_path = write(report, tmp_path)
    views = [violation_text(hostile()), *map(str, summary_lines(report, verbose=True))]
    views += [markdown_path.read_text(), json_path.read_text()]
    for text in views:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "\\x1b" in views[0]
    assert "\nforged: line" not in views[0]
    # Nothing is lost by that: the JSON still says what the names were.
    assert HOSTILE in json.loads(json_path.read_text())["scenarios"][0]["findings"][0]["source"]


def test_text_that_can_be_seen_stays():
    """Letters of any script, emoji, tabs and line ends are text."""
    text = "naïve 漢字 שלום\t🙂\nnext"
    assert visible(text) == text
    assert on_one_line("a\nb\x1b") == "a\\nb\\x1b"


def test_markdown_escapes_what_is_no_markup():
    """A template escapes all it is given but Markup: forgetting it is not possible."""
    assert md("- {}", "<b>*x*</b> & `y`") == r"- \<b\>\*x\*\</b\> \& \`y\`"
    assert md("- {}", Markup("**x**")) == "- **x**"
    assert escape("1. https://h") == r"1\. https\://h"
    made = markdown(Report((run(),), ()))
    assert "No scenario was run." in made
