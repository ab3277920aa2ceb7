"""What an agent is: takes the items of a whole batch, returns one outcome per item, in order."""

import builtins
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict

from domain.json_data import JsonObject
from domain.outcomes import AgentInput, AgentOutcome


class AgentConfig(BaseModel):
    """Base of every agent's config: unknown fields are refused, docstrings describe fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


ConfigT = TypeVar("ConfigT", bound=AgentConfig)


class Connector(Protocol):
    """Where an organization keeps its records."""

    def load(self, object_type: str) -> pd.DataFrame:
        """Read one object type whole, one row per record, values as the source has them.

        Blocking: call it through a thread.

        Raises:
            TenantryError: with a `connector.*` or `data.*` code.
        """
        ...


class Connectors(Protocol):
    """The connectors of the organization that an agent runs for, and of no other."""

    def open(self, name: str) -> Connector:
        """Find a connector by the name that the organization gave it.

        Raises:
            TenantryError: `connector.not_found`.
        """
        ...


@dataclass(frozen=True, slots=True)
class AgentContext(Generic[ConfigT]):
    """All that an agent may reach besides its items."""

    agent_name: str
    config: ConfigT
    connectors: Connectors
    log: logging.Logger
    item_timeout_s: float | None = None
    """Seconds that each item of a batch may take; a single item's limit is its task's."""


class Agent(ABC, Generic[ConfigT]):
    """A type of agent. Instances hold no state between calls."""

    type: ClassVar[str]
    """Name in workflow definitions, snake_case, never renamed."""
    description: ClassVar[str]
    """One sentence for the catalogue."""
    example: ClassVar[JsonObject]
    """A config that validates."""
    Config: builtins.type[ConfigT]  # `type` is a field of this class
    concurrency: ClassVar[int] = 8
    """Items of a batch that are handled at the same time."""

    def read_config(self, config: JsonObject) -> ConfigT:
        """Read a config that was checked before it was stored.

        Raises:
            ValidationError: the catalogue has changed since.
        """
        return self.Config.model_validate(config)

    @abstractmethod
    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[ConfigT]
    ) -> Sequence[AgentOutcome]:
        """Handle every item and return one outcome for each, in the same order.

        One bad item is that item's failed outcome and never an exception: an exception fails
        all items of the batch.
        """
