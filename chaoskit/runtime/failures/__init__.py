"""Classification: what kind of failure is this, and which rule says so."""

from __future__ import annotations

from chaoskit.runtime.failures.classifier import Classifier, Decision, classify
from chaoskit.runtime.failures.rules import Rule
from chaoskit.runtime.failures.symptoms import Symptoms, parse_retry_after

__all__ = ["Classifier", "Decision", "Symptoms", "Rule", "classify", "parse_retry_after"]
