"""What can be configured: the numbers are in ``neuro.yaml``, the rest in ``NEURO_…`` variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.runtime import Classifier, Rule, RuntimeSettings
from chaoskit.runtime.config import Loaded, from_environment, from_file, load, option

DEFAULTS = Path(__file__).with_name("neuro.yaml")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One kind of container. ``{subject}``, ``{session}`` and ``{output}`` stand for what a run has.

    It is started in the directory ``state``; the path of the output is relative to that.
    """

    command: tuple[str, ...]
    timeout: float = option(default=86400.0, above=0, unit="s")


@dataclass(frozen=True, slots=True)
class SiteRule:
    """What a failure means here: how it looks, and the class of errors that it then is."""

    name: str
    verdict: type[BaseException]
    stderr: str | None = None
    exit_codes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # Tried once, so that what a rule refuses is reported as a problem of the file, with its line.
        self.rule()

    def rule(self) -> Rule:
        return Rule(
            name=self.name,
            verdict=self.verdict,  # type: ignore[arg-type] - the rule refuses any other class
            stderr=self.stderr,
            exit_codes=self.exit_codes,
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration."""

    state: Path
    pipelines: dict[str, Pipeline]
    look_every: float = option(default=60.0, above=0, unit="s", help="between two rounds of the reconciler")
    rules: tuple[SiteRule, ...] = ()
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def classifier(self) -> Classifier:
        """The built-in rules, after those of the site."""
        return Classifier().with_rules(*(one.rule() for one in self.rules))


def read(environment: Mapping[str, str] | None = None, file: Path = DEFAULTS) -> Loaded[Settings]:
    """Read the file, then the environment over it; one error names everything that is wrong."""
    return load(Settings, from_file(file), from_environment("NEURO_", environment))
