"""The page: one file that needs no script, is valid, and stays small."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from chaoskit.core.auditing import SYNC_WORDS, SyncResult
from chaoskit.core.case import VERDICTS
from chaoskit.core.counted import CountedCases, RecoveryTimes
from chaoskit.core.handling import HandlerResult
from chaoskit.core.operation import Frame
from chaoskit.core.result import OracleTrial
from chaoskit.core.source import Excerpt
from chaoskit.faults.calls import FAMILIES
from chaoskit.report import Entry, Report, failing, handling, kinds
from chaoskit.report.gate import judge
from chaoskit.report.marks import mark

from .samples import SITE, clean, report, run, violated

pytest.importorskip("jinja2", reason="the extra report is not installed")
html5lib = pytest.importorskip("html5lib", reason="what checks the page is not installed")

from chaoskit.report.html import page  # noqa: E402
from chaoskit.report.html.rendering import TOLD  # noqa: E402
from chaoskit.report.html.wording import SYMBOLS, WORDS  # noqa: E402

GOLDEN = Path(__file__).parent / "golden" / "page.html"


def sample() -> Report:
    """A clean scenario, and a broken one with all that a card can show."""
    bad = violated()
    lines = ('    """Save it."""', "    with open(path) as file:", "        file.write(text)", "", "")
    excerpt = Excerpt(Frame("app/save.py", 12, "save"), 10, lines)
    finding = replace(bad.findings[0], id="3fa9c1", cause="stopped", excerpt=excerpt)
    accepted = replace(finding, id="77aa00", known="accepted until the next format <b>2</b>")
    bad = replace(
        bad,
        findings=(finding, accepted),
        oracle=OracleTrial(4, ("an empty job.json",)),
        recovery=RecoveryTimes(3, 0.0123, {"5": 2, "20": 1}),
    )
    return report(clean(), bad)


def golden() -> str:
    """The page of the sample, whose version is not that of the day."""
    return re.sub(r"chaoskit \d[\w.]* from", "chaoskit VERSION from", page(sample()))


def text_of(document: str) -> str:
    """What a reader sees, without marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", document))


def test_the_page_is_golden() -> None:
    """It is that in ``golden/``; after an intended change run this module as a program."""
    assert golden() == GOLDEN.read_text("utf-8")


def test_equal_reports_give_equal_pages() -> None:
    """Nothing of the day, the machine or chance is on it."""
    assert page(sample()) == page(Report.from_dict(sample().to_dict()))


@pytest.mark.parametrize("made", [sample(), report(), report(clean())], ids=["sample", "empty", "clean"])
def test_the_page_is_valid_html(made: Report) -> None:
    """A strict parser has nothing to say, every id is there once, and every link within leads somewhere."""
    document = page(made)
    html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(document)
    ids = re.findall(r'\bid="([^"]+)"', document)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', document)) <= set(ids)


def test_a_wrong_page_is_noticed() -> None:
    """The checker does find an element that is not closed."""
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse(page(sample()).replace("</article>", "", 1))


def test_nothing_is_fetched_and_no_script_is_needed() -> None:
    """There is no script, no handler, and no address of anything else."""
    document = page(sample())
    assert not re.search(
        r"<(script|link|img|iframe|object|embed)\b|\son\w+=|url\(|@import|https?://", document
    )


def test_the_ten_sections_are_there_in_order() -> None:
    """A release manager finds each in its place."""
    found = re.findall(r"<section id=\"(\w+)\"", page(sample()))
    assert found == [
        *("verdict", "untried", "since", "matrix", "findings"),
        *("code", "strips", "recovery", "time", "provenance"),
    ]


def test_the_verdict_is_no_when_nothing_was_examined() -> None:
    """A report without a case is as red as one with a finding, and says why."""
    document = page(report())
    assert 'class="verdict no"' in document
    assert "nothing was examined" in text_of(document)
    assert 'class="verdict yes"' in page(report(replace(clean(), options=clean().options)))


