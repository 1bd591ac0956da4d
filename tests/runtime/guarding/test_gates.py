"""Quality gates: what is not good enough is found, named, and goes where the gate says."""

from __future__ import annotations

import json
import math
import os
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    Candidate,
    CrossCheck,
    FallbackChain,
    LastGood,
    NoCandidate,
    QualityGate,
    QualityMetric,
    Quarantine,
    ValidationError,
    VirtualClock,
)
from chaoskit.runtime.durable.files.names import unfinished_name
from chaoskit.runtime.guarding.gates import quarantine as quarantine_module

NOISE = QualityMetric("noise", maximum=2.0, route="calibrate again")
FLUX = QualityMetric("flux", minimum=0.5, maximum=1.5)


def test_what_is_within_its_bounds_passes():
    """The bounds themselves are allowed."""
    gate = QualityGate("image", [NOISE, FLUX])
    result = gate.judge({"noise": 2.0, "flux": 0.5, "other": 99})
    assert result.passed
    assert result.require() is result
    assert result.route is None


@given(st.one_of(st.none(), st.floats(), st.integers(), st.integers(-10, 10).map(lambda n: n * 10**400)))
def test_nothing_that_is_no_number_within_the_bounds_passes(value):
    """Missing, NaN and infinite ones are failures, whatever they compare to."""
    metrics = {} if value is None else {"flux": value}
    good = value is not None and 0.5 <= value <= 1.5
    result = QualityGate("image", [FLUX]).judge(metrics)
    assert result.passed == good
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_failure_names_what_was_expected_and_where_to_go():
    """Every one of them, in the error too."""
    result = QualityGate("image", [NOISE, FLUX]).judge({"noise": 3})
    assert [str(one) for one in result.failures] == ["noise: 3; expected at most 2", "flux: it is missing"]
    assert result.route == "calibrate again"
    with pytest.raises(
        ValidationError, match=r"image: not good enough: noise: 3; .*; flux: it is missing"
    ) as info:
        result.require()
    assert info.value.stage == "image"


def test_advice_does_not_stop_it():
    """An advisory metric, or gate, is told and passed; a route of advice is followed all the same."""
    advisory = QualityMetric("noise", maximum=2, mandatory=False, route="slower")
    result = QualityGate("image", [advisory, FLUX]).judge({"noise": 3, "flux": 1})
    assert result.passed
    assert result.route == "slower"
    assert [one.name for one in result.findings] == ["noise"]
    assert QualityGate("image", [NOISE, FLUX], mandatory=False).judge({}).passed


@pytest.mark.parametrize("value", [3, None, "low", math.nan, 10**400])
@pytest.mark.parametrize("mandatory", [True, False])
def test_whatever_is_wrong_with_it_a_metric_stops_only_what_it_may(value, mandatory):
    """Too large, missing, no number: result, event and report say the same about it."""
    events = []
    metric = QualityMetric("noise", maximum=2, mandatory=mandatory)
    gate = QualityGate("image", [metric], listeners=[events.append])
    result = gate.judge({} if value is None else {"noise": value})
    assert result.passed is not mandatory
    assert [one.mandatory for one in result.findings] == [mandatory]
    assert [one.passed for one in events] == [not mandatory]
    told = result.to_dict()
    assert (told["passed"], told["findings"][0]["mandatory"]) == (not mandatory, mandatory)


@pytest.mark.parametrize("holds", [lambda stages: False, lambda stages: stages["none"]])
def test_an_advisory_check_stops_nothing(holds):
    """Neither if the stages do not agree nor if they cannot be compared."""
    check = CrossCheck("flux is kept", holds, mandatory=False)
    result = QualityGate("image", [], across=[check]).judge({})
    assert result.passed
    assert [one.name for one in result.findings] == ["flux is kept"]


def test_stages_are_held_against_each_other():
    """A check sees all stages, and one that cannot be made fails instead of passing."""
    kept = lambda s: s["image"]["flux"] > 0.9 * s["calibrate"]["flux"]  # noqa: E731
    flux = CrossCheck("flux is kept", kept)
    gate = QualityGate("image", [FLUX], across=[flux])
    assert gate.judge({"flux": 1.0}, earlier={"calibrate": {"flux": 1.0}}).passed
    assert not gate.judge({"flux": 1.0}, earlier={"calibrate": {"flux": 1.4}}).passed
    lost = gate.judge({"flux": 1.0})
    assert [str(one) for one in lost.failures] == [
        "flux is kept: it cannot be checked: KeyError: 'calibrate'"
    ]


def test_findings_are_events():
    """And a gate that finds nothing says nothing."""
    events = []
    gate = QualityGate("image", [NOISE], listeners=[events.append])
    gate.judge({"noise": 1})
    gate.judge({"noise": 5})
    assert [(e.name, e.gate, e.passed, e.route) for e in events] == [
        ("gate.judged", "image", False, "calibrate again")
    ]


