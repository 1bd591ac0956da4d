"""Findings that a project accepts, named in the scenario or in a file beside its tests.

The file is ``chaoskit-known.toml``: one table for each scenario, in which each id has the reason why it is
accepted::

    ["test_store.py::test_power_loss[lmdb]"]
    3fa9c1 = "reported upstream as 812; we copy the directory before each upgrade"

A name without parameters means the scenario with every parameter.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chaoskit.core.errors import UsageError, wrong

FILE = "chaoskit-known.toml"
_ID = re.compile(r"[0-9a-f]{6}")
_EXAMPLE = '{"3fa9c1": "why it is accepted, until when"}'


def checked(what: str, value: object) -> dict[str, str]:
    """``value`` if it maps ids of findings to reasons, else UsageError."""
    if not isinstance(value, Mapping):
        raise wrong(what, value, f"a mapping such as {_EXAMPLE}")
    for name, reason in value.items():
        if not isinstance(name, str) or not _ID.fullmatch(name):
            hint = "A failing scenario prints the id of each finding."
            raise wrong(f"an id in {what}", name, "six hexadecimal digits such as '3fa9c1'", hint)
        if not isinstance(reason, str) or not reason.strip():
            hint = "Say who knows of it and until when it is accepted: the report shows that."
            raise wrong(f"the reason of {name} in {what}", reason, "a sentence", hint)
    return {name: " ".join(reason.split()) for name, reason in value.items()}


def beside(test: Path, name: str, has: Callable[[str], bool]) -> dict[str, str]:
    """What the file beside the module ``test`` accepts for its test ``name`` (pytest's name after ``::``).

    ``has`` returns True for a name without parameters if the module has such a test.

    Raises:
        UsageError: if the file cannot be parsed, or names a module that does not exist, or a test that this
            one does not have.
    """
    file = test.parent / FILE
    tables = _read(file)
    found: dict[str, str] = {}
    for scenario, table in tables.items():
        module, _, of = scenario.partition("::")
        gone = module == test.name and not has(of.partition("[")[0])
        if not of or gone or not (file.parent / module).is_file():
            raise UsageError(
                f"{file} has a table {scenario!r}; expected the name of a scenario in a module beside it, "
                "such as 'test_store.py::test_power_loss'. Remove it if the scenario is gone."
            )
        ids = checked(f"{file} for {scenario}", table)
        if module == test.name and of in (name, name.partition("[")[0]):
            found |= ids
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}; expected TOML, see chaoskit.session.known."
        ) from None
