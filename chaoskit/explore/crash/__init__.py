"""What a power cut may leave: micro-steps, persistence models, crash states, and what to do about them.

:func:`script` splits a recorded trace into micro-steps on a :class:`Snapshot` of the directory,
:func:`crash_states` enumerates what the persistence models allow, :class:`Materialiser` writes one
state into a directory, :func:`name_of` and :func:`state_named` turn states into schedule arguments
and back, :func:`explain` and :func:`warnings` say which call is to blame.
"""

from __future__ import annotations

from chaoskit.explore.crash.advice import Advice, explain, simplest, warnings
from chaoskit.explore.crash.materialise import Materialiser, state_tree
from chaoskit.explore.crash.models import MODELS, Model, Rule, models_named
from chaoskit.explore.crash.naming import name_of, state_named
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.explore.crash.source import CrashSource
from chaoskit.explore.crash.states import CrashStates, State, crash_states, most_suspicious
from chaoskit.explore.crash.steps import Script, script

__all__ = [
    "MODELS",
    "Advice",
    "CrashStates",
    "Materialiser",
    "Model",
    "CrashSource",
    "Rule",
    "Script",
    "Snapshot",
    "State",
    "crash_states",
    "explain",
    "models_named",
    "most_suspicious",
    "name_of",
    "script",
    "simplest",
    "state_named",
    "state_tree",
    "warnings",
]