def test_a_chain_takes_only_what_passes_the_gate():
    """The next candidate, then the last that passed while it is young enough, then none."""
    clock = VirtualClock()
    gate = QualityGate("calibrator", [NOISE, FLUX])
    fresh = {"noise": 1.0, "flux": 1.0}
    chain = FallbackChain(
        Candidate("today", lambda: dict(fresh), quality=gate.quality(lambda v: v)),
        Candidate("catalogue", lambda: {"noise": 1.0}, quality=gate.quality(lambda v: v)),
        minimum_quality=1.0,
        last_good=LastGood(max_age=3600),
        clock=clock,
    )
    assert chain.choose().candidate == "today"
    fresh["noise"] = 9.0
    clock.advance(100)
    choice = chain.choose()
    assert (choice.age, choice.value["noise"]) == (100, 1.0)
    assert [one.candidate for one in choice.rejections] == ["today", "catalogue"]
    clock.advance(3600)
    with pytest.raises(NoCandidate):
        chain.choose()


def test_a_failure_never_rounds_up_to_a_pass():
    """Of a thousand metrics one that fails keeps the quality below one."""
    gate = QualityGate("many", [QualityMetric(str(n), minimum=0) for n in range(1000)])
    good = {str(n): 1.0 for n in range(1000)}
    assert gate.quality(lambda v: v)(good) == 1.0
    assert gate.quality(lambda v: v)({**good, "7": math.nan}) < 1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: QualityMetric("a"),
        lambda: QualityMetric("a", minimum=2, maximum=1),
        lambda: QualityMetric("a", minimum=math.nan),
        lambda: QualityGate("a", []),
        lambda: QualityGate("a", [NOISE, NOISE]),
    ],
)
def test_gates_that_cannot_be_are_refused(make):
    """When they are made."""
    with pytest.raises(UsageError, match="expected"):
        make()


def test_what_failed_is_kept_with_its_reason(tmp_path):
    """Moved whole, listed with what the gate found, and released when it is put right."""
    item, quarantine = tmp_path / "run-7", Quarantine(tmp_path / "quarantine")
    item.mkdir()
    (item / "image.fits").write_text("pixels")
    result = QualityGate("image", [NOISE]).judge({"noise": 3})
    moved = quarantine.put(item, result)
    assert (moved / "image.fits").read_text() == "pixels"
    assert not item.exists()
    (kept,) = quarantine.items()
    assert kept.path == moved
    assert kept.why.reason == "noise: 3; expected at most 2"
    assert kept.why.details["origin"] == "../run-7"
    assert quarantine.release("run-7", item) == item
    assert list(quarantine.items()) == []
    assert (item / "image.fits").read_text() == "pixels"


def test_half_a_reason_is_no_item(tmp_path):
    """What a put has left that was killed while it wrote the reason; it was listed as one more item."""
    quarantine = Quarantine(tmp_path / "quarantine")
    (tmp_path / "item").touch()
    quarantine.put(tmp_path / "item", "bad")
    unfinished_name(tmp_path / "quarantine" / ".other.why").write_text("{")
    assert [one.path.name for one in quarantine.items()] == ["item"]


def test_half_a_move_is_brought_to_its_end(tmp_path):
    """A power loss may keep both names of a file: put again it is in one place, with the first reason."""
    quarantine = Quarantine(tmp_path / "quarantine")
    (tmp_path / "item").write_text("pixels")
    moved = quarantine.put(tmp_path / "item", "bad")
    os.link(moved, tmp_path / "item")
    assert quarantine.put(tmp_path / "item", "bad again") == moved
    assert not (tmp_path / "item").exists()
    assert [(one.path.read_text(), one.why.reason) for one in quarantine.items()] == [("pixels", "bad")]


