"""Connectors and contexts for tests of agents, all over real data."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.connectors.definitions import DatasetConnector, FileConnector
from agents.connectors.listed_companies import listed_companies
from agents.connectors.opening import OrgConnectors
from agents.connectors.parquet import dataset_bytes
from agents.interface import Agent, AgentConfig, AgentContext
from domain.ids import new_execution_id
from domain.outcomes import AgentInput, AgentOutcome, AgentValue

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def listed() -> OrgConnectors:
    """The demo CRM: the listed companies, kept as a data set."""
    content = dataset_bytes(listed_companies())
    return OrgConnectors(
        {"crm": DatasetConnector(kind="dataset")},
        data_root=Path("/nonexistent"),
        read_dataset=lambda name: content if name == "companies" else None,
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the sample records that are not part of this repository."""
    if not (SHARED_DATA / "yc_2024" / "companies_slim.csv").is_file():
        pytest.skip("the sample records (../shared/data/yc_2024) are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def startups(shared_data: Path) -> OrgConnectors:
    """A start-up directory as a CSV file."""
    return OrgConnectors(
        {"crm": FileConnector(kind="file", files={"companies": "companies_slim.csv"})},
        data_root=shared_data / "yc_2024",
        read_dataset=lambda _name: None,
    )


def ask(text: object, **upstream: AgentValue) -> AgentInput:
    """Make an item that asks for something."""
    return AgentInput(new_execution_id(), {"text": text}, upstream)  # type: ignore[dict-item]


def context_of(
    config: AgentConfig, connectors: OrgConnectors, *, name: str = "Agent"
) -> AgentContext[Any]:
    """Make the context of an agent."""
    return AgentContext(name, config, connectors, logging.getLogger("tests.agents"))


async def run_one(
    agent: Agent[Any], item: AgentInput, *, config: AgentConfig, connectors: OrgConnectors
) -> AgentOutcome:
    """Run an agent on one item."""
    outcomes: Sequence[AgentOutcome] = await agent.run([item], context_of(config, connectors))
    assert len(outcomes) == 1
    return outcomes[0]
