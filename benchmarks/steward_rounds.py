"""What a steward's round costs with many workflows, when nothing has changed.

    .venv/bin/python -m benchmarks.steward_rounds [--workflows 50000] [--json]

A real PostgreSQL, rows made by SQL: all workflows published. Timed is what a round asks the
database of publishing, in milliseconds, and the same right after one workflow in a thousand was
changed; and the memory of this process before and after. Exit code 1: the idle round took 100 ms.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence

from deployments.bench.ground import open_ground
from persistence.publishing import list_due, list_published_page, note_published, read_progress

IDLE_GOAL_MS = 100.0
ORGS = 5_000
_ROWS = (
    """insert into organizations (id, name, slug)
    select 'org_t' || n, 'Tenant ' || n, 'tenant-' || n from generate_series(1, %(orgs)s) n""",
    """insert into workflows (id, org_id, name, slug, version, prefect_deployment_id)
    select 'wf_' || lpad(n::text, 26, '0'), 'org_t' || 1 + n %% %(orgs)s, 'W' || n, 'w' || n, 1,
        gen_random_uuid() from generate_series(1, %(workflows)s) n""",
    "delete from publications",
    "vacuum analyze",
)
_CHANGE = "update workflows set version = version + 1 where id like '%000'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the rows, time rounds; 1 if the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=50_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with open_ground(prefect=False, say=lambda text: None) as ground:
        with ground.connect() as connection:
            for statement in _ROWS:
                connection.execute(
                    statement,
                    {"orgs": ORGS, "workflows": options.workflows} if "%(" in statement else None,
                )
        database = ground.database

        def time_round() -> tuple[float, int]:
            began = time.perf_counter()
            with database.for_platform() as session:
                due = list_due(session, most=64)
            with database.for_platform() as session:
                read_progress(session)
            return (time.perf_counter() - began) * 1000, len(due)

        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        idle = sorted(time_round()[0] for _ in range(20))
        began = time.perf_counter()
        with database.for_platform() as session:
            page = list_published_page(session, after=None, most=options.workflows // 40)
        slice_ms = (time.perf_counter() - began) * 1000
        with ground.connect() as connection:
            connection.execute(_CHANGE)
        changed_ms, due = time_round()
        with database.for_platform() as session:
            for each in list_due(session, most=10**6):
                note_published(session, each)
        after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {
        "workflows": options.workflows,
        "idle_ms": [round(idle[10], 1), round(idle[-2], 1)],
        "changed_ms": round(changed_ms, 1),
        "changed_due": due,
        "slice": len(page),
        "slice_ms": round(slice_ms, 1),
        "memory_grown_mb": round((after_kb - before_kb) / 1024, 1),
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if idle[10] > IDLE_GOAL_MS else 0


if __name__ == "__main__":
    sys.exit(main())
