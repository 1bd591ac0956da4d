"""The detector finds a jump, keeps quiet about noise, and gets used to a new level."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime.observing.anomaly import AnomalyDetector, AnomalyOptions


def noise(count: int, level: float = 0.05) -> list[float]:
    chance = random.Random(7)
    return [chance.gauss(level, 0.01) for _ in range(count)]


def test_a_jump_is_found() -> None:
    """An error rate that triples after a steady time is anomalous at once."""
    detector = AnomalyDetector()
    for value in noise(200):
        detector.observe(value)
    judgement = detector.observe(0.15)
    assert judgement.anomalous
    assert judgement.score > 3
    assert judgement.mean == pytest.approx(0.05, abs=0.01)


def test_noise_is_not() -> None:
    """Of a thousand values of steady noise, few are called anomalous (3 deviations: 0.3 %)."""
    detector = AnomalyDetector()
    assert sum(detector.observe(v).anomalous for v in noise(1000)) < 15


def test_nothing_is_said_during_the_warm_up() -> None:
    """The first values are learnt, whatever they are."""
    detector = AnomalyDetector(AnomalyOptions(warm_up=5))
    assert not any(detector.observe(v).anomalous for v in (0, 9, 0, 9, 0))


def test_the_first_error_after_silence_is_believed_above_the_floor_only() -> None:
    """After nothing but zeros a value within the floor is normal, one far above it is not."""
    detector = AnomalyDetector()
    for _ in range(100):
        detector.observe(0.0)
    assert not detector.observe(0.02).anomalous
    assert detector.observe(0.5).anomalous


def test_one_outlier_does_not_widen_the_limits() -> None:
    """After a single enormous value the next anomaly is still found."""
    detector = AnomalyDetector()
    for value in noise(200):
        detector.observe(value)
    detector.observe(1e9)
    assert detector.observe(0.2).anomalous


def test_a_level_that_stays_becomes_normal() -> None:
    """A shift that lasts is anomalous at first and accepted in the end."""
    detector = AnomalyDetector()
    for value in noise(200):
        detector.observe(value)
    verdicts = [detector.observe(v).anomalous for v in noise(400, level=0.3)]
    assert verdicts[0]
    assert not any(verdicts[-50:])


def test_mean_and_variance_are_the_published_recurrence() -> None:
    """The numbers equal Finch's formulas, computed the long way."""
    options = AnomalyOptions(half_life=2.0, warm_up=1000, floor=1e-9)
    detector = AnomalyDetector(options)
    weight, mean, variance = 1 - 0.5**0.5, 0.0, 0.0
    for number, value in enumerate([1.0, 4.0, 2.0, 8.0, 5.0, 7.0], 1):
        w = max(weight, 1 / number)
        variance = (1 - w) * (variance + w * (value - mean) ** 2)
        mean = mean + w * (value - mean)
        detector.observe(value)
    assert detector.observe(0.0).mean == pytest.approx(mean)
    assert detector._variance >= 0
    # The observation above has been learnt; the deviation that it was judged by is the earlier one.
    again = AnomalyDetector(options)
    for value in [1.0, 4.0, 2.0, 8.0, 5.0, 7.0]:
        again.observe(value)
    assert again.observe(0.0).deviation == pytest.approx(variance**0.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_would_poison_the_mean_are_refused(value: float) -> None:
    """Infinities and NaN raise, and change nothing."""
    detector = AnomalyDetector()
    detector.observe(1.0)
    with pytest.raises(UsageError, match="finite"):
        detector.observe(value)
    assert detector.observe(1.0).mean == 1.0


@pytest.mark.parametrize("name", ["half_life", "threshold", "floor", "warm_up"])
def test_wrong_options_are_refused(name: str) -> None:
    """No option may be zero."""
    with pytest.raises(UsageError, match=name):
        AnomalyOptions(**{name: 0})


@given(st.lists(st.floats(-1e6, 1e6), max_size=100))
def test_the_state_stays_sound(values: list[float]) -> None:
    """For any values the variance is not negative and the mean lies within what was seen."""
    detector = AnomalyDetector(AnomalyOptions(warm_up=3))
    for value in values:
        detector.observe(value)
    assert detector._variance >= 0
    if values:
        assert min(values) - 1e-6 <= detector._mean <= max(values) + 1e-6
