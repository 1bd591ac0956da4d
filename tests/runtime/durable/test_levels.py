"""A level of durability is one of three names, and the safe one is the default."""

from __future__ import annotations

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, LEVELS, check_durability


def test_the_default_survives_a_power_loss() -> None:
    """What is not named is never weaker than loss of power."""
    assert DEFAULT_DURABILITY == LEVELS[0] == "power-loss"


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_is_known(level: str) -> None:
    """Each name is taken as it is."""
    assert check_durability(level) == level


def test_another_name_is_refused() -> None:
    """The error names the value and all that is possible."""
    with pytest.raises(UsageError, match=r"durability is 'full' .*'power-loss', 'process-crash', 'memory'"):
        check_durability("full")
