"""The text of a workflow definition: YAML or JSON in, plain JSON data out, or a reason."""

import json
import re

from domain.definition_json import read_json
from domain.definition_yaml import read_yaml
from domain.json_checks import show_size
from domain.json_data import JsonObject, JsonValue
from domain.unreadable import (
    WorkflowUnreadable,
    too_large,
    unreadable,
    unreadable_at,
    unreadable_here,
)
from domain.workflows import MAX_DEFINITION_BYTES

# What neither YAML nor JSON text may hold, but editors and copying leave behind.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_JSON_START = re.compile(r'\s*\{\s*["}]')


def parse_definition(text: str | bytes) -> JsonObject:
    """Read the text of a definition, YAML or JSON, as JSON data; `check_definition` judges it.

    Of YAML only what JSON can say is taken: no anchors, aliases or tags, one document, keys
    that are text. Unquoted words are null, true, false or a number where JSON would read them
    so, and else text. So a date stays as it was written, for JSON has no dates and turning one
    into text again would change its form; likewise `no`, `12:30` and `007`. NaN and infinity
    are refused, because neither JSON nor Postgres can hold them.

    Raises:
        WorkflowUnreadable: the text cannot be read; says where and why. Nothing else is raised.
    """
    data = _read(_decoded(text))
    if not isinstance(data, dict):
        raise unreadable(
            "The text holds no fields." if data is not None else "The text is empty.",
            hint="Start with the fields `name`, `agents` and `edges`, as in `name: My workflow`.",
        )
    return data


def _decoded(given: str | bytes) -> str:
    # The length in characters is never more than the one in bytes.
    if len(given) > MAX_DEFINITION_BYTES:
        raise _too_large(len(given))
    if isinstance(given, bytes):
        try:
            text = given.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = given.count(b"\n", 0, error.start) + 1
            column = error.start - (given.rfind(b"\n", 0, error.start) + 1) + 1
            raise unreadable_at(
                line,
                column,
                "the text is not encoded as UTF-8.",
                hint="Save the file as UTF-8; in most editors under `Save as`, `Encoding`.",
            ) from error
    else:
        text = given.removeprefix("\ufeff")
    control = _CONTROL.search(text)
    if control is not None:
        raise unreadable_here(
            text,
            control.start(),
            f"there is an invisible control character (U+{ord(control[0]):04X}).",
            hint="Remove it; it often comes with text that was copied from elsewhere.",
        )
    size_bytes = len(text.encode())
    if size_bytes > MAX_DEFINITION_BYTES:
        raise _too_large(size_bytes)
    return text


def _read(text: str) -> JsonValue:
    # Decided by the beginning, not by trial: read as YAML, broken JSON often still means
    # something, as `{"retries": tru}` does, but not what its author wanted.
    if _JSON_START.match(text) is None:
        return read_yaml(text)
    try:
        return read_json(text)
    except json.JSONDecodeError as error:
        index, hint = _json_fault(text, error)
        raise unreadable_here(text, index, "the text is not valid JSON here.", hint=hint) from error


def _json_fault(text: str, error: json.JSONDecodeError) -> tuple[int, str]:
    """Say where a JSON text is wrong, as an index into it, and what to do."""
    before = text[: error.pos].rstrip()
    # Python 3.13 points at a comma with nothing after it, older ones at what comes instead.
    if error.msg.startswith("Illegal trailing comma"):
        return error.pos, "Remove this comma."
    if before.endswith(",") and text[error.pos : error.pos + 1] in ("}", "]"):
        return len(before) - 1, "Remove this comma."
    if error.msg.startswith("Extra data"):
        return error.pos, "Remove what follows the closing brace."
    if error.msg.startswith(("Unterminated", "Invalid control")):
        return error.pos, 'Close the text with `"`; write line ends inside it as `\\n`.'
    if error.msg.startswith("Invalid \\"):
        return error.pos, "Write a backslash as `\\\\`."
    return error.pos, "Look for a missing comma, colon, quote or brace just before this place."


def _too_large(size_bytes: int) -> WorkflowUnreadable:
    return too_large(
        f"The text has {show_size(size_bytes)}, and at most "
        f"{show_size(MAX_DEFINITION_BYTES)} are allowed.",
        hint="Move large data out of the definition, into what a connector reads.",
    )
