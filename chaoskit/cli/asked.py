"""The command line of ``chaoskit explore`` and ``chaoskit replay``, in the harness's own terms."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaoskit import faults as catalogue
from chaoskit.core.errors import wrong
from chaoskit.core.machine import usable_processors
from chaoskit.core.words import Words
from chaoskit.faults import FaultSet
from chaoskit.faults.memories import MemoryFaults
from chaoskit.faults.narrowing import unknown
from chaoskit.inject.base import TIMEOUT
from chaoskit.session.declared import parsed
from chaoskit.session.exploring import Specimen
from chaoskit.session.program import Program
from chaoskit.session.spec import VIRTUAL, ScenarioSpec

WORDS = Words(
    listing="chaoskit explore --list",
    allowance="",
    more_time="--timeout SECONDS allows more time.",
    idle=(
        "the program did nothing in its working directory, so there is nothing that could go wrong; "
        "expected it to work on files there. Give it relative paths: each case begins in another "
        "directory."
    ),
    unsteady=(
        "everything passed once without faults and failed the second time; expected commands that can "
        "be run again. What they change outside the working directory stays changed."
    ),
)
"""Words for the engine's messages, where these commands differ from pytest."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command line; see the help of ``chaoskit explore``."""

    command: tuple[str, ...]
    workspace: Path | None
    setup: tuple[str, ...]
    recover: str
    check: str
    faults: str
    only: str
    path: tuple[str, ...]
    model: tuple[str, ...]
    promise_stdout: bool
    timeout: float
    time: str = VIRTUAL
    without: str = ""
    peer: tuple[str, ...] = ()
    depth: int = 1
    budget: int | None = None
    seed: int = 0
    shard: str | None = None
    workers: int = field(default_factory=usable_processors)

    @property
    def program(self) -> Program:
        """The program, and the commands around it."""
        return Program(
            argv=self.command,
            workspace=self.workspace,
            setup=self.setup,
            recover=self.recover,
            check=self.check,
            promise_stdout=self.promise_stdout,
            timeout=self.timeout,
            peers=parsed(self.peer),
        )

    @property
    def specimen(self) -> Specimen:
        """The program as a report names it."""
        return Specimen(
            shlex.join(self.command), command=_as_typed(self), words=WORDS, checked=bool(self.check)
        )

    @property
    def spec(self) -> ScenarioSpec:
        """The faults that may happen to the program, and the options that go with them.

        Raises:
            UsageError: for a family, a fault or a model that does not exist.
        """
        given = {
            "model": self.model,
            "depth": self.depth,
            "budget": self.budget,
            "timeout": self.timeout,
            "time": self.time,
        }
        return ScenarioSpec.checked((_faults(self),), given)


def names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _faults(asked: Asked) -> FaultSet:
    """The set of faults that the options name.

    Raises:
        UsageError: for a family or a fault that does not exist.
    """
    words = names(asked.faults)
    if not words:
        raise wrong("--faults", asked.faults, f"families with commas: {', '.join(_families())}")
    # The union, so that a fault that two families offer is tried once.
    united = FaultSet()
    for word in words:
        united = united | _family(word)
    if asked.only:
        united = united.only(*names(asked.only))
    if asked.without:
        united = united.without(*names(asked.without))
    return united.on(path=asked.path) if asked.path else united


_PLAIN = (
    *("disk", "share", "interference", "kill", "power-loss", "fsync-lies", "network", "http"),
    *("corruption", "clock", "memory", "interrupt", "default", "all"),
)
_WITH_ARGUMENT = {"signal": "SIGTERM", "delay": "0.5"}
"""Families that take an argument, each with an example of it."""


def _families() -> list[str]:
    return [*_PLAIN, *(f"{name}={example}" for name, example in _WITH_ARGUMENT.items())]


def _family(word: str) -> FaultSet:
    """One family, by its name on the command line; other names of ``chaoskit.faults`` are refused."""
    name, _, argument = word.partition("=")
    # Accept both spellings, that of Python and that of the command line.
    name = name.replace("_", "-")
    if name in _WITH_ARGUMENT and not argument:
        raise wrong("--faults", word, f"{name}=…, as in --faults {name}={_WITH_ARGUMENT[name]}")
    if name in _PLAIN and "=" in word:
        raise wrong("--faults", word, f"{name} without an argument: only signal= and delay= take one")
    if name not in (*_PLAIN, *_WITH_ARGUMENT):
        raise unknown("family of faults in --faults", name, _families())
    given: tuple[Any, ...] = ()
    if argument:
        given = (_seconds(argument),) if name == "delay" else (argument,)
    # By name from the public module, so that the command line always agrees with it.
    family: FaultSet = getattr(catalogue, name.replace("-", "_"))(*given)
    # No line of another process can be watched, but its memory can be limited.
    return family.limited() if isinstance(family, MemoryFaults) else family


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise wrong("delay", text, "seconds, as in --faults delay=0.5") from None


def _as_typed(asked: Asked) -> str:
    """The options that reproduce the case, and the program, quoted for a shell."""
    words: list[str] = []
    if asked.workspace is not None:
        words += ["--workspace", str(asked.workspace)]
    for line in asked.setup:
        words += ["--setup", line]
    for name, value in (("recover", asked.recover), ("check", asked.check), ("only", asked.only)):
        words += [f"--{name}", value] if value else []
    words += ["--without", asked.without] if asked.without else []
    for glob in asked.path:
        words += ["--path", glob]
    for peer in asked.peer:
        words += ["--peer", peer]
    words += ["--faults", asked.faults, "--model", ",".join(asked.model)]
    words += [] if asked.promise_stdout else ["--no-promise-stdout"]
    # Options with their default value are left out, since people read the line.
    words += [] if asked.time == VIRTUAL else ["--time", asked.time]
    words += [] if asked.timeout == TIMEOUT else ["--timeout", f"{asked.timeout:g}"]
    return shlex.join([*words, "--", *asked.command])
