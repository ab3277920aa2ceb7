"""What Prefect's UI shows of a run besides its states: counts, times, codes. No tenant content."""

import logging
from typing import Any

from prefect.artifacts import acreate_table_artifact

from flows.run_book import RunBook

_LOG = logging.getLogger("tenantry.artifacts")


async def add_agent_table(book: RunBook, *, execution_url: str | None) -> None:
    """Add a table with one row per agent to the flow run, and where to find its executions.

    Called inside the flow. The table is for looking at only: without Prefect's answer the run
    goes on.
    """
    ids = list(book.executions)
    shown = ids[:20]
    if execution_url:
        places = [f"[{id}]({execution_url.replace('{id}', id)})" for id in shown]
    else:
        places = [f"`tenantry executions show {id}`" for id in shown]
    more = f"\n\n… and {len(ids) - len(shown)} more." if len(ids) > len(shown) else ""
    try:
        await acreate_table_artifact(
            key=f"agents-{book.run.id}".replace("_", "-"),
            table=[_row(book, name) for name in _names(book)],
            description="\n\n".join(places) + more,
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
