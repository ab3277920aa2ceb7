"""Measure how often a request is read right: `python -m benchmarks.lead_requests [GOLD]`.

Runs the two agents on the labelled requests over the company records beside this repository
(`../shared/data`) and compares the answers, company by company.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.connectors.definitions import FileConnector
from agents.connectors.opening import OrgConnectors
from agents.interface import AgentConfig, AgentContext
from agents.lead_request import LeadRequest, LeadRequestConfig
from agents.sales_intelligence import SalesIntelligence, SalesIntelligenceConfig
from domain.errors import ErrorCode
from domain.ids import ExecutionId
from domain.outcomes import AgentInput, AgentOutcome

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
GOLD = DATA / "requests" / "requests_dev.jsonl"


@dataclass(frozen=True, slots=True)
class Scored:
    """One request's answer beside the expected one."""

    id: str
    text: str
    exact: bool
    f1: float
    criteria: object
    missing: int
    wrong: int


def main() -> None:
    """Print the share of exact answers, the mean F1, and every request that was not exact."""
    gold = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLD
    scored = asyncio.run(measure(gold, DATA))
    for each in scored:
        if not each.exact:
            print(f"{each.id}  F1 {each.f1:.2f}  -{each.missing} +{each.wrong}  {each.text}")  # noqa: T201 (a script's output)
            print(f"      {each.criteria}")  # noqa: T201
    exact, f1 = summary(scored)
    print(json.dumps({"n": len(scored), "exact": exact, "macro_f1": f1}))  # noqa: T201


def summary(scored: list[Scored]) -> tuple[float, float]:
    """Give the share of exact answers and the mean F1."""
    number = len(scored)
    return (
        round(sum(each.exact for each in scored) / number, 4),
        round(sum(each.f1 for each in scored) / number, 4),
    )


async def measure(gold: Path, data: Path) -> list[Scored]:
    """Answer every request and compare."""
    rows = [json.loads(line) for line in gold.read_text("utf-8").splitlines() if line.strip()]
    connectors = OrgConnectors(
        {"crm": FileConnector(kind="file", files={"companies": "companies_slim.csv"})},
        data_root=data / "yc_2024",
        read_dataset=lambda _name: None,
    )
    items = [_item(row) for row in rows]
    readings = await LeadRequest().run(items, _context(LeadRequestConfig(), connectors))
    asked = [
        AgentInput(item.execution_id, item.input_data, {"request": reading.value})
        for item, reading in zip(items, readings, strict=True)
        if reading.value is not None
    ]
    config = SalesIntelligenceConfig(connector="crm", object_type="companies", max_leads=10_000)
    answers = await SalesIntelligence().run(asked, _context(config, connectors))
    by_id = {item.execution_id: each for item, each in zip(asked, answers, strict=True)}
    return [
        _score(row, reading, by_id.get(ExecutionId(row["id"])))
        for row, reading in zip(rows, readings, strict=True)
    ]


def _score(row: Mapping[str, Any], reading: AgentOutcome, answer: AgentOutcome | None) -> Scored:
    records = answer.value.records if answer and answer.value else None
    ids = [int(str(lead["id"])) for lead in records or ()]
    expected: list[int] = row["expected_ids"]
    found, wanted = set(ids), set(expected)
    f1 = 2 * len(found & wanted) / (len(found) + len(wanted)) if found or wanted else 1.0
    exact = ids == expected if row["ordered"] else found == wanted
    asks_back = reading.failure is not None and reading.failure.code is ErrorCode.REQUEST_UNCLEAR
    if row["criteria"].get("needs_clarification"):
        exact = asks_back
        f1 = float(exact)
    elif asks_back:
        exact = False
    return Scored(
        id=row["id"],
        text=row["text"],
        exact=exact,
        f1=f1,
        criteria=reading.failure or (reading.value and reading.value.data),
        missing=len(wanted - found),
        wrong=len(found - wanted),
    )


def _item(row: Mapping[str, Any]) -> AgentInput:
    return AgentInput(ExecutionId(row["id"]), {"text": row["text"]}, {})


def _context(config: AgentConfig, connectors: OrgConnectors) -> AgentContext[Any]:
    return AgentContext("benchmark", config, connectors, logging.getLogger("benchmark"))


if __name__ == "__main__":
    main()
