"""Whether somebody's document is a workflow definition, and all that is wrong if it is not."""

from collections.abc import Iterator, Sequence
from typing import Protocol, cast

from pydantic import ValidationError

from domain.errors import ErrorCode, Problem
from domain.graph_problems import Outline, find_graph_problems
from domain.inputs import find_input_problems
from domain.json_checks import encoded_size_bytes, find_json_problems, show_size
from domain.json_data import JsonObject, JsonValue
from domain.pointers import join_pointer
from domain.shape_problems import list_shape_problems
from domain.text import read_name
from domain.workflows import (
    GRAPH_INVALID,
    MAX_AGENT_NAME_CHARS,
    MAX_AGENTS,
    MAX_CONFIG_BYTES,
    MAX_DEFINITION_BYTES,
    MAX_EDGES,
    WorkflowDefinition,
    WorkflowInvalid,
)

_MAX_PROBLEMS = 1_000
# A document this many times over a limit is not read further: a million empty edges would
# make millions of problems.
_HOPELESS = 10


class AgentCheck(Protocol):
    """Checks one agent's type and config: the ground floor knows no agent types."""

    def __call__(
        self, type_name: str, config: JsonObject, *, agent_name: str, pointer: str
    ) -> Sequence[Problem]:
        """List what is wrong; `pointer` is the agent's own (`/agents/1`).

        An unknown type is one problem, `agent.type_unknown` at `<pointer>/type`; problems of
        the config point at or below `<pointer>/config`.
        """
        ...


def check_definition(document: object, *, check_agent: AgentCheck) -> WorkflowDefinition:
    """Read a workflow definition from a document that somebody wrote.

    Raises:
        WorkflowInvalid: with every problem of the document.
    """
    definition, problems = find_problems(document, check_agent)
    if definition is None:
        raise WorkflowInvalid(problems)
    return definition


def find_problems(
    document: object, check_agent: AgentCheck
) -> tuple[WorkflowDefinition | None, tuple[Problem, ...]]:
    """Give the definition, or None and all problems of the document: never both, never neither.

    At most 1,000 problems are listed, and then one that says that there are more.
    """
    if not isinstance(document, dict):
        return None, (
            Problem(
                ErrorCode.FIELD_INVALID,
                "",
                "A workflow definition must be an object.",
                "Start with the fields `name`, `agents` and `edges`.",
            ),
        )
    fields = cast("JsonObject", document)
    hopeless = list(_count_problems(fields, times=_HOPELESS))
    if hopeless:
        return None, tuple(hopeless)
    not_json = find_json_problems(fields, pointer="", code=ErrorCode.FIELD_INVALID)
    definition, shape = _read_shape(fields)
    known = {problem.pointer for problem in not_json if problem.pointer}
    problems: list[Problem] = [
        *_count_problems(fields, times=1),
        *(() if not_json else _size_problems(fields)),
        *not_json,
        *(problem for problem in shape if problem.pointer not in known),
        *_default_input_problems(fields, not_json),
        *_agent_problems(fields, check_agent, not_json),
        *_graph_problems(fields),
    ]
    if problems:
        return None, _capped(problems)
    if definition is None:
        raise RuntimeError("a workflow document was refused without a problem")
    return definition, ()


def _read_shape(fields: JsonObject) -> tuple[WorkflowDefinition | None, list[Problem]]:
    try:
        return WorkflowDefinition.model_validate(fields), []
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] == GRAPH_INVALID:
            return None, []
        problems = list_shape_problems(error, model=WorkflowDefinition, document=fields)
        # What is wrong with the input is said in detail by its own check.
        return None, [problem for problem in problems if problem.pointer != "/default_input"]


def _count_problems(fields: JsonObject, *, times: int) -> Iterator[Problem]:
    for field, limit in (("agents", MAX_AGENTS), ("edges", MAX_EDGES)):
        count = len(_items(fields, field))
        if count > limit * times:
            yield Problem(
                ErrorCode.WORKFLOW_TOO_LARGE,
                join_pointer("", field),
                f"The workflow has {count:,} {field}, and at most {limit:,} are allowed.",
                "Split it into several workflows.",
            )


