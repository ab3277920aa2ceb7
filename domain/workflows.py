"""Workflow definitions: what a workflow is."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError
from pydantic_core.core_schema import no_info_plain_validator_function

from domain.errors import ErrorCode, InvalidInput
from domain.graph import default_entries, levels, successors_of
from domain.graph_problems import Outline, find_graph_problems
from domain.inputs import as_input, find_input_problems
from domain.json_data import JsonObject, JsonValue, whole
from domain.text import read_name, slugify

MAX_AGENTS = 200
MAX_EDGES = 2_000
MAX_CONFIG_BYTES = 64 * 1024
"""One agent's config, as compact UTF-8 JSON."""
MAX_DEFINITION_BYTES = 512 * 1024
"""A whole definition, as text and as compact UTF-8 JSON."""

GRAPH_INVALID = "graph_invalid"
"""Type of pydantic's error for a document of the right shape whose graph cannot run."""

MAX_NAME_CHARS = 120
MAX_AGENT_NAME_CHARS = 80


def _read_workflow_name(text: str) -> str:
    return read_name(text, max_chars=MAX_NAME_CHARS)


def _read_agent_name(text: str) -> str:
    return read_name(text, max_chars=MAX_AGENT_NAME_CHARS)


def _read_object(value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise PydanticKnownError("dict_type")
    return cast("JsonObject", value)


def _read_input(value: object) -> JsonObject:
    if find_input_problems(value):
        raise PydanticCustomError("input_invalid", "is no input")
    return as_input(value)


AgentName = Annotated[
    str,
    AfterValidator(_read_agent_name),
    Field(json_schema_extra={"minLength": 1, "maxLength": MAX_AGENT_NAME_CHARS, "pattern": "\\S"}),
]
# Whether the data within is JSON is checked for the whole document at once, not per field.
# pydantic cannot build a schema of the recursive `JsonObject` and is given one instead.
_Object = Annotated[
    JsonObject,
    GetPydanticSchema(lambda _source, _handler: no_info_plain_validator_function(_read_object)),
    WithJsonSchema({"type": "object"}),
]
_Input = Annotated[
    JsonObject,
    GetPydanticSchema(lambda _source, _handler: no_info_plain_validator_function(_read_input)),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "pattern": "\\S"},
                {"type": "object", "minProperties": 1},
            ]
        }
    ),
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RunOptions(_Part):
    """How often, and for how long, an agent may try."""

    retries: Annotated[int, Field(ge=0, le=10, strict=True), BeforeValidator(whole)] = 2
    """Further attempts after a failure that may pass by itself, 0 to 10."""

    retry_delay_s: Annotated[float, Field(ge=0, le=600, strict=True)] = 1.0
    """Seconds before the first further attempt, 0 to 600; later ones wait longer."""

    timeout_s: Annotated[float, Field(ge=0.05, le=3600, strict=True)] = 60.0
    """Seconds that one attempt may take, 0.05 to 3600."""


class AgentNode(_Part):
    """One agent of a workflow."""

    name: AgentName
    """How edges and results call this agent: unique in its workflow, 1 to 80 characters."""

    type: Annotated[str, Field(min_length=1, max_length=80)]
    """Which kind of agent it is, a name from the catalogue of agent types."""

    config: _Object = Field(default_factory=dict[str, JsonValue])
    """Settings of its own, as its type describes them."""

    options: RunOptions = RunOptions()
    """How often, and for how long, it may try."""


class Edge(_Part):
    """A connection: what `source` answers is given to `target`. In documents `from` and `to`."""

    source: AgentName = Field(alias="from")
    """Name of the agent that comes first."""

    target: AgentName = Field(alias="to")
    """Name of the agent that gets its answer."""

    @classmethod
    def between(cls, source: str, target: str) -> Self:
        """Make an edge in code, where `from` cannot be an argument's name."""
        return cls.model_validate({"from": source, "to": target})


