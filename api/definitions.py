"""Workflow definitions in requests and answers: JSON or YAML, read whole and checked."""

from dataclasses import dataclass
from typing import Annotated, Any, cast

import yaml
from fastapi import Depends, Request, Response

from api.agent_schemas import agent_check
from api.media_types import choose_media_type
from domain.definition_text import parse_definition
from domain.errors import ErrorCode, InvalidInput, Problem, TenantryError
from domain.json_checks import encoded_size_bytes, find_json_problems
from domain.json_data import JsonObject
from domain.text import read_name, slugify
from domain.unreadable import unreadable
from domain.workflow_checks import find_problems
from domain.workflows import (
    MAX_DEFINITION_BYTES,
    MAX_NAME_CHARS,
    WorkflowDefinition,
    WorkflowInvalid,
)
from persistence.agent_types import list_agent_types
from persistence.sessions import OrgSession

YAML = "application/yaml"
_JSON = "application/json"
_YAML_TYPES = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml"})
EXAMPLE_DEFINITION: JsonObject = {
    "name": "Enterprise lead search",
    "description": "Finds and qualifies leads for a request.",
    "default_input": {"text": "Find fintechs in New York with 50 to 200 people"},
    "agents": [
        {"name": "Request Analyst", "type": "lead_request"},
        {
            "name": "Sales Qualifier",
            "type": "sales_intelligence",
            "config": {"connector": "crm", "object_type": "companies"},
        },
        {"name": "Lead Report", "type": "lead_report"},
    ],
    "edges": [
        {"from": "Request Analyst", "to": "Sales Qualifier"},
        {"from": "Sales Qualifier", "to": "Lead Report"},
    ],
}


# Which of the two is taken depends on `draft`, of which a schema of the body knows nothing.
_DRAFT: dict[str, Any] = {
    "title": "Draft",
    "description": "With `draft=true` only: anything that has a name, whatever is wrong with it.",
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_NAME_CHARS,
            "pattern": "\\S",
        }
    },
}


class MediaTypeUnsupported(TenantryError):
    """A body is sent as something that is not read here."""

    code = ErrorCode.MEDIA_TYPE_UNSUPPORTED


class BodyMissing(InvalidInput):
    """A request without the body that it is about."""

    code = ErrorCode.REQUEST_INVALID
    subject = "request"


@dataclass(frozen=True, slots=True)
class Checked:
    """A document, and what it turned out to be.

    `definition` is `None` where there are problems.
    """

    document: JsonObject
    definition: WorkflowDefinition | None
    problems: tuple[Problem, ...]

    def get_definition(self) -> WorkflowDefinition:
        """Give the definition.

        Raises:
            WorkflowInvalid: with all problems.
        """
        if self.definition is None:
            raise WorkflowInvalid(self.problems)
        return self.definition

    @property
    def stored(self) -> JsonObject:
        """Give what is kept: the definition with its defaults, or a draft as it was written."""
        return self.definition.as_json() if self.definition else self.document

    @property
    def description(self) -> str:
        """Give the description, as far as it can be read."""
        if self.definition is not None:
            return self.definition.description or ""
        given = self.document.get("description")
        return given[:4_000] if isinstance(given, str) else ""

    def get_name(self) -> str:
        """Give the name that the workflow is kept under; a draft needs one too.

        Raises:
            WorkflowInvalid: there is none, or the document cannot be kept at all.
        """
        if self.definition is not None:
            return self.definition.name
        name = self.document.get("name")
        try:
            readable = read_name(name if isinstance(name, str) else "", max_chars=MAX_NAME_CHARS)
        except ValueError as error:
            raise WorkflowInvalid(self.problems) from error
        if find_json_problems(self.document, pointer="", code=ErrorCode.FIELD_INVALID):
            raise WorkflowInvalid(self.problems)
        if encoded_size_bytes(self.document) > MAX_DEFINITION_BYTES:
            raise WorkflowInvalid(self.problems)
        return readable

    @property
    def slug(self) -> str:
        """Give the slug that the workflow is kept under."""
        return slugify(self.get_name())


