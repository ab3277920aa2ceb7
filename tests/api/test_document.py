"""The OpenAPI document is a valid one, has an example for everything, and each example fits."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31

from api.app import create_app
from api.document import MADE_UP
from api.problems import MEDIA_TYPE
from api.state import ApiState
from persistence.sessions import Database
from tests.api.operations import METHODS

JSON = "application/json"


@pytest.fixture
def document(database: Database) -> dict[str, Any]:
    # As clients get it, not as Python holds it.
    return json.loads(json.dumps(create_app(ApiState(database=database)).openapi()))


def each_operation(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


def each_content(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, operation in each_operation(document):
        parts = {"body": operation.get("requestBody", {}), **operation["responses"]}
        for part, described in parts.items():
            for media_type, content in described.get("content", {}).items():
                yield f"{name} {part} {media_type}", media_type, content


def examples_of(content: dict[str, Any]) -> list[Any]:
    named = [each["value"] for each in content.get("examples", {}).values()]
    return [*named, *([content["example"]] if "example" in content else [])]


def complaints(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    whole = {**schema, "components": document["components"]}
    validator = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [error.message for error in validator.iter_errors(value)]


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts_in(each)


def test_the_document_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in Draft202012Validator(OPENAPI_31).iter_errors(document)] == []


def test_every_schema_in_the_document_is_a_json_schema(document):
    schemas = [*document["components"]["schemas"].values()]
    schemas += [content["schema"] for _, _, content in each_content(document)]
    for _, operation in each_operation(document):
        schemas += [parameter["schema"] for parameter in operation.get("parameters", [])]
    assert len(schemas) > 100
    for schema in schemas:
        Draft202012Validator.check_schema(schema)


def test_every_body_and_every_answer_has_an_example(document):
    # Parquet is binary.
    without = [
        name
        for name, media_type, content in each_content(document)
        if not examples_of(content) and media_type != "application/vnd.apache.parquet"
    ]
    assert without == []


def test_every_example_of_a_body_or_an_answer_fits_its_schema(document):
    wrong = {
        name: found
        for name, _, content in each_content(document)
        for value in examples_of(content)
        if (found := complaints(document, content["schema"], value))
    }
    assert wrong == {}


def test_every_example_of_a_field_or_a_parameter_fits_its_schema(document):
    described = [
        (f"{name}.{field}", schema)
        for name, model in document["components"]["schemas"].items()
        for field, schema in {**model.get("properties", {}), "": model}.items()
    ]
    for name, operation in each_operation(document):
        described += [
            (f"{name} {parameter['name']}", parameter["schema"])
            for parameter in operation.get("parameters", [])
        ]
    wrong = {
        name: found
        for name, schema in described
        for value in schema.get("examples", [])
        if (found := complaints(document, schema, value))
    }
    assert wrong == {}


def test_no_example_is_made_up_where_a_field_lacks_its_own(document):
    made_up = [
        name
        for name, _, content in each_content(document)
        if any(MADE_UP in texts_in(value) for value in examples_of(content))
    ]
    assert made_up == []


def test_every_error_is_described_as_a_problem_with_its_own_status(document):
    wrong = []
    for name, operation in each_operation(document):
        errors = {status: each for status, each in operation["responses"].items() if status >= "4"}
        for status, described in errors.items():
            content = described["content"]
            statuses = {value["status"] for value in examples_of(content.get(MEDIA_TYPE, {}))}
            if list(content) != [MEDIA_TYPE] or statuses != {int(status)}:
                wrong.append(f"{name} {status}")
        if not {"400", "401", "403", "422", "429", "500", "503"} <= errors.keys():
            wrong.append(name)
        if "requestBody" in operation and not {"408", "413", "415"} <= errors.keys():
            wrong.append(name)
    assert wrong == []


def test_no_parameter_of_a_url_or_a_header_is_said_to_take_null(document):
    nullable = [
        f"{name} {parameter['name']}"
        for name, operation in each_operation(document)
        for parameter in operation.get("parameters", [])
        if {"type": "null"} in parameter["schema"].get("anyOf", [])
    ]
    assert nullable == []


def test_the_document_is_the_same_each_time_it_is_made(document, database: Database):
    app = create_app(ApiState(database=database))
    assert app.openapi() == app.openapi()
    assert json.loads(json.dumps(app.openapi())) == document
