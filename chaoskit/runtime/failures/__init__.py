"""Classification: what kind of failure is this, and which rule says so."""

from __future__ import annotations

from chaoskit.runtime.failures.classifier import Classifier, Decision, classify
from chaoskit.runtime.failures.evidence import Evidence, parse_retry_after
from chaoskit.runtime.failures.rules import Rule

__all__ = ["Classifier", "Decision", "Evidence", "Rule", "classify", "parse_retry_after"]
