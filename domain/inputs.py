"""An execution's input: what may be given to a workflow."""

from typing import cast

from domain.errors import ErrorCode, InvalidInput, Problem
from domain.json_checks import encoded_size_bytes, find_json_problems, show_size
from domain.json_data import JsonObject, JsonValue

MAX_INPUT_BYTES = 256 * 1024
"""As compact UTF-8 JSON. Inputs are rows, and a run carries up to a thousand of them."""

_CODE = ErrorCode.EXECUTION_INPUT_INVALID


class ExecutionInputInvalid(InvalidInput):
    """An execution's input is not what a workflow can take."""

    code = _CODE
    subject = "input"


def check_input(given: object) -> JsonObject:
    """Take an execution's input: a JSON object, or a plain text, which becomes `{"text": …}`.

    Raises:
        ExecutionInputInvalid: with every problem found.
    """
    problems = find_input_problems(given)
    if problems:
        raise ExecutionInputInvalid(problems)
    return as_input(given)


def as_input(given: object) -> JsonObject:
    """Give an input that has no problems the form in which agents get it."""
    return {"text": given} if isinstance(given, str) else cast("JsonObject", given)


def find_input_problems(given: object, *, pointer: str = "") -> list[Problem]:
    """List what is wrong with an input; `pointer` is where it stands in a larger document."""
    if not isinstance(given, str | dict):
        return [
            Problem(
                _CODE,
                pointer,
                "The input must be a text or a JSON object.",
                'Give a sentence, or fields such as `{"text": "…"}`.',
            )
        ]
    # A length in characters never exceeds the one in bytes: this spares walking a huge text.
    if isinstance(given, str) and len(given) > MAX_INPUT_BYTES:
        return [_too_large(len(given.encode("utf-8", "surrogatepass")), pointer)]
    problems = find_json_problems(cast("object", given), pointer=pointer, code=_CODE)
    if problems:
        return problems
    data = as_input(cast("object", given))
    if _is_blank(data):
        return [
            Problem(
                _CODE,
                pointer,
                "The input is empty.",
                'Say what the workflow shall do, for instance `{"text": "Find leads in Ohio"}`.',
            )
        ]
    size_bytes = encoded_size_bytes(cast("JsonValue", given))
    return [_too_large(size_bytes, pointer)] if size_bytes > MAX_INPUT_BYTES else []


def _is_blank(data: JsonObject) -> bool:
    if data.keys() - {"text"}:
        return False
    text = data.get("text")
    return text is None or (isinstance(text, str) and not text.strip())


def _too_large(size_bytes: int, pointer: str) -> Problem:
    return Problem(
        _CODE,
        pointer,
        f"The input has {show_size(size_bytes)}, and at most {show_size(MAX_INPUT_BYTES)} "
        "are allowed.",
        "Split it into several executions, or let a connector read the large part.",
    )
