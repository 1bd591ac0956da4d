"""A run that was divided: its shards joined have what one run of all cases has."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import inner
import pytest
from template import chaoskit

from chaoskit.core.errors import UsageError
from chaoskit.core.result import ScenarioResult
from chaoskit.report import Report, merge, read, write
from chaoskit.report.gate import judge

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

SOURCE = """
    import os
    import saving
    from chaoskit import faults, scenario

    EVERYTHING = faults.disk().only("EIO") | faults.kill() | faults.power_loss()
    NAMES = [f"log{n}" for n in range(7)]

    def put(path, text, flags=os.O_WRONLY | os.O_CREAT):
        fd = os.open(path, flags)
        os.write(fd, text)
        os.close(fd)

    @scenario(EVERYTHING | faults.fsync_lies())
    def test_clean(chaos):
        saving.save(chaos.path, {"n": 1})
        chaos.run(saving.save, chaos.path, {"n": 2})
        assert saving.load(chaos.path) in ({"n": 1}, {"n": 2})

    @scenario(EVERYTHING, depth=2)
    def test_two_faults(chaos):
        saving.save(chaos.path, {"n": 1})
        chaos.run(saving.overwrite, chaos.path, {"n": 2})
        assert saving.load(chaos.path) in ({"n": 1}, {"n": 2})

    def halves(path):
        for name in ("a", "b", "c"):
            put(path / name, b"new")

    # A kill between any two of them breaks it: one stretch, at the ends of which shards differ.
    @scenario(EVERYTHING)
    def test_stretch(chaos):
        for name in ("a", "b", "c"):
            put(chaos.path / name, b"old")
        chaos.run(halves, chaos.path)
        texts = {(chaos.path / name).read_bytes() for name in ("a", "b", "c")}
        assert len(texts) == 1

    def all_logs(path, promise):
        for name in NAMES:
            put(path / name, b"new")
        promise("all")

    # Two of seven writes must be missing together: no state of the plan lacks just these.
    @scenario(faults.power_loss())
    def test_smallest(chaos):
        for name in NAMES:
            put(chaos.path / name, b"old")
        chaos.run(all_logs, chaos.path, chaos.promise)
        lost = [name for name in NAMES if (chaos.path / name).read_bytes() == b"old"]
        told = list(chaos.promised)
        assert not (told and {"log1", "log5"} <= set(lost))

    def trusting(path, promise):
        fd = os.open(path / "state", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"new")
        try:
            os.fsync(fd)
        except OSError:
            os.fsync(fd)
        os.close(fd)
        promise("new")

    @scenario(faults.disk().only("EIO") | faults.fsync_lies() | faults.power_loss())
    def test_lie(chaos):
        put(chaos.path / "state", b"old")
        chaos.run(trusting, chaos.path, chaos.promise)
        told = list(chaos.promised)
        assert not told or (chaos.path / "state").read_bytes() == b"new"
"""

KNOWN = """
    import saving
    from chaoskit import faults, scenario

    @scenario(faults.kill(), known={known})
    def test_known(chaos):
        chaos.run(saving.overwrite, chaos.path, {{"n": 1}})
        assert not (chaos.path / "job.json").exists() or saving.load(chaos.path)

    @scenario(faults.kill(), known={{"abc123": "mended long ago"}})
    def test_stale(chaos):
        chaos.run(saving.save, chaos.path, {{"n": 1}})
