"""`tenantry bench`: measure, on this machine, beside bare Prefect and DBOS."""

from typing import Annotated

from cyclopts import Parameter

from deployments.bench.figures import COALESCED, PROCESS_WORKER
from deployments.bench.report import (
    COLUMNS,
    outcome_document,
    ratio_sentences,
    stage_rows,
    table_rows,
)
from deployments.bench.running import ALL, Outcome, run_bench
from deployments.bench.turns import Plan
from deployments.cli.benchmark_studies import (
    read_study,
    show_problems,
    show_profile,
    show_study,
)
from deployments.cli.invocation import BAD_RESULT, DONE, CommandInvalid, Invoked
from deployments.cli.screen import Progress, answers, clean, make_table, show_json
from domain.text import quote

Flag = Annotated[bool, Parameter(negative="")]


def bench(
    *,
    call: Invoked,
    executions: int | None = None,
    orgs: int | None = None,
    rounds: int | None = None,
    seconds: float | None = None,
    limit: float | None = None,
    only: str | None = None,
    quick: Flag = False,
    strict: Flag = False,
    profile: Flag = False,
    growth: str | None = None,
    sweep: str | None = None,
) -> int:
    """Measure Tenantry beside bare Prefect and DBOS, in turns, on one PostgreSQL.

    It starts everything for itself, in a folder that it removes at the end; an installation of
    yours is not touched. It takes a quarter of an hour, and is worth nothing on a machine that
    does something else meanwhile.

    Args:
        executions: Coalesced: executions in each round (20,000).
        orgs: Coalesced: organizations that they are from (10).
        rounds: How often each contender has its turn (3).
        seconds: How long each of the others starts new work, in each turn (8).
        limit: Coalesced: seconds after which a round is cut off, which the table says (120).
        only: Which contenders, with commas: bare, dbos, single, coalesced, mirror, process_worker.
        quick: One short round, to see that it works; the figures mean little.
        strict: Exit with 1 also when something could not be measured.
        profile: Show instead where Tenantry's time goes: CPU, HTTP calls, SQL statements.
        growth: Measure instead how the cost grows, such as 1000,10000,100000 executions.
        sweep: Measure instead a worker's setting, such as TENANTRY_WORKER_LIMIT=2,8,32.
    """
    plan = _make_plan(executions, orgs, rounds, seconds, limit, only=only, quick=quick)
    study = read_study(growth=growth, sweep=sweep, orgs=plan.orgs)
    with Progress("Starting PostgreSQL and Prefect", show_after_s=0) as progress:
        if profile:
            return show_profile(plan, say=progress.say, as_json=call.as_json)
        if study is not None:
            return show_study(study, plan, say=progress.say, as_json=call.as_json)
        outcome = run_bench(plan, say=progress.say)
    if call.as_json:
        show_json(outcome_document(outcome, rounds=plan.rounds))
    else:
        _show(outcome)
    show_problems(outcome.problems)
    is_whole = all(line.missing is None for line in outcome.lines)
    return DONE if not outcome.problems and (is_whole or not strict) else BAD_RESULT


def _make_plan(
    executions: int | None,
    orgs: int | None,
    rounds: int | None,
    seconds: float | None,
    limit: float | None,
    *,
    only: str | None,
    quick: bool,
) -> Plan:
    default = Plan(only=frozenset(ALL))
    if quick:
        default = Plan(
            # Prefect's process worker takes half a minute to begin with.
            only=default.only - {PROCESS_WORKER},
            rounds=1,
            seconds=1.5,
            executions=200,
            orgs=2,
            limit_s=15,
            single_at_once=(1,),
            mirror_sizes=(1, 100),
        )
    plan = Plan(
        only=default.only if only is None else _read_names(only),
        rounds=default.rounds if rounds is None else rounds,
        seconds=default.seconds if seconds is None else seconds,
        executions=default.executions if executions is None else executions,
        orgs=default.orgs if orgs is None else orgs,
        limit_s=default.limit_s if limit is None else limit,
        single_at_once=default.single_at_once,
        mirror_sizes=default.mirror_sizes,
    )
    _check(plan)
    return plan


def _read_names(only: str) -> frozenset[str]:
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
