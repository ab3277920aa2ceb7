"""`tenantry bench`: measure, on this machine, beside bare Prefect and DBOS."""

from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from deployments.bench.figures import COALESCED
from deployments.bench.report import (
    COLUMNS,
    outcome_document,
    ratio_sentences,
    stage_rows,
    table_rows,
)
from deployments.bench.running import ALL, Outcome, run_bench
from deployments.bench.turns import Plan
from deployments.cli.invocation import BAD_RESULT, DONE, CommandInvalid, Invoked
from deployments.cli.screen import Progress, answers, clean, make_table, remarks, show_json
from domain.text import quote

_QUICK_S, _QUICK_EXECUTIONS, _QUICK_ORGS, _QUICK_LIMIT_S = 1.5, 200, 2, 15.0


def bench(
    *,
    call: Invoked,
    executions: Annotated[int | None, Parameter(name=("--executions",))] = None,
    orgs: int | None = None,
    rounds: int | None = None,
    seconds: float | None = None,
    limit: float | None = None,
    only: str | None = None,
    quick: Annotated[bool, Parameter(negative="")] = False,
    strict: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure Tenantry beside bare Prefect and DBOS, in turns, on one PostgreSQL.

    It starts everything for itself, in a folder that it removes at the end; an installation of
    yours is not touched. With the defaults it takes a quarter of an hour, and is worth nothing
    on a machine that does something else meanwhile.

    Args:
        executions: Coalesced: executions in each round (20,000).
        orgs: Coalesced: organizations that they are from (10).
        rounds: How often each contender has its turn (3).
        seconds: How long each of the others starts new work, in each turn (8).
        limit: Coalesced: seconds after which a round is cut off, which the table says (120).
        only: Which contenders, with commas: bare, dbos, single, coalesced, mirror, process_worker.
        quick: One short round, to see that it works; the figures mean little.
        strict: Exit with 1 also when something could not be measured.
    """
    default = Plan(only=frozenset(ALL))
    plan = Plan(
        only=_read_names(only, quick=quick),
        rounds=rounds or (1 if quick else default.rounds),
        seconds=seconds or (_QUICK_S if quick else default.seconds),
        executions=executions or (_QUICK_EXECUTIONS if quick else default.executions),
        orgs=orgs or (_QUICK_ORGS if quick else default.orgs),
        limit_s=limit or (_QUICK_LIMIT_S if quick else default.limit_s),
    )
    _check(plan)
    with Progress("Starting PostgreSQL and Prefect", show_after_s=0) as progress:
        outcome = run_bench(plan, say=progress.say)
    if call.as_json:
        show_json(outcome_document(outcome, rounds=plan.rounds))
    else:
        _show(outcome)
    for problem in outcome.problems:
        remarks().print(Text.assemble(("✗ ", "bold red"), clean(problem)))
    is_whole = all(line.missing is None for line in outcome.lines)
    return DONE if not outcome.problems and (is_whole or not strict) else BAD_RESULT


def _read_names(only: str | None, *, quick: bool) -> frozenset[str]:
    if only is None:
        # Prefect's process worker takes half a minute to begin with.
        return frozenset(ALL) - ({"process_worker"} if quick else set())
    names = frozenset(name.strip().replace("-", "_") for name in only.split(","))
    unknown = sorted(names - set(ALL))
    if unknown:
        raise CommandInvalid(
            f"There is no contender {quote(unknown[0])}.", hint=f"There are {', '.join(ALL)}."
        )
    return names


def _check(plan: Plan) -> None:
    numbers = {
        "--executions": plan.executions,
        "--orgs": plan.orgs,
        "--rounds": plan.rounds,
        "--seconds": plan.seconds,
        "--limit": plan.limit_s,
    }
    for name, number in numbers.items():
        if number <= 0:
            raise CommandInvalid(f"{name} must be more than 0.", hint=f"Leave {name} out.")
    if COALESCED in plan.only and plan.executions < plan.orgs:
        raise CommandInvalid(
            "There are fewer executions than organizations.",
            hint="Give each organization at least one: raise --executions or lower --orgs.",
        )


def _show(outcome: Outcome) -> None:
    console = answers()
    table = make_table(*COLUMNS)
    for row in table_rows(outcome.lines):
        table.add_row(*(clean(cell) for cell in row))
    console.print(table)
    console.print("Medians of the rounds; in brackets the least and the most.")
    for sentence in ratio_sentences(outcome.lines):
        console.print(sentence)
    stages = make_table("of one execution", "stage", "ms#")
    for row in stage_rows(outcome.lines):
        stages.add_row(*row)
    if stages.row_count:
        console.print(stages)
