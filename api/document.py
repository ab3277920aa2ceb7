"""The API's OpenAPI document, made complete: examples for everything, and no answer too many."""

from collections.abc import Iterator
from typing import Any, TypeAlias, cast

from fastapi import FastAPI

from api.problems import MEDIA_TYPE

_Json: TypeAlias = "dict[str, Any]"
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})
# What only a request that may have a body can be answered, even where none is asked for.
_BODY_ANSWERS = frozenset({"408", "413"})
_PRECONDITION_ANSWERS = frozenset({"412", "428"})
_TIME = "2026-11-23T12:00:00Z"
MADE_UP = "…"
"""Stands in an example for text that no field gives an example of; a test finds it."""


def complete_document(app: FastAPI) -> None:
    """Have the application's document completed as it is made."""
    build = app.openapi

    def openapi() -> _Json:
        document = build()
        for method, operation in _operations(document):
            _drop_impossible_answers(method, operation)
            for parameter in operation.get("parameters", []):
                _drop_null(parameter)
            for content in _contents(operation):
                _give_example(content, document)
        return document

    # FastAPI's own way to change the document.
    app.openapi = openapi


def _operations(document: _Json) -> Iterator[tuple[str, _Json]]:
    for item in cast("dict[str, _Json]", document["paths"]).values():
        yield from (each for each in item.items() if each[0] in _METHODS)


def _contents(operation: _Json) -> Iterator[tuple[str, _Json]]:
    for part in (operation.get("requestBody"), *operation["responses"].values()):
        described = cast("_Json", part or {})
        yield from cast("dict[str, _Json]", described.get("content", {})).items()


def _drop_impossible_answers(method: str, operation: _Json) -> None:
    """Leave out what this operation never answers; routers declare what any of theirs may."""
    answers: dict[str, _Json] = operation["responses"]
    parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
    impossible: set[str] = set()
    if method == "get":
        impossible |= _BODY_ANSWERS
    if "requestBody" not in operation:
        impossible.add("415")
    if "If-Match" not in parameters:
        impossible |= _PRECONDITION_ANSWERS
    if len(answers.get("200", {}).get("content", {})) < 2:
        impossible.add("406")
    for status in impossible & answers.keys():
        del answers[status]


def _drop_null(parameter: _Json) -> None:
    """Say of a parameter's schema what it is if it is there: in a URL there is no `null`."""
    schema: _Json = parameter["schema"]
    options = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if len(options) == 1:
        del schema["anyOf"]
        parameter["schema"] = {**options[0], **schema}


def _give_example(content: tuple[str, _Json], document: _Json) -> None:
    media_type, described = content
    if media_type not in ("application/json", MEDIA_TYPE):
        return
    if "example" in described or "examples" in described:
        return
    schema = _resolve(described["schema"], document)
    examples = cast("list[Any]", schema.get("examples", []))
    if examples:
        described["examples"] = {
            str(number): {"value": value} for number, value in enumerate(examples, 1)
        }
    else:
        described["example"] = _example_of(schema, document)


def _example_of(schema: _Json, document: _Json) -> Any:
    # A field's own examples say more than those of its type.
    for here in (schema, _resolve(schema, document)):
        for keyword in ("examples", "enum"):
            if here.get(keyword):
                return here[keyword][0]
        if "anyOf" in here:
            return _example_of(here["anyOf"][0], document)
    schema = _resolve(schema, document)
    if schema.get("type") == "object":
        fields = cast("dict[str, _Json]", schema.get("properties", {}))
        return {name: _example_of(field, document) for name, field in fields.items()}
    if schema.get("type") == "array":
        return [_example_of(schema["items"], document)]
    return _simple_example(schema)


def _simple_example(schema: _Json) -> str | int | float | bool | None:
    match schema.get("type"):
        case "string":
            return _TIME if schema.get("format") == "date-time" else MADE_UP
        case "integer":
            return max(1, schema.get("minimum", 1))
        case "number":
            return 1.0
        case "boolean":
            return True
        case _:
            return None


def _resolve(schema: _Json, document: _Json) -> _Json:
    while "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/components/schemas/")
        schema = document["components"]["schemas"][name]
    return schema
