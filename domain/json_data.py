"""JSON as a type, and what our tables can and cannot hold of it."""

from typing import TypeAlias

# Recursive on purpose: pydantic and pyright both read it, `Any` would hide a datetime or a NaN.
JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
JsonObject: TypeAlias = dict[str, JsonValue]
