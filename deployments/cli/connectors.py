"""`tenantry connectors`: say where an organization's records are."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from cyclopts import App, Parameter
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich.text import Text
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from agents.connectors.definitions import (
    ConnectorDefinition,
    DatasetConnector,
    FileConnector,
    SqlConnector,
)
from deployments.cli.failures import LineOf, show_error
from deployments.cli.invocation import DONE, WRONG_USE, Invoked
from deployments.cli.opening import open_desk
from deployments.cli.reading import read_file
from deployments.cli.screen import answers, clean, make_facts, make_table, show_json
from deployments.cli.source_lines import find_lines
from domain.definition_text import parse_definition
from domain.errors import ErrorCode, InvalidInput, Problem
from domain.json_data import JsonObject, JsonValue
from domain.pointers import join_pointer, resolvable_tokens
from domain.text import Suggester, quote, read_name
from domain.unreadable import WorkflowUnreadable
from persistence.connectors import list_connectors, set_connector

_NAME_CHARS = 80
_HIDDEN = "••••"
_KINDS: Mapping[object, type[BaseModel]] = {
    "file": FileConnector,
    "sql": SqlConnector,
    "dataset": DatasetConnector,
}
_EXAMPLE = "Such as `kind: file` and `folder: exports`, or `kind: dataset`."
_DEFINITION: TypeAdapter[ConnectorDefinition] = TypeAdapter(ConnectorDefinition)

app = App(name="connectors", help="Say where records are.")


class ConnectorRefused(InvalidInput):
    """A text is no connector's definition."""

    code = ErrorCode.CONNECTOR_INVALID
    subject = "connector"


@app.command(name="set")
def set_(
    name: str,
    /,
    *,
    file: Annotated[str, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)],
    call: Invoked,
) -> int:
    """Add a connector, or give the one of that name another definition.

    Args:
        name: How agents call it, in their config's `connector`.
        file: The definition, YAML or JSON; `-` reads standard input.
    """
    shown_name = _read_name(name)
    raw = read_file(file)
    settings = _parse(raw)
    problems = tuple(_find_problems(settings))
    if problems:
        lines: LineOf = find_lines(raw.decode("utf-8-sig"))
        show_error(ConnectorRefused(problems), as_json=call.as_json, line_of=lines)
        return WRONG_USE
    with open_desk(call) as desk:
        with desk.session() as session:
            change = set_connector(session, shown_name, settings)
        folder = desk.installation.settings.data_root / call.org_id
    if call.as_json:
        show_json(
            {
                "name": shown_name,
                "result": change,
                "created": change == "created",
                "settings": _masked(settings),
            }
        )
        return DONE
    said = {
        "created": " is added.",
        "replaced": " is set, in place of the definition that it had.",
        "unchanged": " is unchanged: it has this definition already.",
    }[change]
    answers().print(Text.assemble(("✓ ", "green"), (clean(shown_name), "bold"), said))
    if settings.get("kind") == "file":
        below = folder / str(settings.get("folder") or ".")
        answers().print(make_facts(("  reads files in", str(below))))
    return DONE


@app.command(name="list")
def list_(*, call: Invoked) -> int:
    """List the connectors; passwords are not shown."""
    with open_desk(call) as desk, desk.session() as session:
        found = {name: _masked(settings) for name, settings in list_connectors(session).items()}
    if call.as_json:
        show_json({"connectors": [{"name": name, "settings": found[name]} for name in found]})
        return DONE
    if not found:
        answers().print("No connectors yet. Add one: `tenantry connectors set NAME -f FILE.yaml`")
        return DONE
    table = make_table("name", "kind", "settings")
    for name, settings in found.items():
        rest = ", ".join(f"{key}: {value}" for key, value in settings.items() if key != "kind")
        table.add_row(clean(name), clean(str(settings.get("kind", ""))), clean(rest))
    answers().print(table)
    return DONE


