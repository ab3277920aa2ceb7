"""How long lists take with a million executions of fifty organizations, and by which plans.

    .venv/bin/python -m benchmarks.listing [--executions 1000000] [--rounds 2] [--json]

Median and p95, in milliseconds, of each question, transaction included, as role `tenantry_app`
and by the functions that the API calls. Ends with an error, and says why, if a list takes longer
than 50 ms (p95), if page 1,000 takes more than 1.5 times as long as page 1 (medians, asked in
turns), or if a plan reads anything but the organization's own part of an index.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import text

from benchmarks.listing_questions import (
    Ask,
    Wanted,
    combined_filters,
    metrics_questions,
    single_filters,
)
from benchmarks.listing_rows import IDLE_ORG, busy_orgs, fill
from deployments.embedded.stack import open_stack
from deployments.settings import load_settings
from domain.clock import utc_now
from domain.execution_queries import ExecutionFilter, Order, Position
from domain.ids import ExecutionId, OrgId
from persistence.execution_lists import count_executions, explain, list_summaries, page_query
from persistence.sessions import Database
from tests.support.databases import cluster_of, open_roles
from tests.support.homes import temporary_home

# A thousand full pages of 20 are there in every organization, and of 50, the API's usual length,
# in the idle one.
PAGE, IDLE_PAGE = 20, 50
DEEP_PAGE = 1_000
MOST_P95_MS = 50
MOST_RATIO = 1.5
# What is asked of the idle organization is asked as often as of a busy one in all.
IDLE_TURNS = 40
# Figures over a month take as long as ten lists: some organizations do.
MEASURED_ORGS = 15
Times = Mapping[str, list[float]]


def list_questions(page: int) -> dict[str, Ask]:
    """Name the first pages of all filters, and the totals."""
    now = utc_now()

    def first(wanted: Wanted, order: Order) -> Ask:
        # One more than asked for, as the API does, to know whether there is another page.
        return lambda session, org_id: list_summaries(
            session, wanted(org_id), order=order, limit=page + 1
        )

    found: dict[str, Ask] = {}
    for name, wanted in (single_filters(now) | combined_filters(now)).items():
        for order in Order:
            found[f"{name}, {order.value}"] = first(wanted, order)
    found["total of all, estimated"] = lambda session, _: count_executions(
        session, ExecutionFilter()
    )
    found["total of a workflow"] = lambda session, org_id: count_executions(
        session, single_filters(now)["workflow"](org_id)
    )
    return found


def page_pair(
    database: Database, names: Sequence[OrgId], *, page: int, order: Order
) -> dict[str, Ask]:
    """Ask for page 1 and page 1,000, the latter from the position that its cursor would hold."""
    before = {org_id: _find_end(database, org_id, page, order) for org_id in names}
    which = f"of {page}, {order.value}"
    return {
        f"page 1 {which}": lambda session, _: list_summaries(
            session, ExecutionFilter(), order=order, limit=page + 1
        ),
        f"page 1,000 {which}": lambda session, org_id: list_summaries(
            session, ExecutionFilter(), order=order, after=before[org_id], limit=page + 1
        ),
    }


def _find_end(database: Database, org_id: OrgId, page: int, order: Order) -> Position:
    """Find where page 999 ends, and make sure that page 1,000 is full and not the last one."""
    way = "desc" if order is Order.NEWEST else "asc"
    query = text(
        f"select created_at, id from executions order by created_at {way}, id {way} "
        f"offset :skip limit 1"
    )
    with database.org(org_id) as session:
        row = session.execute(query, {"skip": (DEEP_PAGE - 1) * page - 1}).one()
        end = Position(row.created_at, ExecutionId(row.id))
        deep = list_summaries(session, ExecutionFilter(), order=order, after=end, limit=page + 1)
    if len(deep) <= page:
        raise SystemExit(f"{org_id} has no full page {DEEP_PAGE} of {page}: take more executions.")
    return end


def measure(
    database: Database, questions: Mapping[str, Ask], names: Sequence[OrgId], *, rounds: int
) -> Times:
    """Ask every question of every organization in turns; return how many ms each took.

    A first round is not counted: what is measured is the query, not a cold cache.
    """
    times: dict[str, list[float]] = {name: [] for name in questions}
    for number in range(-1, rounds):
        for turn, org_id in enumerate(names):
            # Each comes first as often as last: the second of two finds the processor warm.
            asked = list(questions.items())
            for name, ask in asked[:: -1 if turn % 2 else 1]:
                started = time.perf_counter()
                with database.org(org_id) as session:
                    ask(session, org_id)
                if number >= 0:
                    times[name].append((time.perf_counter() - started) * 1000)
    return times


def find_plans(database: Database, org_id: OrgId, *, page: int) -> dict[str, dict[str, Any]]:
    """Ask for the plans of all first pages."""
    now = utc_now()
    found: dict[str, dict[str, Any]] = {}
    for name, wanted in (single_filters(now) | combined_filters(now)).items():
        for order in Order:
            query = page_query(wanted(org_id), order=order, after=None, limit=page + 1)
            with database.org(org_id) as session:
                found[f"{name}, {order.value}"] = explain(session, query)
    return found


def nodes(plan: dict[str, Any], depth: int = 1) -> Iterator[tuple[int, dict[str, Any]]]:
    """Walk a plan, from the top."""
    yield depth, plan
    for child in plan.get("Plans", []):
        yield from nodes(child, depth + 1)


def outline(plan: dict[str, Any]) -> str:
    """Show a plan in lines."""
    lines: list[str] = []
    for depth, node in nodes(plan):
        where = node.get("Index Name") or node.get("Relation Name") or ""
        lines.append(f"{'  ' * depth}{node['Node Type']} {where}".rstrip())
        lines += [
            f"{'  ' * depth}  {key}: {node[key]}" for key in ("Index Cond", "Filter") if key in node
        ]
    return "\n".join(lines)


def find_plan_faults(name: str, plan: dict[str, Any]) -> Iterator[str]:
    """Say what a plan reads that is not the organization's own part of an index."""
    indexes = [node for _, node in nodes(plan) if "Index Name" in node]
    if not indexes:
        yield f"The plan of `{name}` uses no index."
    for node in indexes:
        if "org_id" not in node.get("Index Cond", ""):
            yield f"The plan of `{name}` walks {node['Index Name']} past all organizations' rows."
    for _, node in nodes(plan):
        if node["Node Type"] == "Seq Scan":
            yield f"The plan of `{name}` reads all of {node.get('Relation Name')}."


