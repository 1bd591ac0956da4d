"""What a power loss may leave on the disk, and which call is to blame for it.

One noun for each thing, on the way from a trace to a directory:

==============  ====================================================================================
trace           what runs did, as operations (:mod:`chaoskit.core.operation`)
snapshot        a directory at one moment; where a trace begins
step            the smallest change that may persist without its neighbours: a page, an entry, a size
effect          what one operation did: its steps, then perhaps a sync
script          a trace as effects on a snapshot (:func:`script`)
model           the rules that one file system keeps (:data:`MODELS`)
order           which steps need which, and which are durable so far, under one model
moment          right after one operation, when the power fails
crash state     the steps that persisted at a moment; torn and garbage ones marked as such
tables, image   what each file holds after a set of steps, and the hash of the whole tree
aftermath       the crash states near a given one, to make it smaller or to check a name
==============  ====================================================================================

:func:`crash_states` enumerates what the models allow, :class:`Materialiser` writes one state into a
directory, :func:`name_of` and :func:`state_named` turn states into schedule arguments and back,
:func:`explain` says which call is to blame for a state, and :func:`warnings` what looks wrong without one.
:class:`PowerLoss` offers all of it to the exploration as a source of cases.

The modules stand on each other in this order: models, snapshot, pieces, steps; tree, calls, split; order,
needs, syncs, playing; tables, image, states, ranking, aftermath; naming, materialise, fixes, traits,
explanations, suspicions, between; source.
"""

from __future__ import annotations

from chaoskit.explore.crash.explanations import explain, simplest
from chaoskit.explore.crash.fixes import Explanation
from chaoskit.explore.crash.materialise import Materialiser, state_tree
from chaoskit.explore.crash.models import MODELS, Model, ModelRule, models_named
from chaoskit.explore.crash.naming import name_of, state_named
from chaoskit.explore.crash.ranking import most_suspicious
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.explore.crash.source import CrashSource
from chaoskit.explore.crash.split import script
from chaoskit.explore.crash.states import CrashState, CrashStates, crash_states
from chaoskit.explore.crash.steps import Script
from chaoskit.explore.crash.suspicions import warnings

__all__ = [
    "MODELS",
    "CrashState",
    "CrashStates",
    "Explanation",
    "Materialiser",
    "Model",
    "CrashSource",
    "ModelRule",
    "Script",
    "Snapshot",
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
