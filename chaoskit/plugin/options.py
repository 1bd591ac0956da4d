"""The options in force for one scenario: command line over decorator over ini file over default."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.errors import wrong
from chaoskit.core.evidence import Shard
from chaoskit.core.machine import memory, usable_processors
from chaoskit.core.schedule import Schedule
from chaoskit.inject.handlers import cheap
from chaoskit.report.explain import BRIEF, FULL, LINES, Extent
from chaoskit.session.exploring import Request
from chaoskit.session.spec import BACKENDS, ScenarioSpec, positive_number

_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def request(config: pytest.Config, part: Shard | None = None) -> Request:
    """Read the options of the whole session, for the ``part`` of a scenario that one item is.

    Raises:
        UsageError: naming the option and what it expects; ScheduleError for ``--chaoskit-replay``.
    """
    replay = config.getoption("chaoskit_replay")
    return Request(
        seed=_integer(config, "seed", 0),
        workers=positive_number("--chaoskit-workers", _integer(config, "workers", _processors(config))),
        replay=None if replay is None else Schedule.parse(replay),
        listing=bool(config.getoption("chaoskit_list")),
        # A handler's number depends on the imported modules, and may differ on a host.
        handlers=not hosts(config) and _handlers(config),
        exit_first=bool(config.getoption("chaoskit_exitfirst")),
        audit=bool(config.getoption("chaoskit_sync_audit")),
        shard=part or _shard(config),
    )


def hosts(config: pytest.Config) -> tuple[str, ...]:
    """The execnet gateways to the machines on which cases run; empty for this machine.

    Raises:
        UsageError: together with xdist, whose processes would each have hosts; for ``code=`` with another
        value than ``here``, and together with ``chdir=``.
    """
    text = config.getoption("chaoskit_hosts") or config.getini("chaoskit_hosts")
    specs = tuple(one.strip() for one in str(text or "").split(",") if one.strip())
    if specs and (hasattr(config, "workerinput") or config.getoption("numprocesses", None)):
        raise wrong("--chaoskit-hosts", text, "none together with -n of xdist", "Leave one of them out.")
    for spec in specs:
        given = dict(word.partition("=")[::2] for word in spec.split("//"))
        if "code" in given and (given["code"] != "here" or "chdir" in given):
            raise wrong("--chaoskit-hosts", spec, "code=here to send the project, or chdir= where it is")
    return specs


def _shard(config: pytest.Config) -> Shard | None:
    text = config.getoption("chaoskit_shard")
    return None if text is None else Shard.parse(text, "--chaoskit-shard")


def _handlers(config: pytest.Config) -> bool:
    """Return True if exception handlers are watched; the default is on where that costs nothing."""
    word = _text(config, "handlers")
    if word not in ("", "on", "off"):
        raise wrong("--chaoskit-handlers", word, "on or off")
    return word == "on" or (not word and cheap())


def failed_first(config: pytest.Config) -> bool:
    """Return True if schedules that broke a scenario are kept, and run first the next time.

    Raises:
        UsageError: for a word other than on and off.
    """
    word = config.getoption("chaoskit_failed_first") or config.getini("chaoskit_failed_first")
    if not word:
        # A CI machine is discarded afterwards, and what it runs should depend only on the commit.
        return not os.environ.get("CI")
    if word not in ("on", "off"):
        raise wrong("--chaoskit-failed-first", word, "on or off")
    return bool(word == "on")


def required(config: pytest.Config) -> bool:
    """Return True if a run that examined nothing must fail: by default if CI is set.

    A green build whose scenarios were all skipped looks like one whose scenarios hold.

    Raises:
        UsageError: for a value other than true or false.
    """
    text = str(config.getini("chaoskit_required") or "").strip().lower()
    if not text:
        return os.environ.get("CI", "").strip().lower() not in ("", "0", "false", "no")
    if text not in _TRUTHS:
        raise wrong("chaoskit_required", text, "true or false")
    return _TRUTHS[text]


def backend_asked(config: pytest.Config) -> bool:
    """Return True if the command line or the ini file names a backend, which must then work here."""
    return _backend(config) is not None


def in_force(config: pytest.Config, spec: ScenarioSpec) -> ScenarioSpec:
    """The scenario's arguments, combined with the command line and the ini file."""
    changes: dict[str, Any] = {}
    for name in ("budget", "depth", "oracle"):
        given = config.getoption(f"chaoskit_{name}")
        # The command line wins over the decorator, which wins over an ini file.
        if given is not None or name not in spec.given:
            value = _text(config, name) or None if name == "oracle" else _integer(config, name, None)
            if value is not None:
                changes[name] = value
    if _backend(config) is not None:
        changes["backend"] = _backend(config)
    # Checked by the same rules as the decorator's arguments.
    ScenarioSpec.checked((), changes)
    return replace(spec, **changes) if changes else spec


def detail_for(config: pytest.Config) -> Extent:
    """How much of a finding the terminal shows, by pytest's own options."""
    style = config.getoption("tbstyle", "auto")
    if style in ("line", "no"):
        return LINES
    return FULL if style == "long" or config.getoption("verbose", 0) > 0 else BRIEF


def header(config: pytest.Config) -> str:
    """The line about chaoskit in the header of a test run."""
    parts = [f"seed {_text(config, 'seed') or 0}", f"backend {_text(config, 'backend') or 'auto'}"]
    parts.append(f"budget {_text(config, 'budget') or 'none'}")
    parts.append(f"workers {_text(config, 'workers') or _processors(config)}")
    for name in ("depth", "replay", "shard"):
        if value := _text(config, name):
            parts.append(f"{name} {value}")
    return f"chaoskit: {', '.join(parts)}, cases in {place(config)}"


def place(config: pytest.Config) -> Path:
    """Where the directories of cases are made: as the ini file says, or else in memory if there is room.

    With ``--basetemp`` everything is made there.
    """
    if given := str(config.getini("chaoskit_tmp") or ""):
        return Path(given)
    found = None if config.getoption("basetemp", None) else memory()
    if found is not None:
        return found
    factory: pytest.TempPathFactory | None = getattr(config, "_tmp_path_factory", None)
    return Path(tempfile.gettempdir()) if factory is None else factory.getbasetemp()


def _processors(config: pytest.Config) -> int:
    """One worker for each processor, fewer with pytest-xdist, whose processes share the processors."""
    distributed = hasattr(config, "workerinput") or config.getoption("numprocesses", None)
    return 1 if distributed else usable_processors()


def _text(config: pytest.Config, name: str) -> str:
    value = config.getoption(f"chaoskit_{name}")
    if value is None and name not in ("replay", "shard"):
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
