"""What Prefect's UI shows of a run besides its states: counts, times, codes. No tenant content."""

import json
import logging
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate

from flows.run_book import RunBook

_LOG = logging.getLogger("tenantry.artifacts")


async def add_agent_table(
    client: PrefectClient, flow_run_id: UUID, book: RunBook, *, execution_url: str | None
) -> None:
    """Add a table with one row per agent to the flow run, and where to find its executions.

    The table is for looking at only: without Prefect's answer the run goes on, and a worker that
    is killed before it leaves the run without its table.
    """
    ids = list(book.executions)
    shown = ids[:20]
    if execution_url:
        places = [f"[{id}]({execution_url.replace('{id}', id)})" for id in shown]
    else:
        places = [f"`tenantry executions show {id}`" for id in shown]
    more = f"\n\n… and {len(ids) - len(shown)} more." if len(ids) > len(shown) else ""
    try:
        await client.create_artifact(
            ArtifactCreate(
                key=f"agents-{book.run.id}".replace("_", "-"),
                type="table",
                description="\n\n".join(places) + more,
                # As Prefect's own table artifacts hold it: JSON in a string.
                data=json.dumps([_row(book, name) for name in _names(book)]),
                flow_run_id=flow_run_id,
            )
        )
    except Exception:
        # Whatever Prefect's client raises: a missing picture must not fail a paid run.
        _LOG.warning("no agent table for run %s", book.run.id, exc_info=True)


def _names(book: RunBook) -> list[str]:
    return [node.name for node in book.definition.ordered_agents()]


def _row(book: RunBook, name: str) -> dict[str, Any]:
    answered, failed = book.answered_items(name), book.failed_items(name)
    runs = [*answered, *failed]
    if not runs:
        status = "SKIPPED"
    elif not failed:
        status = "COMPLETED"
    else:
        status = "FAILED" if not answered else "PARTIALLY FAILED"
    codes = sorted({run.outcome.failure.code.value for run in failed if run.outcome.failure})
    return {
        "agent": name,
        "status": status,
        "items": len(runs),
        "failed": len(failed),
        "seconds": round(sum(run.outcome.duration_s for run in runs), 3),
        "retries": max(book.attempts(name) - 1, 0),
        "codes": ", ".join(codes),
    }
