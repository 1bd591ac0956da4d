"""The JSON Schema of reports, derived from the records so that the two cannot differ.

``python -m chaoskit.report.schema`` writes it to ``schema-4.json``, the copy that is shipped for readers in
other languages; a test compares the two.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union

from chaoskit.core.case import VERDICTS
from chaoskit.core.operation import Frame
from chaoskit.core.plain import default_of, to_plain
from chaoskit.core.result import PointSummary, ScenarioResult
from chaoskit.core.schedule import Schedule
from chaoskit.report.document import BRIEF, OUTCOMES, SCHEMA_VERSION, Run, Totals
from chaoskit.report.packing import CountedTable, SharedTables
from chaoskit.report.points import PointRuns

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE = Path(__file__).with_name(f"schema-{SCHEMA_VERSION}.json")

_SIMPLE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}

_REPLAY = "The command line that repeats the case of schedule, in the directory in which it was found."


def build() -> dict[str, Any]:
    """The schema of what :meth:`Report.to_dict` gives. Unknown keys are allowed: later versions add some."""
    definitions: dict[str, Any] = {}
    run = _of(Run, definitions)
    totals = _of(Totals, definitions)
    # Reports from before the newest verdict existed are still read.
    definitions["Totals"]["properties"]["verdicts"] = _counts(VERDICTS, VERDICTS[:-1])
    definitions["Totals"]["properties"]["outcomes"] = _counts(OUTCOMES, OUTCOMES)
    _of(ScenarioResult, definitions)
    _extend_scenario(definitions["ScenarioResult"])
    definitions["ScenarioResult"]["properties"] |= {
        "points": _record(PointRuns, definitions),
        "counted": _record(CountedTable, definitions),
    }
    definitions["Finding"]["properties"]["replay"] = {"type": "string", "description": _REPLAY}
    definitions["Finding"]["required"].append("replay")
    properties = {
        "schema_version": {"const": SCHEMA_VERSION},
        "created": {"type": "string", "description": "When the last of the runs ended, UTC, ISO 8601."},
        "totals": totals,
        "runs": {"type": "array", "items": run, "minItems": 1},
        **_tables(definitions),
        "scenarios": {"type": "array", "items": {"$ref": "#/$defs/ScenarioResult"}},
    }
    return {
        "$schema": DIALECT,
        "title": f"chaoskit report, version {SCHEMA_VERSION}",
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "$defs": dict(sorted(definitions.items())),
    }


def _tables(definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(SharedTables)
    return {one.name: _of(hints[one.name], definitions) for one in fields(SharedTables)}


def load() -> dict[str, Any]:
    """The shipped schema."""
    schema: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return schema


def _extend_scenario(definition: dict[str, Any]) -> None:
    """Add the keys that the report adds to a scenario's own."""
    definition["properties"] |= {
        "outcome": {"enum": list(OUTCOMES), "description": "What pytest made of the test."},
        "reason": {"type": "string", "description": "Why it was skipped."},
        "run": {"type": "integer", "minimum": 0, "description": "Index into runs."},
    }
    definition["required"] += ["outcome", "reason", "run"]


def _counts(names: tuple[str, ...], required: tuple[str, ...]) -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0}
    return {"type": "object", "required": list(required), "properties": dict.fromkeys(names, count)}


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one type; records are added to ``definitions`` and referenced."""
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return _optional(arguments, definitions)
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if hint is Schedule:
        return {"type": "string"}
    if hint is Frame:
        return {"type": "integer", "minimum": 0, "description": "Index into frames."}
    if isinstance(hint, type) and is_dataclass(hint):
        return _record(hint, definitions)
    raise TypeError(f"{hint!r} has no place in a report; expected text, numbers, tuples, mappings, records")


def _optional(arguments: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    inner = [_of(argument, definitions) for argument in arguments if argument is not type(None)]
    # JSON Schema's short form; a reference has no type that could be extended.
    if len(inner) == 1 and isinstance(inner[0].get("type"), str):
        return {**inner[0], "type": [inner[0]["type"], "null"]}
    return {"anyOf": [*inner, {"type": "null"}]}


def _property(record: type[Any], one: Field[Any], hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _of(hint, definitions)
    if record in BRIEF and default_of(one) is not MISSING:
        schema["default"] = to_plain(default_of(one))
    return schema


def _record(record: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    name = record.__name__
    if name not in definitions:
        # Before its fields, so that a record that contains itself does not recurse forever.
        definitions[name] = {}
        hints = typing.get_type_hints(record)
        definitions[name] = {
            "description": " ".join(inspect.cleandoc(record.__doc__ or "").split()),
            "type": "object",
            # Fields that were added within a version are missing in older files.
            "required": [
                f.name
                for f in fields(record)
                if "added" not in f.metadata
                and not (record in BRIEF and default_of(f) is not MISSING)
                # A point only has the fields that its table lacks.
                and record is not PointSummary
            ],
            "properties": {f.name: _property(record, f, hints[f.name], definitions) for f in fields(record)},
        }
    return {"$ref": f"#/$defs/{name}"}


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=2) + "\n", "utf-8")
    print(f"wrote {FILE}")
