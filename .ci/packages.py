"""Install packages into an environment: with uv where that can be had, else with pip.

Five environments get much the same packages. pip computes for the better part of a minute for each, uv for
three seconds, and it links what it has unpacked before. But uv reads nothing of what a machine has told pip:
mirrors, certificates, further constraints. ``told`` translates it, and where there is no translation, pip
installs, as it does when uv fails.
"""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ARGUMENTS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraints",
    "trusted-host": "--allow-insecure-host",
}
"""Settings of pip that uv has as an argument, once for each word of the value."""

VARIABLES = {
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
"""Settings of pip that uv reads from its environment."""

INDIFFERENT = {
    *(
        "cache-dir",
        "disable-pip-version-check",
        "no-cache-dir",
        "no-color",
        "no-input",
        "progress-bar",
        "quiet",
    ),
    *("require-virtualenv", "retries", "root-user-action", "user", "verbose"),
}
"""Settings of pip that do not change what an environment is given."""


class CannotInstall(Exception):
    """Neither of the two could; what they said is on the terminal."""


@dataclass(frozen=True)
class Told:
    """What pip has been told on this machine, for uv."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str]


def install(
    python: Path, arguments: Iterable[str], *, constraints: Path, uv: Path | None, cache: Path
) -> str:
    """Install into the environment of a Python what pip and uv take alike; which of them did it.

    ``uv`` is that program, or None for pip. ``cache`` is where it keeps what it has unpacked, best on
    the file system of the environments. Raises CannotInstall.
    """
    arguments = list(arguments)
    if (
        uv is not None
        and (settings := told(_settings(python)))
        and _uv(uv, python, arguments, constraints, settings, cache)
    ):
        return "uv"
    _pip(python, arguments, constraints)
    return "pip"


def told(settings: Mapping[str, str]) -> Told | None:
    """The same for uv; None if something cannot be said to it.

    That the best of all indexes is taken, not the first that has the package, is what pip does.
    """
    arguments, variables = ["--index-strategy", "unsafe-best-match"], {}
    for name, value in settings.items():
        if name in ARGUMENTS:
            for word in value.split():
                arguments += [ARGUMENTS[name], word]
        elif name in VARIABLES:
            variables[VARIABLES[name]] = value
        elif name not in INDIFFERENT:
            return None
    return Told(tuple(arguments), variables)


@cache
def _settings(python: Path) -> dict[str, str]:
    """What configuration files and variables say to pip; the more particular has the last word."""
    command = [str(python), "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found:
            found[section][name] = ast.literal_eval(value)
    return {name: value for section in found.values() for name, value in section.items()}


def _uv(uv: Path, python: Path, arguments: list[str], constraints: Path, settings: Told, cache: Path) -> bool:
    command = [str(uv), "pip", "install", "--quiet", "--python", str(python), "--cache-dir", str(cache)]
    pins = ["--constraints", str(constraints), "--build-constraints", str(constraints)]
    done = subprocess.run(
        [*command, *settings.arguments, *pins, *arguments],
        env={**os.environ, **settings.variables},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0


def _pip(python: Path, arguments: list[str], constraints: Path) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--constraint", str(constraints), *arguments],
        # The pins hold for what builds the package too; pip reads them for that from the environment alone.
        env={**os.environ, "PIP_CONSTRAINT": str(constraints), "PIP_ROOT_USER_ACTION": "ignore"},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise CannotInstall(
            f"pip install {' '.join(arguments)} failed (above is why). "
            f"A package index must be reachable for the first run; pins are in {constraints}."
        )
