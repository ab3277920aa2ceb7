"""The agent types that workflows may use."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from rapidfuzz import fuzz, process

from agents.config_checks import find_config_problems
from agents.interface import Agent
from agents.lead_report import LeadReport
from agents.lead_request import LeadRequest
from agents.sales_intelligence import SalesIntelligence
from domain.errors import ErrorCode, Problem, TenantryError
from domain.json_data import JsonObject
from domain.pointers import join_pointer
from domain.text import name_key, quote

# Agents of different configs in one table: only here is the config's type not known.
AnyAgent: TypeAlias = Agent[Any]

AGENT_CLASSES: tuple[type[AnyAgent], ...] = (LeadRequest, SalesIntelligence, LeadReport)

# Below this likeness (0 to 100) a suggestion would only puzzle.
_MIN_LIKENESS = 55


class AgentTypeUnknown(TenantryError):
    """A workflow names an agent type that does not exist."""

    code = ErrorCode.AGENT_TYPE_UNKNOWN


@dataclass(frozen=True, slots=True)
class AgentTypeInfo:
    """What the catalogue says about an agent type."""

    type: str
    description: str
    config_schema: JsonObject
    example: JsonObject


class AgentRegistry:
    """Finds agents by type."""

    def __init__(self, agents: Iterable[AnyAgent]) -> None:
        self._agents: dict[str, AnyAgent] = {}
        for agent in agents:
            if agent.type in self._agents:
                raise ValueError(f"two agents are of type {agent.type!r}")
            self._agents[agent.type] = agent

    def find(self, type_name: str) -> AnyAgent | None:
        """Find the agent of a type, or None."""
        return self._agents.get(type_name)

    def get(self, type_name: str) -> AnyAgent:
        """Find the agent of a type.

        Raises:
            AgentTypeUnknown: there is none.
        """
        agent = self._agents.get(type_name)
        if agent is None:
            message, hint = self._unknown(type_name)
            raise AgentTypeUnknown(message, hint=hint)
        return agent

    def types(self) -> tuple[str, ...]:
        """List all types by name."""
        return tuple(sorted(self._agents))

    def catalogue(self) -> tuple[AgentTypeInfo, ...]:
        """Describe all types, for people who build workflows."""
        return tuple(
            AgentTypeInfo(
                type=agent.type,
                description=agent.description,
                config_schema=agent.Config.model_json_schema(),
                example=agent.example,
            )
            for _, agent in sorted(self._agents.items())
        )

    def check_config(
        self, type_name: str, config: object, pointer: str, *, agent_name: str
    ) -> tuple[Problem, ...]:
        """List everything that is wrong with one agent of a workflow.

        Args:
            config: as given; anything.
            pointer: where the config stands, such as `/agents/1/config`. An unknown type is
                reported beside it, at `/agents/1/type`.
            agent_name: how the workflow calls the agent.
        """
        agent = self.find(type_name)
        if agent is None:
            message, hint = self._unknown(type_name)
            at = join_pointer(pointer.rpartition("/")[0], "type")
            return (Problem(ErrorCode.AGENT_TYPE_UNKNOWN, at, message, hint),)
        return find_config_problems(
            config,
            model=agent.Config,
            agent_name=agent_name,
            pointer=pointer,
            example=agent.example,
        )

    def _unknown(self, type_name: str) -> tuple[str, str]:
        wanted = name_key(type_name[:100]).replace("-", "_").replace(" ", "_")
        near = process.extractOne(
            wanted, list(self._agents), scorer=fuzz.WRatio, score_cutoff=_MIN_LIKENESS
        )
        types = ", ".join(quote(name) for name in self.types())
        hint = f"Did you mean {quote(near[0])}? " if near else ""
        return f"There is no agent type {quote(type_name)}.", f"{hint}Agent types: {types}."


def default_registry() -> AgentRegistry:
    """Make the registry of all agents that Tenantry ships."""
    return AgentRegistry(agent_class() for agent_class in AGENT_CLASSES)
