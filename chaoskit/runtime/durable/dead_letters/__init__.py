"""Dead letters: what failed for good is kept, found, and put back or resolved by a person."""

from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.dead_letters.records import (
    DeadLetter,
    DeadLetterStatistics,
    RedriveLimit,
    RedrivePlan,
)

__all__ = ["DeadLetter", "DeadLetterStatistics", "DeadLetters", "RedriveLimit", "RedrivePlan"]
