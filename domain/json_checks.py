"""Whether data is JSON that our tables can hold, and how large it is once encoded."""

import json
import math
from typing import TypeAlias, cast

from domain.errors import ErrorCode, Problem
from domain.json_data import JsonValue
from domain.pointers import join_pointer
from domain.text import is_storable, quote

MAX_DEPTH = 32
"""Objects and lists inside each other, the outermost included. Deeper data is no one's
handwriting, and recursion in any library on the way (json, pydantic, Postgres) stays safe."""

MAX_INTEGER = 2**63 - 1
"""Postgres `jsonb` holds more, but pandas and nearly every reader of JSON do not."""

# Beyond this a list of problems helps nobody; the rest of the data is not looked at.
_MAX_PROBLEMS = 100

# A path as a linked list: pointers are built for the few bad values only.
_Path: TypeAlias = "tuple[_Path, str | int] | None"


def find_json_problems(value: object, *, pointer: str, code: ErrorCode) -> list[Problem]:
    """List what is not JSON in `value`, or cannot be stored: at most 100 problems, each `code`.

    Found are: other types than JSON has, keys that are not text, NaN and infinities, whole
    numbers beyond 64 bits, NUL and lone surrogates in text, and nesting deeper than 32.
    """
    if _is_sound(value, 1):
        return []
    problems: list[Problem] = []
    waiting: list[tuple[object, _Path, int]] = [(value, None, 1)]
    while waiting and len(problems) < _MAX_PROBLEMS:
        here, path, depth = waiting.pop()
        fault: tuple[str, str] | None
        if isinstance(here, dict | list):
            fault = _container_fault(cast("dict[object, object] | list[object]", here), depth)
            if depth <= MAX_DEPTH:
                children = _children(cast("dict[object, object] | list[object]", here))
                waiting.extend((child, (path, token), depth + 1) for token, child in children)
        else:
            fault = _scalar_fault(here)
        if fault is not None:
            problems.append(Problem(code, _pointer(pointer, path), *fault))
    return problems


def encoded_size_bytes(value: JsonValue) -> int:
    """Count the bytes of the value as compact UTF-8 JSON. It must be free of JSON problems."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def show_size(size_bytes: int) -> str:
    """Write a size for people, in KB of 1,024 bytes, rounded up."""
    return f"{math.ceil(size_bytes / 1024):,} KB"


def _is_sound(value: object, depth: int) -> bool:
    # Every answer of every agent is looked at, and hardly any has a problem: this only says that
    # there is none. Subclasses of JSON's types are left to the walk that knows them.
    kind = type(value)
    if kind is str:
        return is_storable(cast(str, value))
    if kind is dict:
        fields = cast("dict[object, object]", value)
        return depth <= MAX_DEPTH and _are_sound_fields(fields, depth + 1)
    if kind is list:
        items = cast("list[object]", value)
        return depth <= MAX_DEPTH and all(_is_sound(item, depth + 1) for item in items)
    if kind is int:
        return abs(cast(int, value)) <= MAX_INTEGER
    return value is None or kind is bool or (kind is float and math.isfinite(cast(float, value)))


def _are_sound_fields(fields: dict[object, object], depth: int) -> bool:
    # A loop: a generator would take as long as what it looks at.
    for key, field in fields.items():
        if type(key) is not str or not is_storable(key) or not _is_sound(field, depth):
            return False
    return True


def _children(
    container: dict[object, object] | list[object],
) -> list[tuple[str | int, object]]:
    if isinstance(container, list):
        found: list[tuple[str | int, object]] = list(enumerate(container))
    else:
        found = [
            (key, value)
            for key, value in container.items()
            if isinstance(key, str) and is_storable(key)
        ]
    # The walk takes from the end: reversed, problems come in the order of the document.
    return found[::-1]


def _container_fault(
    container: dict[object, object] | list[object], depth: int
) -> tuple[str, str] | None:
    if depth > MAX_DEPTH:
        return (
            f"The data is nested deeper than {MAX_DEPTH} levels.",
            "Flatten it: put fewer objects and lists inside each other.",
        )
    if isinstance(container, dict):
        for key in container:
            if not isinstance(key, str):
                return "A field's name is not text.", "Put the name in quotes."
            if not is_storable(key):
                return (
                    f"The field name {quote(key)} holds a character that cannot be stored.",
                    "Remove NUL characters and half surrogate pairs from the name.",
                )
    return None


def _scalar_fault(value: object) -> tuple[str, str] | None:
    match value:
        case None | bool():
            return None
        case str():
            if is_storable(value):
                return None
            return (
                "The text holds a character that cannot be stored (NUL, or half a surrogate pair).",
                "Remove the character; it is often left over from a binary file.",
            )
        case int():
            if abs(value) <= MAX_INTEGER:
                return None
            return "The whole number does not fit in 64 bits.", "Write it as text, in quotes."
        case float():
            if math.isfinite(value):
                return None
            return "NaN and infinity are not JSON numbers.", "Use `null`, or leave the field out."
        case _:
            return (
                "The value is of a type that JSON does not have.",
                "Use text, numbers, true, false, null, lists and objects; dates as text.",
            )


def _pointer(pointer: str, path: _Path) -> str:
    tokens: list[str | int] = []
    while path is not None:
        path, token = path
        tokens.append(token)
    return join_pointer(pointer, *reversed(tokens))