class WorkflowDefinition(_Part):
    """A named graph of agents. One that exists has no circle, no loose end, no idle agent.

    Documents from people go through `check_definition`, which explains all that is wrong;
    `model_validate` reads back what `as_json` wrote, and only says that something is.
    """

    name: Annotated[
        str,
        AfterValidator(_read_workflow_name),
        Field(json_schema_extra={"minLength": 1, "maxLength": MAX_NAME_CHARS, "pattern": "\\S"}),
    ]
    """What people call the workflow, 1 to 120 characters."""

    description: Annotated[str, Field(max_length=4_000)] | None = None
    """What it is for."""

    default_input: _Input | None = None
    """The input of runs that are started without one, as by a button in Prefect's pages."""

    entry: Annotated[tuple[AgentName, ...], Field(min_length=1)] | None = None
    """Agents that the input goes to. Without it: those that lead on and that none leads to."""

    # How many there may be is checked with the graph, in words of its own.
    agents: Annotated[
        tuple[AgentNode, ...],
        Field(json_schema_extra={"minItems": 1, "maxItems": MAX_AGENTS}),
    ]
    """The agents, in the order in which people shall see them."""

    edges: Annotated[tuple[Edge, ...], Field(json_schema_extra={"maxItems": MAX_EDGES})] = ()
    """Which agent's answer is given to which."""

    @model_validator(mode="after")
    def _refuse_bad_graph(self) -> Self:
        outline = Outline(
            agents=tuple(agent.name for agent in self.agents),
            edges=tuple((edge.source, edge.target) for edge in self.edges),
            entry=self.entry,
        )
        if find_graph_problems(outline):
            raise PydanticCustomError(GRAPH_INVALID, "the graph is not valid")
        return self

    @property
    def slug(self) -> str:
        """The name's `[a-z0-9-]` form."""
        return slugify(self.name)

    def get_agent(self, name: str) -> AgentNode:
        """Give the agent of this name.

        Raises:
            KeyError: there is none.
        """
        return self._agents_by_name[name]

    def topological_levels(self) -> tuple[tuple[AgentNode, ...], ...]:
        """Group the agents into steps: each depends on agents of earlier steps only."""
        found = levels(self._successors)
        return tuple(tuple(self._agents_by_name[name] for name in level) for level in found)

    def ordered_agents(self) -> tuple[AgentNode, ...]:
        """List the agents so that each comes after all that lead to it."""
        return tuple(agent for level in self.topological_levels() for agent in level)

    def upstream_of(self, name: str) -> tuple[str, ...]:
        """List the agents that lead directly to this one, in the order of `agents`."""
        return self._predecessors[name]

    def entries(self) -> tuple[str, ...]:
        """List the agents that the input goes to."""
        return self.entry or default_entries(self._successors)

    def exits(self) -> tuple[str, ...]:
        """List the agents that lead to no other: their answers are the workflow's."""
        return self._exits

    def as_json(self) -> JsonObject:
        """Write the definition out, defaults included, so that later defaults change nothing."""
        optional: dict[str, JsonValue] = {
            "description": self.description,
            "default_input": self.default_input,
            "entry": list(self.entry) if self.entry else None,
        }
        return {
            "name": self.name,
            **{field: value for field, value in optional.items() if value is not None},
            "agents": [
                {
                    "name": agent.name,
                    "type": agent.type,
                    "config": agent.config,
                    "options": cast("JsonObject", agent.options.model_dump()),
                }
                for agent in self.agents
            ],
            "edges": [{"from": edge.source, "to": edge.target} for edge in self.edges],
        }

    @cached_property
    def _agents_by_name(self) -> Mapping[str, AgentNode]:
        return {agent.name: agent for agent in self.agents}

    @cached_property
    def _successors(self) -> Mapping[str, Sequence[str]]:
        return successors_of(
            self._agents_by_name, [(edge.source, edge.target) for edge in self.edges]
        )

    @cached_property
    def _exits(self) -> tuple[str, ...]:
        return tuple(name for name, targets in self._successors.items() if not targets)

    @cached_property
    def _predecessors(self) -> Mapping[str, tuple[str, ...]]:
        turned = successors_of(
            self._agents_by_name,
            [
                (target, source)
                for source, targets in self._successors.items()
                for target in targets
            ],
        )
        return {name: tuple(sources) for name, sources in turned.items()}


class WorkflowInvalid(InvalidInput):
    """A document is no workflow definition that could run."""

    code = ErrorCode.WORKFLOW_INVALID
    subject = "workflow definition"