def test_names_cannot_break_out() -> None:
    """What stands in names, messages and reasons is shown as it is, and marks up nothing."""
    evil = "t.py::t[<script>alert(1)</script>&amp;\u202e]"
    bad = violated(evil)
    failure = replace(bad.findings[0].failure, message="</code><b>bold</b>\x1b[31m")
    bad = replace(bad, findings=(replace(bad.findings[0], failure=failure, known="</p><i>"),))
    document = page(report(bad))
    assert "<script" not in document
    assert "<b>bold" not in document
    assert "</p><i>" not in document
    assert "\u202e" not in document
    assert "\x1b" not in document
    html5lib.HTMLParser(strict=True).parse(document)


def test_a_card_says_what_struck_where_and_how_to_go_on() -> None:
    """Place, five lines of source, receipt, disk, advice, replay and bundle are on it."""
    document = page(sample())
    shown = text_of(document)
    for part in (
        "it is not safe to stop the program here",
        "app/save.py:12",
        "▶ 12",
        "receipt: write(a)#1, SIGKILL to 1 process",
        "missing job.json",
        "os.fsync(file)",
        "--chaoskit-replay",
        "chaoskit bundle 3fa9c1",
        "reproduced 2 of 2",
        "ext4, xfs",
        "accepts an empty job.json",
    ):
        assert part in shown, part
    assert len(re.findall(r"<tr[^>]*><td class=\"n\">(?:▶ )?1\d</td>", document)) == 2 * 5


def test_a_finding_of_two_scenarios_is_one_card() -> None:
    """An id names one finding: it has one card, on which each scenario has a link and a way to replay it."""
    several = []
    for name in ("t.py::test[a]", "t.py::test[b]"):
        bad = violated(name)
        several.append(replace(bad, findings=(replace(bad.findings[0], id="3fa9c1"),)))
    document = page(report(*several))
    assert document.count('<article class="card">') == 1
    assert "also in <code>t.py::test[b]</code>" in document
    assert len(re.findall(r'href="#(f-3fa9c1-\w+)"', document)) == 2
    assert document.count("--chaoskit-replay") == 2
    apart = [replace(one, findings=(replace(one.findings[0], id=""),)) for one in several]
    assert page(report(*apart)).count('<article class="card">') == 2


def test_every_word_of_a_table_is_explained_once() -> None:
    """Verdicts, cells, lines, handlers and syncs have their words from one list."""
    said = [word for _, some in WORDS for word, _ in some]
    assert len(said) == len(set(said))
    assert {*VERDICTS, *SYMBOLS, *failing.ORDER, *handling.ORDER, *SYNC_WORDS} <= set(said)
    shown = text_of(page(report(clean())))
    assert all(f"{word} {meaning}" in shown for _, some in WORDS for word, meaning in some)


def test_a_rule_leads_to_what_it_counts() -> None:
    """Each rule has a place on the page, and one that counts anything is a link to it."""
    bad = replace(violated(), oracle=OracleTrial(4, ("an empty job.json",)), stale=("77aa00",))
    made = report(bad, replace(clean("t.py::b"), sometimes={"resumed": 0}))
    document, judged = page(made), judge(made, now=datetime.fromisoformat(made.created))
    assert TOLD.keys() == {one.rule for one in judged}
    rows = re.findall(r'<th scope="row">([a-z-]+)</th>(.*?)</tr>', document)
    links = [(name, to[1]) for name, row in rows if (to := re.search(r'<a href="#(\w+)">', row))]
    assert dict(links) == {one.rule: TOLD[one.rule] for one in judged if one.value}
    assert {"weak-oracles", "stale-findings", "never-reached"} <= dict(links).keys()
    assert set(re.findall(r'href="#([^"]+)"', document)) <= set(re.findall(r'\bid="([^"]+)"', document))


def test_a_list_that_is_cut_says_where_the_rest_is() -> None:
    """Behind the first names of what was not tried stands where all of them are."""
    asks = replace(clean("t.py::asks"), options=replace(clean().options, families=("network",)))
    many = [asks, *(clean(f"t.py::test_{number}") for number in range(30))]
    assert "and 10 more: see section 4, where network has the sign –" in text_of(page(report(*many)))


def test_highlighting_takes_no_class_of_the_page() -> None:
    """Every class within source has its prefix: a name in a program must not look like a number."""
    lines = re.findall(r"<td><code>(.*?)</code></td></tr>", page(sample()))
    classes = [name for line in lines for name in re.findall(r'class="([^"]*)"', line)]
    assert classes
    assert all(name.startswith("t-") for name in classes)


