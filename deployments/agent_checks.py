"""Check the agents of a definition against the catalogue of agent types."""

from collections.abc import Sequence

from agents.registry import AgentRegistry
from domain.errors import Problem
from domain.json_data import JsonObject
from domain.pointers import join_pointer
from domain.workflow_checks import AgentCheck


def agent_check(registry: AgentRegistry) -> AgentCheck:
    """Make the check of one agent's type and config, for `check_definition`."""

    def check(
        type_name: str, config: JsonObject, *, agent_name: str, pointer: str
    ) -> Sequence[Problem]:
        return registry.check_config(
            type_name, config, join_pointer(pointer, "config"), agent_name=agent_name
        )

    return check
