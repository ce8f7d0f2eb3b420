"""Prefect's form of a deployment: labels in one style, the settings' limits and present values.

Prefect makes a form of a flow's parameters. What it leaves out is filled in when the form is
deployed: limits come from the settings' own classes, values from the params.yaml there is.
"""

from __future__ import annotations

import copy
from typing import Any, get_type_hints

from prefect import Flow
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from components.lode.settings import Range
from components.settings import Settings
from flows.names import shown
from flows.parameters import AS_IN_PARAMS, KEYS

_LARGE = 10**9  # a limit above it is none that anybody meets


class _WithRanges(GenerateJsonSchema):
    """Pydantic writes no limits for what a function checks, as our ranges do."""

    def function_after_schema(
        self, schema: core_schema.AfterValidatorFunctionSchema
    ) -> dict[str, Any]:
        made = super().function_after_schema(schema)
        limits = getattr(schema["function"]["function"], "__self__", None)
        if isinstance(limits, Range):
            made |= {"minimum": limits.low, "maximum": limits.high}
        return made


def form(flow: Flow[..., Any], settings: Settings | None) -> dict[str, Any]:
    """The schema that Prefect's page draws the form of a flow from.

    Args:
        settings: of the params.yaml whose values it says; None: it says none.
    """
    schema = parameter_schema(flow).model_dump(exclude_unset=True)
    hints = get_type_hints(flow.fn, include_extras=True)
    for name, field in schema["properties"].items():
        field["title"] = _title(name, hints[name])
        field["description"] = _sentence(field.get("description", ""))
        limits = TypeAdapter(hints[name]).json_schema(schema_generator=_WithRanges)
        if "$defs" not in limits and "properties" not in limits:  # else fields of its own
            _limit(field, _plain(limits))
    if "task" in schema["properties"] and settings is not None:
        field = schema["properties"]["task"]
        first, *others = field["enum"]
        field["enum"] = [first, *settings.tasks, *others]
        _say_present(field, settings.task)
    definitions = schema.get("definitions") or {}
    if "Changes" in definitions:
        shown_first = schema["properties"]["changes"]["default"]
        schema["properties"]["changes"]["default"] = {
            name: value for name, value in shown_first.items() if value is not None
        }
        for name, field in definitions["Changes"]["properties"].items():
            if name in KEYS:
                _fill(field, KEYS[name], settings)
    return dict(schema)


def _title(name: str, hint: Any) -> str:
    """That of its annotation, or its name: `Task`."""
    given = (one.title for one in getattr(hint, "__metadata__", ()) if isinstance(one, FieldInfo))
    return next(filter(None, given), name.replace("_", " ").capitalize())


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fill(field: dict[str, Any], key: str, settings: Settings | None) -> None:
    """Limits, in words too, and the present value of the field for a setting."""
    if field.get("default") != AS_IN_PARAMS:  # else a list to pick from
        _limit(field, limits_of(key))
    if settings is not None:
        value: Any = settings
        for part in key.split("."):
            value = getattr(value, part)
        _say_present(field, value)


def _limit(field: dict[str, Any], limits: dict[str, Any]) -> None:
    """Of one that may be empty, a field instead of a switch between it and "None"."""
    if "default" in field and field["default"] is None:
        del field["anyOf"], field["default"]
    field |= limits
    field["description"] += _limits_in_words(limits)


def _say_present(field: dict[str, Any], value: Any) -> None:
    field["description"] += f" In params.yaml: {shown(value)}."


def limits_of(key: str) -> dict[str, Any]:
    """Type and limits of a setting by its dotted key, as JSON Schema writes them."""
    whole = Settings.model_json_schema(schema_generator=_WithRanges)
    found = whole
    for part in key.split("."):
        found = found["properties"][part]
        reference = found.get("$ref") or next((one["$ref"] for one in found.get("allOf", ())), "")
        if reference:
            found = whole["$defs"][reference.rpartition("/")[2]]
    return _plain(found)


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """What a value must be that is not null."""
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return {k: v for k, v in copy.deepcopy(kinds[0]).items() if k not in ("default", "title")}


def _limits_in_words(limits: dict[str, Any]) -> str:
    """` From 10 to 10,000.`, ` 2 to 1,000 of them.`; nothing where nobody meets a limit."""
    least, most = limits.get("minItems"), limits.get("maxItems")
    if least is not None and most is not None:
        return f" {least:,} to {most:,} of them."
    low, high = limits.get("minimum"), limits.get("maximum")
    if low is None or high is None:
        return ""
    return f" From {low:,} to {high:,}." if high < _LARGE else f" At least {low:,}."
