"""JSON as a type, and what our tables can and cannot hold of it."""

import json
from typing import TypeAlias

# Recursive on purpose: pydantic and pyright both read it, `Any` would hide a datetime or a NaN.
JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
JsonObject: TypeAlias = dict[str, JsonValue]


def whole(given: object) -> object:
    """Make `4.0` the whole number that it is in JSON; give everything else back as it came."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


def encode_json(value: JsonValue) -> str:
    """Write a value as compact JSON; it stays one character for each of a text's."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
