"""Agent types: what agents a workflow can be made of, and how they are set up."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from api.access import Access, allow
from api.answers import PROBLEMS, Text
from domain.catalog import AgentType
from domain.permissions import Permission
from persistence.agent_types import get_agent_type, list_agent_types

router = APIRouter(prefix="/agent-types", tags=["agent types"], responses=PROBLEMS)
Reader = Annotated[Access, Depends(allow(Permission.AGENT_TYPES_READ))]


class AgentTypeEntry(BaseModel):
    """An agent type."""

    type: str = Field(examples=["sales_intelligence"])
    description: str = Field(examples=["Qualifies companies by what a CRM knows of them."])
    config_schema: dict[str, Any] = Field(
        description="JSON Schema (2020-12) of an agent's `config`.",
        examples=[
            {
                "type": "object",
                "required": ["connector"],
                "properties": {"connector": {"type": "string"}},
            }
        ],
    )
    example: dict[str, Any] = Field(
        description="A config that fits.",
        examples=[{"connector": "crm", "object_type": "companies"}],
    )

    @classmethod
    def of(cls, found: AgentType) -> "AgentTypeEntry":
        """Show an agent type."""
        return cls(
            type=found.type,
            description=found.description,
            config_schema=found.config_schema,
            example=found.example,
        )


class AgentTypeList(BaseModel):
    """The catalogue of agent types, by name."""

    items: list[AgentTypeEntry]


@router.get("")
def list_types(access: Reader) -> AgentTypeList:
    """List all agent types."""
    with access.open() as session:
        found = list_agent_types(session)
    return AgentTypeList(items=[AgentTypeEntry.of(each) for each in found])


@router.get("/{type}")
def read_type(
    access: Reader,
    type: Annotated[Text, Path(max_length=80, examples=["sales_intelligence"])],
) -> AgentTypeEntry:
    """Show one agent type."""
    with access.open() as session:
        return AgentTypeEntry.of(get_agent_type(session, type))