def test_findings_are_compared_with_those_of_an_earlier_report() -> None:
    """A finding that is there again is old, one that is not is new, and a mended one is fixed."""
    now = sample()
    before = mark(now)
    name = violated().nodeid
    old = replace(
        before,
        created="2025-01-01T00:00:00Z",
        scenarios={**before.scenarios, name: replace(before.scenarios[name], findings=("77aa00", "dead00"))},
    )
    shown = text_of(page(now, before=old, history=(old,)))
    assert "+ new: 3fa9c1 in" in shown
    assert "✓ fixed: dead00 in" in shown
    assert "77aa00 in scenarios/test_save.py::test_bad" in shown
    assert 'aria-label="findings: 2, 2"' in page(now, before=old, history=(old,))


def test_the_matrix_counts_cases_by_kind() -> None:
    """Each cell is the worst that came of a kind; not reached is not the same as not tried."""
    result = replace(
        clean(),
        cases=(),
        options=replace(clean().options, families=("disk", "kill", "power_loss")),
        counted=(
            CountedCases((0,), "tolerated", 3, {"EIO": 2, "short": 1}),
            CountedCases((1,), "failed safe", 2, {"EIO": 2}),
            CountedCases((1,), "violated", 4, {"kill": 4}),
        ),
    )
    cells = kinds.cells(result)
    assert cells["error"] == ("degraded", 4)
    assert cells["short"] == ("held", 1)
    assert cells["kill"] == ("broke", 4)
    assert cells["power"] == ("not reached", 0)
    assert cells["clock"] == ("not tried", 0)


def test_the_families_that_talk_are_those_of_the_catalogue() -> None:
    """A new family of calls that goes over a network has to be named here, too."""
    talking = {name for name, row in FAMILIES.items() if row.talks}
    assert talking <= kinds.TALKING <= FAMILIES.keys()


def test_a_thousand_scenarios_stay_small() -> None:
    """At most 400 KB, in a time that grows with their number and not with its square."""
    many = [Entry(clean(f"scenarios/test_{i // 40}.py::test_number_{i}"), "passed") for i in range(1000)]
    made = Report((run(),), tuple(many))
    began = time.process_time()
    document = page(made)
    assert time.process_time() - began < 10
    assert len(document.encode()) <= 400_000


def test_without_its_libraries_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "pygments", None)
    with pytest.raises(ModuleNotFoundError, match=r"chaoskit\[report\]"):
        page(sample())


def test_rules_of_the_gate_are_on_the_page() -> None:
    """Each rule with its value; one that fails names what it has counted."""
    judged = judge(sample(), {"age-days": "off"})
    document = page(sample(), judged=judged)
    for one in judged:
        assert f'<th scope="row">{one.rule}</th>' in document
    assert "3fa9c1 in scenarios/test_save.py::test_bad" in text_of(document)


def test_handlers_and_syncs_stand_beside_the_code_that_can_fail() -> None:
    """Which handler never ran, and what each sync is good for; nothing is claimed where it was not noted."""
    site = Frame("app/save.py", 14, "save")
    noted = replace(
        clean(),
        promise="A save is whole.",
        handlers=(
            HandlerResult(SITE, "except", cases={"failed safe": 2}, schedule="open(a)#1=EIO"),
            HandlerResult(site, "finally"),
        ),
        syncs=(
            SyncResult(0, "needed", 3, 3, "AssertionError: torn", ("ext4",)),
            SyncResult(1, "superfluous"),
        ),
        resumed={"the newest promise": 2},
    )
    made = page(Report((run(),), (Entry(noted, "passed"),)))
    html5lib.HTMLParser(strict=True).parse(made)
    assert "1 never ran under faults" in made
    assert "handlers that never ran under faults" in made
    assert "AssertionError: torn (ext4)" in made
    assert "1 needed, 1 superfluous" in made
    assert "A save is whole." in made
    without = page(Report((run(),), (Entry(clean(), "passed"),)))
    assert "handlers that never ran under faults" not in without
    assert "--chaoskit-sync-audit" in without


if __name__ == "__main__":
    GOLDEN.write_text(golden(), "utf-8")
    print(f"wrote {GOLDEN}")
