"""Agent runs: one attempt of one agent for one execution."""

from dataclasses import dataclass
from datetime import datetime

from domain.ids import AgentRunId, ExecutionId, RunId
from domain.outcomes import AgentOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """What an agent answered at one attempt, counted from 1. Times are aware UTC."""

    id: AgentRunId
    execution_id: ExecutionId
    run_id: RunId
    agent_name: str
    attempt: int
    outcome: AgentOutcome
    started_at: datetime
    completed_at: datetime
