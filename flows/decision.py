"""How an execution ends: decided by its own agent runs, not by its neighbours' or Prefect's."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from domain.agent_runs import AgentRun
from domain.errors import ErrorCode
from domain.executions import (
    CANCELLED,
    DEADLINE_PASSED,
    CarriedExecution,
    Execution,
    ExecutionError,
    ExecutionStatus,
)
from domain.ids import ExecutionId
from domain.json_data import JsonObject, JsonValue
from domain.outcomes import Usage
from domain.runs import Ending
from domain.workflows import WorkflowDefinition
from persistence.execution_moves import FinishedExecution

_LOST = ExecutionError(
    ErrorCode.EXECUTION_LOST,
    "The worker that ran this execution was lost, and so were the ones that tried again.",
    "Run it again. If it happens again, look for an agent that takes too much memory.",
)
_TIMED_OUT = ExecutionError(
    ErrorCode.AGENT_TIMED_OUT,
    "The run was out of time before every agent had answered.",
    "Raise the time limit, or give it less to do.",
)
_ENDED = ExecutionError(
    ErrorCode.EXECUTION_FAILED,
    "The run ended in Prefect before every agent had answered.",
    "Run it again. The run's page in Prefect says who or what ended it.",
)


def decide(
    definition: WorkflowDefinition,
    execution_id: ExecutionId,
    agent_runs: Sequence[AgentRun],
    *,
    ending: Ending,
    may_retry: bool,
) -> FinishedExecution | None:
    """Decide one execution's final status, or `None` to give it back to the queue.

    Args:
        agent_runs: the execution's own, in the order in which they started.
        may_retry: whether a lost execution has attempts left.
    """
    answers = last_answers(agent_runs)
    missing = [node.name for node in definition.agents if node.name not in answers]
    failed = [run for run in answers.values() if run.outcome.failure is not None]
    if ending is Ending.CANCELLED:
        status, error = ExecutionStatus.CANCELLED, CANCELLED
    elif not missing and not failed:
        status, error = ExecutionStatus.COMPLETED, None
    elif ending is Ending.DEADLINE:
        status, error = ExecutionStatus.FAILED, DEADLINE_PASSED
    elif ending is Ending.LOST and may_retry and all(is_retryable(run) for run in failed):
        return None
    else:
        status, error = ExecutionStatus.FAILED, _error(failed, ending)
    used = [run.outcome.usage for run in agent_runs]
    return FinishedExecution(
        id=execution_id,
        status=status,
        output=_output(definition, answers) if status is ExecutionStatus.COMPLETED else None,
        error=error,
        agent_results=_results(definition, agent_runs, answers),
        execution_graph=_graph(definition, answers),
        tokens_used=sum(usage.tokens for usage in used),
        cost=sum((usage.cost_usd for usage in used), Decimal(0)),
    )


def ending_called_off(execution: Execution | CarriedExecution, *, at: datetime) -> Ending | None:
    """Say how an execution ends that shall not go on, whatever its run does; `None` if it may."""
    if execution.cancel_requested_at is not None:
        return Ending.CANCELLED
    if execution.deadline is not None and execution.deadline <= at:
        return Ending.DEADLINE
    return None


def last_answers(agent_runs: Sequence[AgentRun]) -> Mapping[str, AgentRun]:
    """Map each agent to its answer: its value if it has one, else its last failure."""
    answers: dict[str, AgentRun] = {}
    for run in agent_runs:
        known = answers.get(run.agent_name)
        if known is None or known.outcome.value is None:
            answers[run.agent_name] = run
    return answers


def is_retryable(run: AgentRun) -> bool:
    """Say whether an agent run failed in a way that another attempt may mend."""
    return run.outcome.failure is not None and run.outcome.failure.retryable


def total_usage(agent_runs: Sequence[AgentRun]) -> Usage:
    """Add up what some agent runs spent, failed attempts too."""
    used = [run.outcome.usage for run in agent_runs]
    return Usage(sum(u.tokens for u in used), sum((u.cost_usd for u in used), Decimal(0)))


def _error(failed: Sequence[AgentRun], ending: Ending) -> ExecutionError:
    for run in sorted(failed, key=lambda run: (run.completed_at, run.agent_name)):
        if run.outcome.failure is not None:
            failure = run.outcome.failure
            return ExecutionError(failure.code, failure.message, failure.hint)
    return {Ending.LOST: _LOST, Ending.TIMED_OUT: _TIMED_OUT}.get(ending, _ENDED)


def _output(definition: WorkflowDefinition, answers: Mapping[str, AgentRun]) -> JsonObject:
    # The answer of the agents that nobody reads from. With one of them, the usual case, its
    # answer is the output itself; with several, each stands under its name.
    lasts = definition.exits()
    outputs = {name: _value(answers[name]) for name in lasts}
    if len(lasts) == 1:
        return outputs[lasts[0]]
    return dict[str, JsonValue](outputs)


def _value(run: AgentRun) -> JsonObject:
    value = run.outcome.value
    if value is None:
        return {}
    if value.records is None:
        return value.data
    return {**value.data, "records": list[JsonValue](value.records)}


def _results(
    definition: WorkflowDefinition,
    agent_runs: Sequence[AgentRun],
    answers: Mapping[str, AgentRun],
) -> JsonObject:
    results: JsonObject = {}
    for node in definition.agents:
        answer = answers.get(node.name)
        if answer is None:
            results[node.name] = {"type": node.type, "status": "SKIPPED", "attempts": 0}
            continue
        own = [run for run in agent_runs if run.agent_name == node.name]
        spent = total_usage(own)
        result: JsonObject = {
            "type": node.type,
            "status": "FAILED" if answer.outcome.failure else "COMPLETED",
            "attempts": len(own),
            "started_at": own[0].started_at.isoformat(),
            "completed_at": answer.completed_at.isoformat(),
            "duration_seconds": round(sum(run.outcome.duration_s for run in own), 6),
            "tokens_used": spent.tokens,
            "cost": f"{spent.cost_usd.normalize():f}",
        }
        failure, value = answer.outcome.failure, answer.outcome.value
        if failure is not None:
            result["error"] = {
                "code": failure.code.value,
                "message": failure.message,
                "hint": failure.hint,
            }
        if value is not None:
            result["data"] = value.data
            if value.records is not None:
                result["record_count"] = len(value.records)
        results[node.name] = result
    return results


def _graph(definition: WorkflowDefinition, answers: Mapping[str, AgentRun]) -> JsonObject:
    nodes: list[JsonValue] = []
    for node in definition.agents:
        answer = answers.get(node.name)
        status = "SKIPPED"
        if answer is not None:
            status = "FAILED" if answer.outcome.failure else "COMPLETED"
        nodes.append({"name": node.name, "type": node.type, "status": status})
    edges: list[JsonValue] = [{"from": edge.source, "to": edge.target} for edge in definition.edges]
    return {"nodes": nodes, "edges": edges}
