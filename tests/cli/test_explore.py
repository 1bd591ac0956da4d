"""``chaoskit explore`` and ``chaoskit replay``: real programs, real faults, stable exit codes."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from pathlib import Path

import pytest
from template import chaoskit

from chaoskit.cli.group import FAILED, NO, WRONG_USE
from chaoskit.inject.kernel import KernelBackend
from chaoskit.report import Report

pytestmark = pytest.mark.skipif(
    KernelBackend().unavailable() is not None, reason="the kernel backend does not work here"
)

OVERWRITE = "printf new > state && echo saved"
REPLACE = "printf new > state.tmp && mv state.tmp state && echo saved"
OF_PYTEST = ("--chaoskit-", "chaos.path", "timeout=", "allow_inconclusive", "fixture")
"""What messages name where a test is explored, and what this command does not have."""
HOLDS = "grep -qx -e old -e new state"


def explore(*options: str, program: str, check: str = HOLDS, faults: str = "kill") -> int:
    """Run the command with a shell program that has ``old`` in the file ``state`` when it starts."""
    common = ["--setup", "printf old > state", "--check", check, "--faults", faults]
    return chaoskit(["explore", *common, *options, "--", "sh", "-c", program])


def test_a_program_that_overwrites_its_file_is_caught(capsys: pytest.CaptureFixture[str]) -> None:
    """A kill between truncation and write is found, and the exit code says no."""
    assert explore(program=OVERWRITE) == NO
    printed = capsys.readouterr().out
    assert "violated" in printed
    assert "chaoskit replay" in printed


@pytest.mark.parametrize("words", ["", "; echo wrong", "; echo much; echo is; echo wrong"])
def test_how_a_check_ended_is_said_once(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its status and last line are one line; what it printed is below that if it is more."""
    explore(
        "--only", "kill", "--path", "state", program=OVERWRITE, check=f"{HOLDS} || {{ true{words}; exit 7; }}"
    )
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    said = [line for line in lines if "ended with status" in line]
    last = ": wrong" if words else ""
    assert said == [f"broken assertion: the check ended with status 7{last}"] * len(said)
    assert lines.count("wrong") == (len(said) if "much" in words else 0)
    assert said


