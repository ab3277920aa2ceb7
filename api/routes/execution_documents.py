"""How executions look to clients."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

from api.cursors import EXAMPLE_CURSOR
from domain.execution_queries import (
    AgentAttempt,
    ExecutionRecord,
    ExecutionSummary,
    Happening,
    TimelineEvent,
)
from domain.executions import Execution, ExecutionError, ExecutionStatus, Trigger

_ID = "exec_01jd3m3k7e9c5v2x8w4z6a1b0d"
_BATCH_ID = "batch_01jd3m3k7e9c5v2x8w4z6a1b0d"
_RUN_ID = "run_01jd3m3k7e9c5v2x8w4z6a1b0d"
_FLOW_RUN_ID = "5f0c2c0e-4b7b-4a53-9e4e-3d1f6a2b9c10"


class ErrorDocument(BaseModel):
    """Why something failed."""

    code: str = Field(examples=["agent.timed_out"])
    message: str = Field(examples=["Agent `Sales Qualifier` did not answer within 60 s."])
    hint: str = Field(examples=["Give it more time, in its `timeout_s`."])

    @classmethod
    def of(cls, error: ExecutionError | None) -> "ErrorDocument | None":
        """Show an error, if there is one."""
        if error is None:
            return None
        return cls(code=error.code.value, message=error.message, hint=error.hint)


class ExecutionOverview(BaseModel):
    """An execution without what went in and came out."""

    id: str = Field(examples=[_ID])
    workflow_id: str = Field(examples=["wf_01jd3m3k7e9c5v2x8w4z6a1b0d"])
    workflow_version: int
    status: ExecutionStatus = Field(examples=["COMPLETED"])
    trigger: Trigger
    requested_by: str | None = Field(examples=["user_anna"])
    priority: int = Field(description="1 comes first, 5 last.", examples=[3])
    attempt: int = Field(description="1, and one more for each time its worker was lost.")
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None
    deadline: datetime | None = Field(examples=[None])
    cancel_requested_at: datetime | None = Field(examples=[None])
    error: ErrorDocument | None = Field(examples=[None])
    tokens_used: int = Field(examples=[1_250])
    cost: str = Field(description="US dollars, as a decimal number.", examples=["0.0042"])
    labels: dict[str, str] = Field(examples=[{"campaign": "spring"}])
    batch_id: str | None = Field(examples=[_BATCH_ID])
    replay_of: str | None = Field(examples=[None])

    @classmethod
    def of(cls, summary: ExecutionSummary) -> "ExecutionOverview":
        """Show a summary."""
        return cls(
            id=summary.id,
            workflow_id=summary.workflow_id,
            workflow_version=summary.workflow_version,
            status=summary.status,
            trigger=summary.trigger,
            requested_by=summary.requested_by,
            priority=summary.priority,
            attempt=summary.attempt,
            created_at=summary.created_at,
            started_at=summary.started_at,
            completed_at=summary.completed_at,
            duration_seconds=summary.duration_seconds,
            deadline=summary.deadline,
            cancel_requested_at=summary.cancel_requested_at,
            error=ErrorDocument.of(summary.error),
            tokens_used=summary.tokens_used,
            cost=show_money(summary.cost),
            labels=summary.labels,
            batch_id=summary.batch_id,
            replay_of=summary.replay_of,
        )


class ExecutionPage(BaseModel):
    """A page of executions."""

    items: list[ExecutionOverview]
    next_cursor: str | None = Field(
        description="Where the next page begins; null on the last one.", examples=[EXAMPLE_CURSOR]
    )
    total: int | None = Field(
        default=None, description="How many match on all pages; only with `count=true`."
    )
    total_is_estimate: bool | None = Field(
        default=None, description="Totals above 10,000 are the database's estimate."
    )


class ExecutionDocument(ExecutionOverview):
    """An execution whole."""

    input_data: dict[str, Any] = Field(examples=[{"text": "Find leads in Ohio"}])
    output: dict[str, Any] | None = Field(
        examples=[{"records": [{"company": "Buckeye Software", "employees": 120}]}]
    )
    agent_results: list[dict[str, Any]] | None = Field(
        description="What each agent did, in the order of the workflow's definition; once it "
        "ended.",
        examples=[[{"name": "Request Analyst", "status": "COMPLETED"}]],
    )
    execution_graph: dict[str, Any] | None = Field(
        description="The agents with their statuses and the edges between them; once it ended.",
        examples=[{"nodes": [{"name": "Request Analyst", "status": "COMPLETED"}], "edges": []}],
    )
    idempotency_key: str | None = Field(examples=["order-4711"])
    run_id: str | None = Field(
        description="The run that carries it, maybe together with others.", examples=[_RUN_ID]
    )
    prefect_flow_run_id: str | None = Field(examples=[_FLOW_RUN_ID])
    prefect_url: str | None = Field(
        description="Its run in Prefect's pages, for operators.",
        examples=[f"http://127.0.0.1:4200/runs/flow-run/{_FLOW_RUN_ID}"],
    )

    @classmethod
    def whole(cls, record: ExecutionRecord, *, prefect_ui_url: str | None) -> "ExecutionDocument":
        """Show a record."""
        execution = record.execution
        flow_run_id, url = execution.prefect_flow_run_id, None
        if flow_run_id is not None and prefect_ui_url is not None:
            url = f"{prefect_ui_url.rstrip('/')}/runs/flow-run/{flow_run_id}"
        return cls(
            id=execution.id,
            workflow_id=execution.workflow_id,
            workflow_version=execution.workflow_version,
            status=execution.status,
            trigger=execution.trigger,
            requested_by=execution.requested_by,
            priority=execution.priority,
            attempt=execution.attempt,
            created_at=execution.created_at,
            started_at=execution.started_at,
            completed_at=execution.completed_at,
            duration_seconds=execution.duration_seconds,
            deadline=record.deadline,
            cancel_requested_at=execution.cancel_requested_at,
            error=ErrorDocument.of(execution.error),
            tokens_used=execution.tokens_used,
            cost=show_money(execution.cost),
            labels=record.labels,
            batch_id=record.batch_id,
            replay_of=execution.replay_of,
            input_data=execution.input_data,
            output=execution.output,
            agent_results=_results_in_order(execution),
            execution_graph=execution.execution_graph,
            idempotency_key=execution.idempotency_key,
            run_id=execution.run_id,
            prefect_flow_run_id=flow_run_id,
            prefect_url=url,
        )


class AgentAttemptDocument(BaseModel):
    """One attempt of one agent."""

    id: str = Field(examples=["arun_01jd3m3k7e9c5v2x8w4z6a1b0d"])
    run_id: str = Field(examples=[_RUN_ID])
    agent_name: str = Field(examples=["Sales Qualifier"])
    attempt: int
    status: ExecutionStatus = Field(description="COMPLETED or FAILED.", examples=["FAILED"])
    error: ErrorDocument | None
    is_retryable: bool
    started_at: datetime
    completed_at: datetime
    duration_seconds: float
    tokens_used: int = Field(examples=[1_250])
    cost: str = Field(examples=["0.0042"])

    @classmethod
    def of(cls, attempt: AgentAttempt) -> "AgentAttemptDocument":
        """Show an attempt."""
        return cls(
            id=attempt.id,
            run_id=attempt.run_id,
            agent_name=attempt.agent_name,
            attempt=attempt.attempt,
            status=ExecutionStatus.FAILED if attempt.error else ExecutionStatus.COMPLETED,
            error=ErrorDocument.of(attempt.error),
            is_retryable=attempt.is_retryable,
            started_at=attempt.started_at,
            completed_at=attempt.completed_at,
            duration_seconds=round(attempt.duration_seconds, 6),
            tokens_used=attempt.tokens_used,
            cost=show_money(attempt.cost),
        )


class AgentAttempts(BaseModel):
    """All attempts of all agents, by start."""

    items: list[AgentAttemptDocument]


class TimelineEntry(BaseModel):
    """Something that happened to an execution."""

    at: datetime
    event: Happening
    agent_name: str | None = Field(examples=["Sales Qualifier"])
    attempt: int | None
    user_id: str | None = Field(examples=[None])
    error_code: str | None = Field(examples=[None])

    @classmethod
    def of(cls, event: TimelineEvent) -> "TimelineEntry":
        """Show an event."""
        return cls(
            at=event.at,
            event=event.event,
            agent_name=event.agent_name,
            attempt=event.attempt,
            user_id=event.user_id,
            error_code=event.error_code.value if event.error_code else None,
        )


class Timeline(BaseModel):
    """What happened to an execution, in order of time."""

    items: list[TimelineEntry]


class Batch(BaseModel):
    """Executions that were queued together."""

    batch_id: str = Field(examples=[_BATCH_ID])
    count: int = Field(description="How many this request has added.")
    execution_ids: list[str] | None = Field(
        default=None,
        description="In the order of the inputs; with `execution_ids=true`.",
        examples=[[_ID]],
    )


def show_money(amount: Decimal) -> str:
    """Write an amount without needless zeros."""
    return f"{amount.normalize():f}"


def _results_in_order(execution: Execution) -> list[dict[str, Any]] | None:
    # Postgres keeps a JSON object without its order; the graph's list of nodes has it.
    results: dict[str, Any] | None = execution.agent_results
    if results is None:
        return None
    graph: dict[str, Any] = execution.execution_graph or {}
    names = [str(node["name"]) for node in graph.get("nodes", [])]
    names += sorted(results.keys() - set(names))
    return [{"name": name, **results[name]} for name in names if name in results]