def check_document(session: OrgSession, document: JsonObject) -> Checked:
    """Find all that is wrong with a document, by the stored catalogue of agent types."""
    check = agent_check(list_agent_types(session))
    definition, problems = find_problems(document, check)
    return Checked(document, definition, problems)


@dataclass(frozen=True, slots=True)
class DefinitionText:
    """A definition as it was sent."""

    text: bytes
    is_json: bool
    is_sent: bool = True
    """Whether there is a body, if only an empty one with a `Content-Type`."""

    def check_sent(self) -> None:
        """See that there is a body at all.

        Raises:
            BodyMissing: there is none.
        """
        if not self.is_sent:
            raise BodyMissing.one(
                ErrorCode.FIELD_MISSING,
                "",
                "The request has no body.",
                "Send the definition, as JSON or YAML.",
            )

    def parse(self) -> JsonObject:
        """Read the document.

        Raises:
            WorkflowUnreadable: says where and why.
        """
        # As YAML, text that is no object would mean something else than its sender thinks.
        if self.is_json and not self.text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            raise unreadable(
                "A workflow definition must be an object.",
                hint="Start with the fields `name`, `agents` and `edges`.",
            )
        return parse_definition(self.text)


async def read_body(request: Request) -> DefinitionText:
    """Read a definition's text.

    Raises:
        MediaTypeUnsupported: it is neither JSON nor YAML.
    """
    named = request.headers.get("content-type")
    kind = (named or _JSON).partition(";")[0].strip().lower()
    if kind != _JSON and kind not in _YAML_TYPES:
        raise MediaTypeUnsupported(
            "The body is neither JSON nor YAML.",
            hint=f"Send a definition as `Content-Type: {_JSON}` or `{YAML}`.",
        )
    text = await request.body()
    return DefinitionText(text, kind == _JSON, is_sent=bool(text) or named is not None)


Body = Annotated[DefinitionText, Depends(read_body)]
"""Type of the parameter in which a route gets a definition's text; after the one for access."""


def wants_yaml(request: Request) -> bool:
    """Say whether a request asks for YAML rather than JSON.

    Raises:
        NotAcceptable: it takes neither.
    """
    return choose_media_type(request.headers.get("accept"), (_JSON, YAML)) == YAML


def yaml_response(document: JsonObject, headers: dict[str, str]) -> Response:
    """Answer with a definition as YAML, which can be given back as it is."""
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return Response(text, media_type=YAML, headers=headers)


def request_schema(*, anything: bool = False) -> dict[str, Any]:
    """Describe the body of the routes that take a definition, for the API's document.

    Args:
        anything: for the route that says what is wrong with whatever it gets.
    """
    schema = (
        {} if anything else {"anyOf": [_inline(WorkflowDefinition.model_json_schema()), _DRAFT]}
    )
    examples = {"lead search": {"value": EXAMPLE_DEFINITION}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                _JSON: {"schema": schema, "examples": examples},
                YAML: {"schema": schema, "examples": examples},
            },
        }
    }


def yaml_answer(description: str) -> dict[int | str, dict[str, Any]]:
    """Describe an answer that can be had as YAML too, for the API's document."""
    content = {YAML: {"schema": {"type": "object"}, "example": EXAMPLE_DEFINITION}}
    return {200: {"description": description, "content": content}}


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    # References point into the schema itself, which is only a part of the API's document. No
    # model of a definition holds itself, so this ends.
    definitions = cast("dict[str, Any]", schema.pop("$defs", {}))

    def resolve(part: Any) -> Any:
        if isinstance(part, list):
            return [resolve(each) for each in cast("list[Any]", part)]
        if not isinstance(part, dict):
            return part
        fields = cast("dict[str, Any]", part)
        reference = fields.get("$ref")
        if isinstance(reference, str):
            found = definitions[reference.removeprefix("#/$defs/")]
            fields = {**found, **{name: fields[name] for name in fields if name != "$ref"}}
        return {name: resolve(value) for name, value in fields.items()}

    return resolve(schema)
