"""JSON text as data, stricter than Python's reader: no repeated names, no NaN, no deep nests."""

import json
import math
import re
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from domain.json_checks import MAX_DEPTH, MAX_INTEGER
from domain.json_data import JsonValue
from domain.text import is_storable, quote
from domain.unreadable import WorkflowUnreadable, unreadable_here

_Fault: TypeAlias = tuple[str, str]  # what is wrong, what to do
_TOO_DEEP = (
    f"the text is nested deeper than {MAX_DEPTH} levels.",
    "Put fewer objects and lists inside each other.",
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def read_json(text: str) -> JsonValue:
    """Read JSON text.

    Raises:
        json.JSONDecodeError: the text is not JSON.
        WorkflowUnreadable: it is, but holds what a definition may not.
    """
    try:
        # Whole numbers are judged below: Python refuses to convert one of thousands of digits.
        data = cast("JsonValue", json.loads(text, parse_int=_read_integer))
    except RecursionError as error:
        # Deep enough to end Python's stack is deep enough for the second look to stop there.
        raise _find_excess(text) or json.JSONDecodeError("Nested", text, 0) from error
    excess = _find_excess(text)
    if excess is not None:
        raise excess
    return data


def _read_integer(digits: str) -> int:
    return int(digits) if len(digits) <= len(str(-MAX_INTEGER)) else 0


@dataclass(slots=True)
class _Open:
    """An object or a list that is being read. A list has no names."""

    names: set[str] | None
    expects_name: bool = field(default=False)


def _find_excess(text: str) -> WorkflowUnreadable | None:
    """Find the first thing in valid JSON that a definition may not hold.

    A second look at the text, because Python's reader tells the place of syntax errors only.
    """
    opened: list[_Open] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        fault: _Fault | None = None
        if token in "{[":
            is_object = token == "{"
            opened.append(_Open(set() if is_object else None, expects_name=is_object))
            fault = _TOO_DEEP if len(opened) > MAX_DEPTH else None
        elif token in "}]":
            opened.pop()
        elif token == ",":
            opened[-1].expects_name = opened[-1].names is not None
        elif token[0] == '"':
            fault = _text_fault(token, opened[-1] if opened else None)
        elif token != ":":
            fault = _number_fault(token)
        if fault is not None:
            return unreadable_here(text, match.start(), fault[0], hint=fault[1])
    return None


def _text_fault(token: str, within: _Open | None) -> _Fault | None:
    value = cast("str", json.loads(token)) if "\\" in token else token[1:-1]
    if not is_storable(value):
        return (
            "the text holds a character that cannot be stored (NUL, or half a surrogate pair).",
            "Remove the escape `\\u0000`, `\\ud…`; it is often left over from a binary file.",
        )
    if within is None or within.names is None or not within.expects_name:
        return None
    within.expects_name = False
    if value in within.names:
        return f"the field {quote(value)} is there twice.", "Remove one of the two."
    within.names.add(value)
    return None


def _number_fault(token: str) -> _Fault | None:
    if token in ("true", "false", "null"):
        return None
    if token.lstrip("-")[0].isdigit():
        if not set(token) & set(".eE"):
            if len(token) <= len(str(-MAX_INTEGER)) and abs(int(token)) <= MAX_INTEGER:
                return None
            return "the whole number does not fit in 64 bits.", "Write it as text, in quotes."
        if math.isfinite(float(token)):
            return None
    return "NaN and infinity are not JSON numbers.", "Use `null`, or leave the field out."
