"""Dead letters: runs that failed for good, kept for a person to find, redrive or resolve."""

from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.dead_letters.records import (
    DeadLetter,
    DeadLetterStatistics,
    RedriveLimit,
    RedrivePlan,
)

__all__ = ["DeadLetter", "DeadLetterStatistics", "DeadLetters", "RedriveLimit", "RedrivePlan"]
