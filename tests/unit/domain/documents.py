"""Workflow documents for tests, a small catalogue of agent types, and a pointer resolver."""

from collections.abc import Sequence
from typing import cast

from domain.errors import ErrorCode, Problem
from domain.json_data import JsonObject, JsonValue
from domain.pointers import join_pointer
from domain.workflow_checks import find_problems


def check_agent(
    type_name: str, config: JsonObject, *, agent_name: str, pointer: str
) -> Sequence[Problem]:
    """Know one type, `search`, whose config may hold `limit` only."""
    if type_name != "search":
        message = f"`{agent_name}` has the type `{type_name}`, which does not exist."
        return [Problem(ErrorCode.AGENT_TYPE_UNKNOWN, f"{pointer}/type", message, "Use `search`.")]
    return [
        Problem(
            ErrorCode.AGENT_CONFIG_INVALID,
            join_pointer(pointer, "config", field),
            "unknown setting",
            "Use `limit`.",
        )
        for field in config
        if field != "limit"
    ]


def agent(name: str, **more: JsonValue) -> JsonObject:
    """Describe an agent of the one known type."""
    return {"name": name, "type": "search", **more}


def edge(pair: str) -> JsonObject:
    """Describe an edge: `A>B`."""
    source, target = pair.split(">")
    return {"from": source, "to": target}


def document(agents: str, /, *edges: str, **more: JsonValue) -> JsonObject:
    """Describe a workflow: `document("A B", "A>B")`."""
    return {
        "name": "Lead search",
        "agents": [agent(name) for name in agents.split()],
        "edges": [edge(pair) for pair in edges],
        **more,
    }


def problems_of(given: object) -> tuple[Problem, ...]:
    """List the problems of a document."""
    return find_problems(given, check_agent)[1]


def places_of(given: object) -> list[tuple[ErrorCode, str]]:
    """List code and pointer of each problem of a document."""
    return [(problem.code, problem.pointer) for problem in problems_of(given)]


def resolve(given: object, pointer: str) -> object:
    """Follow a JSON pointer as RFC 6901 says.

    Raises:
        LookupError: it leads nowhere.
    """
    here = given
    if pointer and not pointer.startswith("/"):
        raise LookupError(pointer)
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(here, list):
            here = cast("list[object]", here)[int(name)]
        elif isinstance(here, dict):
            here = cast("dict[str, object]", here)[name]
        else:
            raise LookupError(pointer)
    return here