def _read_name(name: str) -> str:
    try:
        return read_name(name, max_chars=_NAME_CHARS)
    except ValueError as error:
        raise ConnectorRefused.one(
            ErrorCode.CONNECTOR_INVALID,
            "",
            f"The connector's name {error}.",
            f"Give a name of 1 to {_NAME_CHARS} characters, such as `crm`.",
        ) from error


def _parse(raw: bytes) -> JsonObject:
    try:
        return parse_definition(raw)
    except WorkflowUnreadable as error:
        # The reader is the one of workflows, and says what those begin with.
        problem = error.problems[0]
        is_empty = "Start with" in problem.hint
        hint = _EXAMPLE if is_empty else problem.hint
        raise ConnectorRefused.one(
            ErrorCode.CONNECTOR_INVALID, "", problem.message, hint
        ) from error


def _find_problems(settings: JsonObject) -> Iterator[Problem]:
    kind = settings.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        yield Problem(
            ErrorCode.CONNECTOR_INVALID if "kind" in settings else ErrorCode.FIELD_MISSING,
            "/kind",
            "The connector does not say of which kind it is."
            if kind is None
            else f"There is no kind of connector {quote(str(kind))}.",
            f"Kinds are `file`, `sql`, `dataset`. {_EXAMPLE}",
        )
        return
    try:
        _DEFINITION.validate_python(settings)
    except ValidationError as error:
        for details in error.errors(include_url=False, include_input=False, include_context=True):
            # The first part of the place is the kind, by which pydantic chose.
            place = [*details["loc"][1:]]
            yield _problem(settings, details["type"], place, said=details["msg"])


def _problem(settings: JsonObject, kind: str, place: list[str | int], *, said: str) -> Problem:
    field = str(place[0]) if place else ""
    tokens = resolvable_tokens(settings, place)
    if kind == "missing":
        return Problem(
            ErrorCode.FIELD_MISSING,
            join_pointer("", *place),
            f"The field {quote(field)} is missing.",
            _meaning(settings, field) or f"Add `{field}: …`.",
        )
    if kind == "extra_forbidden":
        known = _fields(settings)
        near = Suggester(known).nearest(field)
        names = ", ".join(quote(name) for name in known)
        return Problem(
            ErrorCode.FIELD_UNKNOWN,
            join_pointer("", *tokens),
            f"There is no field {quote(field)} in a connector of this kind.",
            f"Did you mean {quote(near)}?" if near else f"Remove it. Fields are: {names}.",
        )
    if kind == "string_pattern_mismatch":
        return Problem(
            ErrorCode.FIELD_INVALID,
            join_pointer("", *tokens),
            f"{quote(str(tokens[-1] if tokens else field))} cannot be a name here.",
            "Use letters, digits and `_`, beginning with a letter, such as `companies`.",
        )
    expected = said.removeprefix("Input ").replace("'", "`")
    return Problem(
        ErrorCode.FIELD_INVALID,
        join_pointer("", *tokens),
        f"The field {quote(field)} {expected[:1].lower()}{expected[1:]}.",
        _meaning(settings, field) or "Correct its value.",
    )


def _fields(settings: JsonObject) -> Mapping[str, str]:
    """Map the fields of this kind to their meaning."""
    fields = _KINDS[settings.get("kind")].model_fields
    return {name: " ".join((field.description or "").split()) for name, field in fields.items()}


def _meaning(settings: JsonObject, field: str) -> str:
    return _fields(settings).get(field, "")


def _masked(settings: JsonObject) -> JsonObject:
    shown: dict[str, JsonValue] = {**settings}
    if "url" in shown:
        shown["url"] = _masked_url(shown["url"])
    return shown


def _masked_url(url: JsonValue) -> str:
    try:
        parsed = make_url(str(url))
    except (ArgumentError, ValueError):
        return _HIDDEN
    # Options may hold secrets too (`sslpassword`).
    return parsed.set(query={}).render_as_string(hide_password=True)
