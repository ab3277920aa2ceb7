"""What routes share: the text type that Postgres can hold, and how errors are described."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from api.problems import MEDIA_TYPE, ProblemDocument
from domain.text import is_storable


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("has a character that cannot be stored (NUL or half a surrogate pair)")
    return text


# `[^\x00]` tells generators of requests, and clients, what the validator checks.
Text = Annotated[
    str, AfterValidator(_storable), Field(json_schema_extra={"pattern": "^[^\\x00]*$"})
]
"""Text as Postgres takes it: no NUL, no lone surrogate."""


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemDocument.model_config.get('title')}"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _problem("The request cannot be read."),
    401: _problem("There is no valid token."),
    403: _problem("The token lacks the permission."),
    404: _problem("There is no such thing in this organization."),
    406: _problem("The answer exists in no media type that the request accepts."),
    409: _problem("It clashes with what is there."),
    412: _problem("It was changed meanwhile."),
    413: _problem("The body is too large."),
    415: _problem("The body is of a media type that is not read here."),
    422: _problem("The request is refused; all problems are listed."),
    428: _problem("The request must say what it changes, in `If-Match`."),
    429: _problem("Too many requests."),
    503: _problem("The database is away; try again."),
}