def find_slow(times: Times) -> Iterator[str]:
    """Say which lists take too long, and where page 1,000 takes longer than page 1 by too much."""
    for name, each in times.items():
        if p95(each) > MOST_P95_MS and not name.startswith("metrics"):
            yield f"`{name}` takes {p95(each):.0f} ms (p95): more than {MOST_P95_MS}."
    for name, ratio in page_ratios(times).items():
        if ratio > MOST_RATIO:
            yield f"`{name}` takes {ratio:.2f} times as long as page 1: more than {MOST_RATIO}."


def page_ratios(times: Times) -> dict[str, float]:
    """Compare the medians of each page 1,000 and its page 1."""
    return {
        name: statistics.median(each)
        / statistics.median(times[name.replace("page 1,000", "page 1")])
        for name, each in times.items()
        if "page 1,000" in name
    }


def p95(times: Sequence[float]) -> float:
    """Return what nineteen of twenty stay below."""
    return sorted(times)[int(len(times) * 0.95)]


def ask_all(database: Database, *, rounds: int) -> tuple[Times, dict[str, dict[str, Any]]]:
    """Ask everything; return the times and the plans."""
    busy, idle = busy_orgs(), [IDLE_ORG] * IDLE_TURNS
    times: dict[str, list[float]] = {}
    for order in Order:
        pair = page_pair(database, busy, page=PAGE, order=order)
        times |= measure(database, pair, busy, rounds=2 * rounds)
        pair = page_pair(database, [IDLE_ORG], page=IDLE_PAGE, order=order)
        times |= measure(database, pair, idle, rounds=2 * rounds)
    sys.stderr.write("pages 1 and 1,000 are done\n")
    lists = list_questions(IDLE_PAGE)
    times |= measure(database, lists, busy, rounds=rounds)
    found = measure(database, lists, idle, rounds=rounds)
    times |= {f"idle organization: {name}": each for name, each in found.items()}
    sys.stderr.write("lists are done\n")
    times |= measure(
        database, metrics_questions(utc_now()), busy[:MEASURED_ORGS], rounds=2 * rounds
    )
    plans = find_plans(database, busy[0], page=IDLE_PAGE)
    of_idle = find_plans(database, IDLE_ORG, page=IDLE_PAGE)
    plans |= {f"idle organization: {name}": plan for name, plan in of_idle.items()}
    return times, plans


def write(times: Times, plans: Mapping[str, dict[str, Any]]) -> None:
    """Print the table, the ratios and the plans."""
    for name, each in times.items():
        median, worst = statistics.median(each), p95(each)
        sys.stdout.write(f"{name:62} median {median:6.2f} ms   p95 {worst:6.2f} ms\n")
    for name, ratio in page_ratios(times).items():
        sys.stdout.write(f"{name} over page 1: {ratio:.2f}\n")
    for name, plan in plans.items():
        sys.stdout.write(f"\nplan of {name}:\n{outline(plan)}\n")


def main() -> None:
    """Fill a database of its own, ask everything, print the table and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with temporary_home() as home:
        settings = load_settings({"TENANTRY_HOME": str(home)})
        with open_stack(settings, ("postgres",)) as stack:
            cluster = cluster_of(stack.superuser_url, stack.database_url)
            url = cluster.copy(cluster.make_template())
            superuser = cluster.as_superuser(url).render_as_string(hide_password=False)
            began = time.perf_counter()
            fill(superuser, rows=options.executions)
            sys.stderr.write(f"filled in {time.perf_counter() - began:.0f} s\n")
            with open_roles(url) as database:
                times, plans = ask_all(database, rounds=options.rounds)
    if options.json:
        found = {name: (statistics.median(each), p95(each)) for name, each in times.items()}
        sys.stdout.write(json.dumps({"ms": found, "plans": plans}) + "\n")
    else:
        write(times, plans)
    faults = [fault for name, plan in plans.items() for fault in find_plan_faults(name, plan)]
    faults += find_slow(times)
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
