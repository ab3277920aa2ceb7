"""What `tenantry bench` studies besides comparing: growth, a setting, where the time goes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from deployments.bench.failures import BenchFailed
from deployments.bench.profile_study import profile_document, study_profile
from deployments.bench.studies import Study, study_document, study_growth, study_setting
from deployments.bench.study_tables import (
    PROFILE_COLUMNS,
    STUDY_COLUMNS,
    TABLE_COLUMNS,
    profile_rows,
    study_rows,
    table_size_rows,
)
from deployments.bench.turns import Plan
from deployments.cli.invocation import BAD_RESULT, DONE, CommandInvalid
from deployments.cli.screen import answers, clean, make_table, remarks, show_json
from domain.text import quote

Say = Callable[[str], None]


def show_profile(plan: Plan, *, say: Say, as_json: bool) -> int:
    """Show where Tenantry's time goes."""
    try:
        phases = study_profile(
            executions=plan.executions,
            orgs=plan.orgs,
            seconds=plan.seconds,
            limit_s=plan.limit_s,
            say=say,
        )
    except BenchFailed as failed:
        return _show_failure(failed, as_json=as_json)
    if as_json:
        show_json(profile_document(phases))
        return DONE
    for phase in phases:
        table = make_table(*PROFILE_COLUMNS, title=f"{phase.title}: for each execution")
        for row in profile_rows(phase):
            table.add_row(*(clean(cell) for cell in row))
        answers().print(table)
    return DONE


@dataclass(frozen=True, slots=True)
class StudyWish:
    """What shall be studied: growing numbers of executions, or the values of a setting."""

    sizes: Sequence[int] = ()
    setting: str | None = None
    values: Sequence[str] = ()


def read_study(*, growth: str | None, sweep: str | None, orgs: int) -> StudyWish | None:
    """Read what shall be studied; `None` when nothing is.

    Raises:
        CommandInvalid: sizes or setting cannot be read, or both are given.
    """
    if growth is not None and sweep is not None:
        raise CommandInvalid(
            "Growth and a setting cannot be measured at the same time.",
            hint="Leave out `--growth` or `--sweep`.",
        )
    if growth is not None:
        return StudyWish(sizes=_read_sizes(growth, orgs=orgs))
    if sweep is not None:
        name, values = _read_setting(sweep)
        return StudyWish(setting=name, values=values)
    return None


def show_study(wish: StudyWish, plan: Plan, *, say: Say, as_json: bool) -> int:
    """Show how the cost grows, or what a setting does."""
    try:
        if wish.setting is None:
            study = study_growth(wish.sizes, orgs=plan.orgs, limit_s=plan.limit_s, say=say)
        else:
            study = study_setting(
                wish.setting,
                wish.values,
                executions=plan.executions,
                orgs=plan.orgs,
                limit_s=plan.limit_s,
                say=say,
            )
    except BenchFailed as failed:
        return _show_failure(failed, as_json=as_json)
    if as_json:
        show_json(study_document(study))
    else:
        _show_tables(study)
    show_problems(study.problems)
    return BAD_RESULT if study.problems else DONE


def show_problems(problems: Sequence[str]) -> None:
    """Say what makes figures worthless."""
    for problem in problems:
        remarks().print(Text.assemble(("✗ ", "bold red"), clean(problem)))


def _show_failure(failed: BenchFailed, *, as_json: bool) -> int:
    if as_json:
        show_json({"problems": [str(failed)]})
    show_problems([str(failed)])
    return BAD_RESULT


def _show_tables(study: Study) -> None:
    for columns, rows in (
        (STUDY_COLUMNS, study_rows(study)),
        (TABLE_COLUMNS, table_size_rows(study.tables)),
    ):
        if rows:
            table = make_table(*columns)
            for row in rows:
                table.add_row(*(clean(cell) for cell in row))
            answers().print(table)


def _read_sizes(text: str, *, orgs: int) -> list[int]:
    parts = [part.strip().replace("_", "") for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= orgs for part in parts):
        raise CommandInvalid(
            f"{quote(text)} are no numbers of executions for {orgs} organizations.",
            hint="Write them like `--growth 1000,10000,100000`.",
        )
    return [int(part) for part in parts]


def _read_setting(text: str) -> tuple[str, list[str]]:
    name, separator, values = text.partition("=")
    if not separator or not name.startswith("TENANTRY_") or not values:
        raise CommandInvalid(
            f"{quote(text)} is no setting with its values.",
            hint="Write it like `--sweep TENANTRY_WORKER_LIMIT=2,8,32`.",
        )
    return name, values.split(",")
