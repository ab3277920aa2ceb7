"""Connector definitions as people give them."""

from pydantic import TypeAdapter, ValidationError

from agents.connectors.definitions import ConnectorDefinition
from domain.errors import ErrorCode, InvalidInput, Problem
from domain.pointers import join_pointer

_KINDS = ("file", "sql", "dataset")
_HINTS = {
    "missing": "Add it.",
    "extra_forbidden": "Remove it, or correct its name.",
}


class ConnectorDefinitionInvalid(InvalidInput):
    """A connector's definition is not one that can be opened."""

    code = ErrorCode.CONNECTOR_INVALID
    subject = "connector"


def read_definition(given: object, *, pointer: str = "") -> ConnectorDefinition:
    """Check a connector's definition; what it holds never appears in the problems.

    Raises:
        ConnectorDefinitionInvalid: with every problem, each with its JSON pointer.
    """
    adapter: TypeAdapter[ConnectorDefinition] = TypeAdapter(ConnectorDefinition)
    try:
        return adapter.validate_python(given)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [_problem(each["type"], each["loc"], pointer=pointer) for each in details]
    # Outside of the handler: the validation error holds the secrets that were given.
    raise ConnectorDefinitionInvalid(problems)


def _problem(kind: str, location: tuple[str | int, ...], *, pointer: str) -> Problem:
    # A discriminated union puts the kind before the field's name.
    path = location[1:] if location and location[0] in _KINDS else location
    if kind.startswith("union_tag") or not path:
        return Problem(
            ErrorCode.CONNECTOR_INVALID,
            join_pointer(pointer, *path),
            "The connector does not say of which kind it is.",
            "Set `kind` to `file`, `sql` or `dataset`.",
        )
    name = ".".join(str(token) for token in path)
    fault = {"missing": "is missing", "extra_forbidden": "is unknown"}.get(kind, "is not valid")
    return Problem(
        ErrorCode.CONNECTOR_INVALID,
        join_pointer(pointer, *path),
        f"The connector's setting `{name}` {fault}.",
        _HINTS.get(kind, "Correct it; the documentation of connectors lists what it may be."),
    )