def test_a_finding_comes_with_the_timeline_of_its_case(capsys: pytest.CaptureFixture[str]) -> None:
    """What the program did up to the kill, recorded from a second execution of the case itself."""
    assert explore("--json", program=OVERWRITE) == NO
    [scenario] = _scenarios(capsys.readouterr().out)
    shown = {finding["schedule"] for finding in scenario["findings"]}
    timelines = {case["schedule"]: case["timeline"] for case in scenario["cases"] if case.get("timeline")}
    assert set(timelines) == shown
    for schedule, timeline in timelines.items():
        assert timeline["recorded"]
        [struck] = [entry for entry in timeline["entries"] if entry.get("struck")]
        assert schedule == f"{struck['operation']}=kill"
        assert "SIGKILL" in struck["struck"]
        assert any(entry["operation"] == "open(state)#1" for entry in timeline["entries"])


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ("share,interference", "share"),
        ("interference", "interference"),
        ("interference,share", "interference"),
    ],
)
def test_other_worlds_are_asked_for_by_name(
    families: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not found for a moment is a fault of a share or of other processes, and says which."""
    program = 'found=$(cat state 2>&-) || found=lost; printf %s "$found" > state.tmp && mv state.tmp state'
    assert explore("--only", "ENOENT", "--path", "state", "--json", program=program, faults=families) == NO
    [scenario] = _scenarios(capsys.readouterr().out)
    assert {finding["fault_class"] for finding in scenario["findings"]} == {expected}
    assert all(finding["schedule"].endswith("open(state)#1=ENOENT") for finding in scenario["findings"])


def test_a_program_that_replaces_its_file_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    """The corrected twin keeps the invariant in every case, each with its receipt."""
    assert explore("--json", program=REPLACE) == 0
    [scenario] = _scenarios(capsys.readouterr().out)
    assert {case["verdict"] for case in scenario["cases"]} <= {"failed safe", "tolerated"}
    assert all(case["runs"][0]["receipts"] for case in scenario["cases"])


def test_a_printed_line_is_a_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """What was acknowledged before the kill must be there: the check gets the lines on its input."""
    keeps_word = "read promised || exit 0; grep -qx new state"
    assert explore(program=REPLACE, check=keeps_word) == 0
    early = "echo saved; printf new > state.tmp && mv state.tmp state"
    assert explore(program=early, check=keeps_word) == NO
    assert "promise" in capsys.readouterr().out


def test_the_printed_replay_line_repeats_the_finding(capsys: pytest.CaptureFixture[str]) -> None:
    """The line goes back into the command as it was printed, and breaks in the same way."""
    explore(program=OVERWRITE)
    lines = capsys.readouterr().out.splitlines()
    line = next(line.strip() for line in lines if line.strip().startswith("chaoskit replay"))
    assert chaoskit(shlex.split(line)[1:]) == NO
    assert "1 case: 1 finding" in capsys.readouterr().out


def test_the_replay_line_of_the_document_shows_its_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the rename that works, so that the directory that it keeps shows what is wrong."""
    text = (Path(__file__).parents[2] / "docs" / "reference" / "explore.md").read_text("utf-8")
    line = text[text.index("$ chaoskit replay") + 2 :].partition("```")[0].replace("\\\n", "")
    words = shlex.split(line)[1:]
    explore("--list", program=REPLACE)
    if "rename(state.tmp -> state)#2" not in capsys.readouterr().out:
        pytest.skip("the mv of this machine makes one attempt")
    monkeypatch.chdir(tmp_path)
    assert chaoskit(words) == NO
    assert "violated" in capsys.readouterr().out
    assert (tmp_path / "left" / "state").read_bytes() == b""


def test_replay_keeps_the_directory_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--keep`` leaves what the fault left, for a look; a place that exists is refused."""
    explore(program=OVERWRITE)
    lines = capsys.readouterr().out.splitlines()
    line = next(line.strip() for line in lines if line.strip().startswith("chaoskit replay"))
    words = shlex.split(line)[1:]
    kept = tmp_path / "kept"
    assert chaoskit([*words[:2], "--keep", str(kept), *words[2:]]) == NO
    assert (kept / "state").read_bytes() == b""
    capsys.readouterr()
    assert chaoskit([*words[:2], "--keep", str(kept), *words[2:]]) == WRONG_USE
    assert str(kept) in capsys.readouterr().err


def test_recovery_runs_before_the_check() -> None:
    """A recovery that repairs makes the overwriting program pass."""
    assert explore("--recover", "test -s state || printf old > state", program=OVERWRITE) == 0


def test_a_recovery_must_change_nothing_the_second_time(capsys: pytest.CaptureFixture[str]) -> None:
    """A recovery that appends each time is a finding of its own."""
    code = explore("--recover", "echo again >> log", program=REPLACE)
    assert code != 0
    assert "second time" in "".join(capsys.readouterr())


def test_a_workspace_is_copied_for_each_case(tmp_path: Path) -> None:
    """The user's own files are never touched."""
    (tmp_path / "state").write_text("old")
    options = ["--workspace", str(tmp_path), "--check", HOLDS, "--faults", "kill"]
    code = chaoskit(["explore", *options, "--", "sh", "-c", OVERWRITE])
    assert code == NO
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    assert (tmp_path / "state").read_text() == "old"


def test_hard_links_inside_of_a_workspace_stay_hard_links(tmp_path: Path) -> None:
    """Two names of one file are that in each case, too, and in what ``--keep`` leaves."""
    (tmp_path / "workspace" / "sub").mkdir(parents=True)
    (tmp_path / "workspace" / "a").write_text("old")
    (tmp_path / "workspace" / "sub" / "b").hardlink_to(tmp_path / "workspace" / "a")
    options = ["--workspace", str(tmp_path / "workspace"), "--keep", str(tmp_path / "kept")]
    check = "test a -ef sub/b && grep -q new a"
    program = ["sh", "-c", "printf new > sub/b; printf x > done"]
    assert chaoskit(["replay", "write(done)#1=kill", *options, "--check", check, "--", *program]) == 0
    assert (tmp_path / "kept" / "a").samefile(tmp_path / "kept" / "sub" / "b")
    assert not (tmp_path / "kept" / "a").samefile(tmp_path / "workspace" / "a")


@pytest.mark.parametrize("kind", ["a named pipe", "a socket"])
def test_a_workspace_that_cannot_be_copied_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The special file is named with its kind: a copy of it would not be connected to anything."""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    if kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("odd")
    else:
        os.mkfifo("odd")
    words = ["--workspace", str(tmp_path), "--", "sh", "-c", "echo > f"]
    assert chaoskit(["explore", *words]) == WRONG_USE
    said = capsys.readouterr().err
    assert "'sub/odd'" in said
    assert kind in said


def test_a_named_pipe_of_the_setup_does_no_harm(tmp_path: Path) -> None:
    """What the refusal of a workspace with a pipe advises works, ``--keep`` included."""
    options = ["--setup", "mkfifo pipe", "--check", "test -p pipe"]
    assert chaoskit(["explore", *options, "--", "sh", "-c", "echo > f"]) == 0
    keep = ["--keep", str(tmp_path / "kept")]
    assert chaoskit(["replay", "write(f)#1=kill", *options, *keep, "--", "sh", "-c", "echo > f"]) == 0


def test_two_workers_see_the_same_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Cases and verdicts do not depend on the number of processes."""
    seen = []
    for workers in ("1", "2"):
        options = ("--workers", workers, "--only", "EIO,ENOSPC,kill", "--json")
        explore(*options, program=OVERWRITE, faults="disk,kill")
        [scenario] = _scenarios(capsys.readouterr().out)
        seen.append([(case["schedule"], case["verdict"]) for case in scenario["cases"]])
    assert seen[0] == seen[1]


def test_the_list_of_points_runs_no_case(capsys: pytest.CaptureFixture[str]) -> None:
    """``--list`` shows each call with its result and number of faults."""
    assert explore("--list", program=REPLACE) == 0
    printed = capsys.readouterr().out
    assert "mv~1:rename(state.tmp -> state)#1" in printed


def test_a_report_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--report`` leaves the JSON and the Markdown."""
    assert explore("--report", str(tmp_path / "r"), program=REPLACE) == 0
    assert json.loads((tmp_path / "r" / "report.json").read_text())["scenarios"]
    assert (tmp_path / "r" / "summary.md").exists()


@pytest.mark.parametrize("place", ["file", "file/below", "dangling"])
def test_a_report_that_cannot_be_written_is_refused_at_once(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is run for a report that has no place to go."""
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    ran = tmp_path / "ran"
    assert explore("--report", str(tmp_path / place), program=f"touch {ran}; echo > f") == WRONG_USE
    assert not ran.exists()
    assert str(tmp_path / place) in capsys.readouterr().err


def test_a_report_that_fails_in_the_end_hides_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The place is taken while the cases run: the findings are printed, and the exit code says error."""
    place = tmp_path / "r"
    taken = f"test -e {place} || touch {place}; {OVERWRITE}"
    assert explore("--report", str(place), program=taken) == FAILED
    printed = capsys.readouterr()
    assert "violated" in printed.out
    assert str(place) in printed.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--faults", "dsik", "--", "true"], "disk"),
        (["--only", "ENOSPCC", "--", "true"], "ENOSPC"),
        (["--workspace", "/nowhere/at/all", "--", "true"], "/nowhere/at/all"),
        (["--setup", "exit 3", "--", "true"], "status 3"),
        (["--model", "zfs", "--faults", "power-loss", "--", "sh", "-c", "echo > f"], "zfs"),
        (["--faults", "delay=soon", "--", "true"], "soon"),
        (["--faults", "delay", "--", "true"], "delay=0.5"),
        (["--faults", "signal", "--", "true"], "signal=SIGTERM"),
        (["--faults", "signal=", "--", "true"], "--faults"),
        (["--faults", "errnos", "--", "true"], "--faults"),
        (["--faults", "FaultSet", "--", "true"], "'FaultSet'"),
        (["--faults", "", "--", "true"], "power-loss"),
        ([], "COMMAND"),
        (["--", "true"], "did nothing"),
        (["--faults", "kill", "--path", "no.such", "--", "sh", "-c", "echo > f"], "chaoskit explore --list"),
    ],
)
def test_wrong_use_is_answered_in_one_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the value; the exit code is that of wrong use."""
    assert chaoskit(["explore", *words]) == WRONG_USE
    said = capsys.readouterr().err
    assert expected in said
    assert not any(word in said for word in OF_PYTEST)


def test_a_program_that_fails_without_faults_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to learn from a program that does not work."""
    assert chaoskit(["explore", "--", "sh", "-c", "echo oops >&2; exit 7"]) not in (0, NO)
    assert "oops" in capsys.readouterr().err
    assert chaoskit(["explore", "--check", "false", "--", "sh", "-c", "echo > f"]) not in (0, NO)
    assert "check" in capsys.readouterr().err


def test_messages_name_what_this_command_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The engine serves pytest as well; its options and arguments are never named here."""
    program = ["--", "sh", "-c", "echo > f"]
    assert chaoskit(["explore", "--time", "real", "--timeout", "0.2", "--", "sleep", "60"]) == FAILED
    hung = capsys.readouterr().err
    assert "--timeout" in hung
    assert (
        chaoskit(["explore", "--check", f"test ! -e {tmp_path}/x && touch {tmp_path}/x", *program]) == FAILED
    )
    once = capsys.readouterr().err
    assert "failed the second time" in once
    assert chaoskit(["replay", "write(g)#1=kill", *program]) == WRONG_USE
    unknown = capsys.readouterr().err
    assert "chaoskit explore --list" in unknown
    changes = f"date +%N >> {tmp_path}/y; test $(wc -l < {tmp_path}/y) -gt 2 || echo > f; echo > g"
    assert chaoskit(["explore", "--faults", "kill", "--path", "f", "--", "sh", "-c", changes]) == NO
    unjudged = capsys.readouterr().out
    assert "could not be judged" in unjudged
    said = hung + once + unknown + unjudged
    assert not any(word in said for word in OF_PYTEST)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("write(f)#1=power_loss[drop 99]", "there is no step 99: 3 are unsynced"),
        ("write(f)#1=power_loss[bogus]", "'bogus' means nothing here"),
        ("write(f)#1=power_loss[drop 3]", "models that do: strict"),
        ("write(f)#1=power_loss[all]; close(f)#1=power_loss[all]", "has power_loss 2 times"),
        ("write(f)#1=EIO; close(f)#1=power_loss[drop 9]", "there is no step 9: 1 are unsynced"),
    ],
)
def test_a_power_loss_that_cannot_be_replayed_is_explained(
    lost: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step, the word or the model that is wrong is named, not only the schedule as a whole."""
    assert chaoskit(["replay", lost, "--", "sh", "-c", "echo hi > f"]) == WRONG_USE
    assert expected in capsys.readouterr().err


def test_a_fix_for_a_program_is_in_no_language(capsys: pytest.CaptureFixture[str]) -> None:
    """A shell has no file.flush(): the call that is missing is named, and the line that makes it."""
    assert explore(program=REPLACE, faults="power-loss") == NO
    printed = capsys.readouterr().out
    fix = printed[printed.index("fix:") :].splitlines()[1:3]
    assert [line.strip() for line in fix] == [
        "call fsync on `state.tmp` after the last write to it (in a shell: sync state.tmp),",
        "and rename it over `state` only then",
    ]


def test_the_fix_in_a_shell_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """With the line that the fix names, and one for the directory, nothing is found or warned of."""
    fixed = "printf new > state.tmp && sync state.tmp && mv state.tmp state && sync . && echo saved"
    check = "read line || exec grep -qx -e old -e new state; grep -qx new state"
    assert explore("--json", program=fixed, faults="power-loss", check=check) == 0
    [scenario] = _scenarios(capsys.readouterr().out)
    assert scenario["advice"] == []


@pytest.mark.parametrize(
    ("faults", "expected"),
    [("kill,fsync-lies", "'bogus' means nothing here"), ("kill", "expected the family fsync_lies")],
)
def test_a_power_loss_after_a_failed_fsync_is_explained_as_well(
    faults: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its states are known only once the failed fsync was recorded; the sentence is the same."""
    program = "import os; f = open('f', 'w'); print(1, file=f, flush=True)\n"
    program += "try: os.fsync(f.fileno())\nexcept OSError: os.fsync(f.fileno())"
    lost = "fsync(f)#1=EIO; fsync(f)#2=power_loss[bogus]"
    assert chaoskit(["replay", lost, "--faults", faults, "--", sys.executable, "-c", program]) == WRONG_USE
    assert expected in capsys.readouterr().err


def test_a_program_written_in_python_is_explored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An interpreter's own files are not counted, only those of the case."""
    program = tmp_path / "program.py"
    program.write_text("open('state', 'w').write('new')\n")
    options = ["--setup", "printf old > state", "--check", HOLDS, "--faults", "kill", "--json"]
    code = chaoskit(["explore", *options, "--", sys.executable, str(program)])
    assert code == NO
    [entry] = Report.from_dict(json.loads(capsys.readouterr().out)).entries
    assert {point.target for point in entry.result.points} <= {"state", ""}


def _scenarios(text: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(text)["scenarios"]
    return found


def test_a_check_finds_out_how_the_program_ended(tmp_path: Path) -> None:
    """Its status, or the name of the signal that killed it, or after a power loss neither; both are set."""
    seen = tmp_path / "seen"
    check = f'set -u; echo "check[$CHAOSKIT_STATUS/$CHAOSKIT_SIGNAL]" >> {seen}'
    recover = f'set -u; echo "recover[$CHAOSKIT_STATUS/$CHAOSKIT_SIGNAL]" >> {seen}'
    program = "printf new > state || exit 9"
    explore("--recover", recover, program=program, check=check, faults="kill,disk,power-loss")
    lines = set(seen.read_text().split())
    assert {"check[0/]", "check[9/]", "check[/SIGKILL]", "check[/]", "recover[/SIGKILL]"} <= lines
    assert all(line.startswith("recover") or line.replace("check", "recover") in lines for line in lines)


def test_a_success_without_its_result_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """A check can demand that a program which reports success has its result; a clean twin holds."""
    check = 'test "$CHAOSKIT_STATUS" != 0 || grep -qx new state'
    assert explore("--only", "ENOSPC", program="printf new > state; true", check=check, faults="disk") == NO
    assert explore("--only", "ENOSPC", program="printf new > state", check=check, faults="disk") == 0


def test_without_a_check_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """No findings without a check means little, so both views say that none was given."""
    assert chaoskit(["explore", "--faults", "kill", "--", "sh", "-c", "printf new > state"]) == 0
    assert "no check was given" in capsys.readouterr().out
    assert explore(program=REPLACE) == 0
    assert "no check" not in capsys.readouterr().out


SERVER = """
import http.server, sys

class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "400")
        self.end_headers()
        self.wfile.write(b"x" * 400)

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Pages).serve_forever()
"""
CLIENT = """
import sys, urllib.request

page = urllib.request.urlopen("http://files.example/page", timeout=0.5)
body = b"".join(iter(lambda: page.read(64), b""))
if "careful" in sys.argv and len(body) != int(page.headers["Content-Length"]):
    sys.exit("cut")
open("page", "wb").write(body)
"""


@pytest.mark.parametrize(("how", "expected"), [("hasty", 1), ("careful", 0)])
def test_a_program_that_talks_to_a_server_is_explored(
    tmp_path: Path, how: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server is started for each case, found by its name, and what it got is told to the check."""
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "client.py").write_text(CLIENT)
    check = (
        'test ! -e page || { test "$(wc -c < page)" -eq 400 && grep -q /page "$CHAOSKIT_REQUESTS"; } '
        '&& test -n "$CHAOSKIT_PEER_FILES_EXAMPLE"'
    )
    server = f"files.example={sys.executable} -S {tmp_path}/server.py {{port}}"
    asked = ["--faults", "network", "--only", "eof,reset", "--check", check, "--peer", server]
    status = chaoskit(["explore", *asked, "--", sys.executable, "-S", f"{tmp_path}/client.py", how])
    told = capsys.readouterr().out
    assert status == expected, told
    assert ("http(files.example,GET,/page)#1=eof[" in told) == (expected == 1)
    assert ("--peer" in told) == (expected == 1)


@pytest.mark.parametrize("word", ["files.example", "files.example=python3 server.py", "=x {port}"])
def test_a_peer_that_is_none_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says how a server is written."""
    assert chaoskit(["explore", "--peer", word, "--", "true"]) == WRONG_USE
    assert "{port}" in capsys.readouterr().err


@pytest.mark.parametrize("kept", ["$PWD $word", "$word"])
@pytest.mark.parametrize("sync", ["sync s.tmp", "true"])
def test_a_program_that_puts_its_directory_under_a_checksum_is_judged_where_it_was_recorded(
    kept: str, sync: str
) -> None:
    """Clean with a sync and broken without, with the path in the file as with its checksum alone."""
    summed = 'printf "%s" "$PWD $word" | sha256sum'
    save = f'{{ {summed}; echo "{kept}"; }} > s.tmp && {sync} && mv s.tmp store && sync . && echo done'
    check = f'{{ read sum dash; read text; }} < store; word=${{text##* }}; test "$({summed})" = "$sum  $dash"'
    command = ["explore", "--setup", f"word=old; {save}", "--check", check, "--faults", "power_loss"]
    ended = chaoskit([*command, "--model", "strict", "--workers", "2", "--", "sh", "-c", f"word=new; {save}"])
    assert ended == (NO if sync == "true" else 0)