def test_nothing_is_ever_replaced(tmp_path):
    """A name that is taken is refused, there and back, and a wrong name leads nowhere else."""
    quarantine = Quarantine(tmp_path / "quarantine")
    for text in ("first", "second"):
        (tmp_path / "item").write_text(text)
        if text == "first":
            quarantine.put(tmp_path / "item", "bad")
    with pytest.raises(UsageError, match="a name that is free"):
        quarantine.put(tmp_path / "item", "bad again")
    assert next(quarantine.items()).why.reason == "bad"
    with pytest.raises(UsageError, match="a path that is free"):
        quarantine.release("item", tmp_path / "item")
    with pytest.raises(UsageError, match="no item"):
        quarantine.release("../item", tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        quarantine.put(tmp_path / "absent", "bad")
    for place in (tmp_path, tmp_path / "quarantine"):
        with pytest.raises(UsageError, match="holds the quarantine"):
            quarantine.put(place, "bad")


def test_another_file_system_is_refused(tmp_path, monkeypatch):
    """The item stays where it was, and no reason is left behind."""

    def refused(source, target):
        raise OSError(18, "Invalid cross-device link")

    item, quarantine = tmp_path / "item", Quarantine(tmp_path / "quarantine")
    item.write_text("x")
    monkeypatch.setattr(quarantine_module, "rename_to_free_name", refused)
    with pytest.raises(UsageError, match="another file system"):
        quarantine.put(item, "bad")
    monkeypatch.undo()
    assert item.read_text() == "x"
    assert list((tmp_path / "quarantine").iterdir()) == []


class Broken:
    """A value whose every use fails."""

    def __float__(self):
        raise RuntimeError("float")

    def __repr__(self):
        raise RuntimeError("repr")


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (np.float32(5), "5; expected at least 0.5 and at most 1.5"),
        (np.int64(5), "5; expected at least 0.5 and at most 1.5"),
        (Decimal("0.25"), "0.25; expected at least 0.5 and at most 1.5"),
        (Decimal("NaN"), "nan; expected at least 0.5 and at most 1.5"),
        (Decimal("sNaN"), "Decimal('sNaN') (Decimal) is not a number"),
        (Fraction(1, 3), "0.333333; expected at least 0.5 and at most 1.5"),
        (np.array([1.0, 2.0]), "array([1., 2.]) (ndarray) is not a number"),
        ("1.0", "'1.0' (str) is not a number"),
        (1j, "1j (complex) is not a number"),
        (Broken(), "a value of Broken is not a number"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_tool_has_measured_is_judged_told_and_kept(value, detail, tmp_path):
    """Numbers of other libraries are numbers in the report as well, which a flag of quarantine can hold."""
    result = QualityGate("image", [FLUX]).judge({"flux": value})
    assert [one.detail for one in result.failures] == [detail]
    json.dumps(result.to_dict(), allow_nan=False)
    (tmp_path / "a").write_text("")
    Quarantine(tmp_path / "q").put(tmp_path / "a", result)
    (kept,) = Quarantine(tmp_path / "q").items()
    assert kept.why.reason == f"flux: {detail}"
    good = QualityGate("image", [FLUX]).judge({"flux": Decimal(1)})
    assert good.passed


@pytest.mark.parametrize(
    "use",
    [
        lambda: QualityMetric(["a"], minimum=1),
        lambda: QualityGate("a", NOISE),
        lambda: QualityGate("a", None),
        lambda: QualityGate("a", [NOISE], across=CrossCheck("b", bool)),
        lambda: QualityGate("a", [NOISE], across=["b"]),
        lambda: QualityGate("a", [NOISE]).judge(None),
        lambda: QualityGate("a", [NOISE]).judge([("noise", 1)]),
        lambda: QualityGate("a", [NOISE]).judge({}, earlier=["b"]),
        lambda: Quarantine("q").put(".", None),
    ],
)
def test_what_is_of_another_kind_is_refused(use):
    """With what was expected, not by an attribute that is missing."""
    with pytest.raises(UsageError, match="expected"):
        use()


def test_metrics_may_come_from_a_generator():
    """They are gone through once."""
    gate = QualityGate("many", (QualityMetric(name, minimum=0) for name in "ab"))
    assert len(gate.judge({}).failures) == 2


def test_a_check_whose_error_cannot_be_told_is_one_that_fails():
    """An exception may have a text that raises."""

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def raises(stages):
        raise Mute

    (failure,) = QualityGate("a", [], across=[CrossCheck("b", raises)]).judge({}).failures
    assert "it cannot be checked: Mute" in failure.detail


@pytest.mark.parametrize("name", ["..", ".", "", ".a.why", "a/../a", "b"])
def test_what_is_no_item_is_not_released(tmp_path, name):
    """The reason of one is not one itself, and neither is what stands above."""
    (tmp_path / "a").write_text("")
    quarantine = Quarantine(tmp_path / "q")
    quarantine.put(tmp_path / "a", "bad")
    with pytest.raises(UsageError, match="expected one that items"):
        quarantine.release(name, tmp_path / "out")
    assert [one.why.reason for one in quarantine.items()] == ["bad"]


@pytest.mark.parametrize("of", ["a reason", "a file that is being written"])
def test_no_item_is_named_like_what_the_quarantine_keeps(tmp_path, of):
    """The next item's reason was written over it, or it was never listed."""
    name = ".a.why" if of == "a reason" else unfinished_name(tmp_path / "a").name
    (tmp_path / name).write_text("precious")
    with pytest.raises(UsageError, match="Rename it first"):
        Quarantine(tmp_path / "q").put(tmp_path / name, "bad")
    assert (tmp_path / name).read_text() == "precious"