def _size_problems(fields: JsonObject) -> Iterator[Problem]:
    size_bytes = encoded_size_bytes(fields)
    if size_bytes > MAX_DEFINITION_BYTES:
        yield Problem(
            ErrorCode.WORKFLOW_TOO_LARGE,
            "",
            f"The definition has {show_size(size_bytes)}, and at most "
            f"{show_size(MAX_DEFINITION_BYTES)} are allowed.",
            "Move large data out of the agents' configs, into what a connector reads.",
        )
    for position, agent in _objects(fields, "agents"):
        size_bytes = encoded_size_bytes(agent.get("config"))
        if size_bytes > MAX_CONFIG_BYTES:
            yield Problem(
                ErrorCode.WORKFLOW_TOO_LARGE,
                join_pointer("/agents", position, "config"),
                f"The config has {show_size(size_bytes)}, and at most "
                f"{show_size(MAX_CONFIG_BYTES)} are allowed.",
                "Move large data out of it, into what a connector reads.",
            )


def _default_input_problems(fields: JsonObject, not_json: Sequence[Problem]) -> list[Problem]:
    given = fields.get("default_input")
    if given is None or any(_is_within(problem, "/default_input") for problem in not_json):
        return []
    return find_input_problems(given, pointer="/default_input")


def _agent_problems(
    fields: JsonObject, check_agent: AgentCheck, not_json: Sequence[Problem]
) -> Iterator[Problem]:
    for position, agent in _objects(fields, "agents"):
        type_name, name = agent.get("type"), agent.get("name")
        if not isinstance(type_name, str) or not type_name:
            continue
        pointer = join_pointer("/agents", position)
        agent_name = name if isinstance(name, str) else f"agent {position + 1}"
        config = agent.get("config", {})
        is_readable = not any(_is_within(problem, f"{pointer}/config") for problem in not_json)
        if isinstance(config, dict) and is_readable:
            yield from check_agent(type_name, config, agent_name=agent_name, pointer=pointer)
        else:
            # The config is refused already; whether the type exists is still worth saying.
            for problem in check_agent(type_name, {}, agent_name=agent_name, pointer=pointer):
                if problem.code is ErrorCode.AGENT_TYPE_UNKNOWN:
                    yield problem


def _graph_problems(fields: JsonObject) -> list[Problem]:
    if not isinstance(fields.get("agents"), list):
        return []  # its shape is refused already
    edges, entry = fields.get("edges", []), fields.get("entry")
    return find_graph_problems(
        Outline(
            agents=tuple(_name_in(item, "name") for item in _items(fields, "agents")),
            edges=tuple(
                (_name_in(item, "from"), _name_in(item, "to")) for item in _items(fields, "edges")
            ),
            entry=tuple(map(_name_of, entry)) if isinstance(entry, list) else None,
            edges_readable=isinstance(edges, list) and (entry is None or isinstance(entry, list)),
        )
    )


def _name_in(item: JsonValue, field: str) -> str | None:
    return _name_of(item.get(field)) if isinstance(item, dict) else None


def _name_of(value: JsonValue) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return read_name(value, max_chars=MAX_AGENT_NAME_CHARS)
    except ValueError:
        return None


def _items(fields: JsonObject, field: str) -> list[JsonValue]:
    value = fields.get(field)
    return value if isinstance(value, list) else []


def _objects(fields: JsonObject, field: str) -> Iterator[tuple[int, JsonObject]]:
    for position, item in enumerate(_items(fields, field)):
        if isinstance(item, dict):
            yield position, item


def _is_within(problem: Problem, pointer: str) -> bool:
    return problem.pointer == pointer or problem.pointer.startswith(f"{pointer}/")


def _capped(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    if len(problems) <= _MAX_PROBLEMS:
        return tuple(problems)
    more = Problem(
        ErrorCode.WORKFLOW_INVALID,
        "",
        "There are more problems, which are not listed.",
        "Correct the listed ones first.",
    )
    return *problems[:_MAX_PROBLEMS], more
