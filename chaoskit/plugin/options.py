"""What is in force for one scenario: command line over decorator over ini file over default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaoskit.core.errors import wrong
from chaoskit.core.schedule import Schedule
from chaoskit.session.exploring import Request
from chaoskit.session.spec import BACKENDS, ScenarioSpec, positive_number


def request(config: pytest.Config) -> Request:
    """Read what is asked for the whole session.

    Raises:
        UsageError: naming the option and what it expects; ScheduleError for ``--chaoskit-replay``.
    """
    replay = config.getoption("chaoskit_replay")
    return Request(
        seed=_integer(config, "seed", 0),
        workers=positive_number("--chaoskit-workers", _integer(config, "workers", 1)),
        replay=None if replay is None else Schedule.parse(replay),
        listing=bool(config.getoption("chaoskit_list")),
    )


def backend_asked(config: pytest.Config) -> bool:
    """True if the command line or the ini file names a backend, which then has to work here."""
    return _backend(config) is not None


def in_force(config: pytest.Config, spec: ScenarioSpec) -> ScenarioSpec:
    """The scenario's arguments, with what the command line and the ini file say put in."""
    changes: dict[str, Any] = {}
    for name in ("budget", "depth"):
        given = config.getoption(f"chaoskit_{name}")
        # The command line wins over the decorator, which wins over an ini file.
        if given is not None or name not in spec.given:
            number = _integer(config, name, None)
            if number is not None:
                changes[name] = number
    if _backend(config) is not None:
        changes["backend"] = _backend(config)
    # By the same rules as the decorator's arguments.
    ScenarioSpec.checked((), changes)
    return replace(spec, **changes) if changes else spec


def header(config: pytest.Config) -> str:
    """The one line about chaoskit at the head of a test run."""
    parts = [f"seed {_text(config, 'seed') or 0}", f"backend {_text(config, 'backend') or 'auto'}"]
    parts.append(f"budget {_text(config, 'budget') or 'none'}")
    for name in ("depth", "workers", "replay"):
        if value := _text(config, name):
            parts.append(f"{name} {value}")
    return f"chaoskit: {', '.join(parts)}"


def _text(config: pytest.Config, name: str) -> str:
    value = config.getoption(f"chaoskit_{name}")
    if value is None and name != "replay":
        value = config.getini(f"chaoskit_{name}")
    return str(value or "")


def _integer(config: pytest.Config, name: str, default: int | None) -> Any:
    text = _text(config, name)
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise wrong(f"--chaoskit-{name}", text, "a whole number") from None


def _backend(config: pytest.Config) -> str | None:
    name = _text(config, "backend") or "auto"
    if name not in BACKENDS:
        raise wrong("--chaoskit-backend", name, f"one of {', '.join(BACKENDS)}")
    return None if name == "auto" else name