"""


def explored(directory: Path, source: str, *options: str) -> Report:
    """The report of one run."""
    inner.write(directory, source)
    inner.run(directory, "--chaoskit-workers=2", *options)
    return read(directory / "report")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Report]:
    """The reports of the whole and of three shards; ``joined`` is made of the three."""
    place = tmp_path_factory.mktemp("shards")
    names = ("1/3", "2/3", "3/3")
    shards = {name: explored(place, SOURCE, f"--chaoskit-shard={name}") for name in names}
    # By way of files, since that is how shards come together.
    for number, one in enumerate(shards.values()):
        write(one, place / f"shard{number}")
    joined = merge(read(place / f"shard{number}") for number in (2, 0, 1))
    return {"whole": explored(place, SOURCE), "joined": joined, **shards}


def results(report: Report) -> dict[str, ScenarioResult]:
    """By the name of its test what each scenario has shown."""
    return {entry.result.nodeid.partition("::")[2]: entry.result for entry in report.entries}


def findings(report: Report) -> dict[str, list[dict[str, Any]]]:
    """All that there is to say of each finding of each scenario."""
    return {name: [asdict(one) for one in result.findings] for name, result in results(report).items()}


def test_findings_are_those_of_the_whole(reports: Mapping[str, Report]) -> None:
    """Each finding is the same in every field, smallest crash state and second look included."""
    whole = findings(reports["whole"])
    assert not whole["test_clean"]
    assert all(found for name, found in whole.items() if name != "test_clean")
    assert findings(reports["joined"]) == whole


def test_shrinking_and_lies_were_needed(reports: Mapping[str, Report]) -> None:
    """The scenarios are those that tell right from nearly right: smaller states, lies, pairs of faults."""
    whole = results(reports["whole"])
    schedules = {
        name: [schedule for one in result.findings for schedule in one.schedules]
        for name, result in whole.items()
    }
    assert whole["test_smallest"].findings[0].shrunk_from
    assert any("=EIO; " in schedule for schedule in schedules["test_lie"])
    assert any("; " in schedule for schedule in schedules["test_two_faults"])


@pytest.mark.parametrize("name", ["test_clean", "test_stretch", "test_smallest", "test_lie"])
def test_numbers_are_those_of_the_whole(reports: Mapping[str, Report], name: str) -> None:
    """Cases, verdicts, crash states and books add up to those of one run, and so do the points."""

    def numbers(result: ScenarioResult) -> list[object]:
        points = [(point.name, sorted(point.faults), point.explored) for point in result.points]
        counts = sorted((one.points, one.verdict, one.count) for one in result.counted)
        return [result.verdicts, result.crash_states, result.budget, result.state, points, counts]

    assert numbers(results(reports["joined"])[name]) == numbers(results(reports["whole"])[name])


def test_each_case_is_in_one_shard(reports: Mapping[str, Report]) -> None:
    """No shard runs what another does: a clean plan is divided, and differs by one case at most."""
    shares = [results(reports[name])["test_clean"].tried for name in ("1/3", "2/3", "3/3")]
    assert sum(shares) == results(reports["whole"])["test_clean"].tried
    assert max(shares) - min(shares) <= 2


def test_a_shard_alone_would_tell_other_findings(reports: Mapping[str, Report]) -> None:
    """Grouping each shard by itself and adding up would not do: that is what the evidence is for."""
    alone = [findings(reports[name])["test_stretch"] for name in ("1/3", "2/3", "3/3")]
    shown = [{(one["id"], one["schedule"]) for one in shard} for shard in alone]
    whole = {(one["id"], one["schedule"]) for one in findings(reports["whole"])["test_stretch"]}
    assert set.union(*shown) != whole


def test_a_missing_shard_is_refused(reports: Mapping[str, Report]) -> None:
    """What was not run may have broken, so two thirds make no report."""
    with pytest.raises(UsageError, match=r"the shards 2/3 of test_inner.py::\w+ are missing; expected all 3"):
        merge([reports["1/3"], reports["3/3"]])


def test_shards_of_other_plans_are_refused(reports: Mapping[str, Report]) -> None:
    """A shard of another commit, or with other options, is named with its digest."""
    entries = [replace(e, result=replace(e.result, plan="another")) for e in reports["2/3"].entries]
    other = replace(reports["2/3"], entries=tuple(entries))
    with pytest.raises(UsageError, match=r"not of one plan: 1/3 has the plan \w+, 2/3 has the plan another"):
        merge([reports["1/3"], other, reports["3/3"]])


def test_merging_in_any_order_and_twice(reports: Mapping[str, Report]) -> None:
    """The order in which shards come does not show, nor that one comes twice."""
    shards = [reports[name] for name in ("3/3", "1/3", "2/3", "3/3")]
    assert merge(shards) == reports["joined"] == merge([reports["joined"]])


def test_the_gate_reads_a_joined_report(reports: Mapping[str, Report]) -> None:
    """No rule of the gate sees a difference between the joined report and that of the whole."""
    judged = [
        [(rule.rule, rule.value, rule.passes) for rule in judge(reports[name]) if rule.rule != "age-days"]
        for name in ("joined", "whole")
    ]
    assert judged[0] == judged[1]


def test_known_findings_are_judged_when_joined(tmp_path: Path) -> None:
    """A shard cannot tell a known finding from a new one and does not fail; joined, a stale one does."""
    named = explored(tmp_path, KNOWN.format(known={"000000": "not there"}))
    (finding,) = results(named)["test_known"].findings
    source = KNOWN.format(known={finding.id: "accepted"})
    shards = [explored(tmp_path, source, f"--chaoskit-shard={i}/2") for i in (1, 2)]
    assert {entry.outcome for shard in shards for entry in shard.entries} == {"passed"}
    joined = results(merge(shards))
    assert [one.known for one in joined["test_known"].findings] == ["accepted"]
    assert joined["test_known"].state == "passed"
    assert (joined["test_stale"].state, joined["test_stale"].stale) == ("failed", ("abc123",))


def test_more_shards_than_cases(tmp_path: Path) -> None:
    """A shard without a case is not an error, and the joined report counts each case once."""
    source = """
        import saving
        from chaoskit import faults, scenario

        @scenario(faults.kill(), budget=2)
        def test_it(chaos):
            chaos.run(saving.save, chaos.path, {"n": 1})
    """
    shards = [explored(tmp_path, source, f"--chaoskit-shard={i}/3") for i in (1, 2, 3)]
    assert [shard.totals.cases for shard in shards] == [1, 1, 0]
    assert merge(shards).totals.cases == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--chaoskit-shard=0/3"], "which part of how many, such as 1/3"),
        (["--chaoskit-shard=4/3"], "which part of how many, such as 1/3"),
        (["--chaoskit-shard=1/2", "--chaoskit-sync-audit"], "none together with an audit of syncs"),
        (["--chaoskit-shard=1/2", "--chaoskit-exitfirst"], "none together with an end at the first finding"),
        (["--chaoskit-shard=1/2", "--chaoskit-replay=fsync(a)#1=kill"], "none together with a replay"),
    ],
)
def test_what_a_shard_cannot_be(tmp_path: Path, options: list[str], text: str) -> None:
    """Parts that do not exist, and questions that need all cases or one, are refused before anything runs."""
    inner.write(tmp_path, SOURCE)
    ran = inner.run(tmp_path, "-k", "clean", *options)
    assert set(ran.outcomes.values()) == {"error"}
    assert text in ran.output


def test_a_command_is_divided_alike(tmp_path: Path) -> None:
    """``chaoskit explore --shard`` and ``chaoskit report merge`` do the same for any program."""
    program = ["sh", "-c", "printf whole > state"]
    check = "test ! -e state || test -s state"
    words = ["explore", "--faults", "kill,disk", "--check", check, "--workers", "1"]

    def run(name: str, *options: str) -> int:
        return chaoskit([*words, *options, "--report", str(tmp_path / name), "--", *program])

    assert run("whole") == max(run("one", "--shard", "1/2"), run("two", "--shard", "2/2")) == 1
    joined = merge([read(tmp_path / "one"), read(tmp_path / "two")])
    (whole,) = read(tmp_path / "whole").entries
    (entry,) = joined.entries
    assert [asdict(one) for one in entry.result.findings] == [asdict(one) for one in whole.result.findings]
    assert json.loads((tmp_path / "one" / "report.json").read_text())["scenarios"][0]["part"]
