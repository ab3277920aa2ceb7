"""Studies of Tenantry alone: how cost grows with the executions, and what a setting does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployments.bench.coalesced import measure_coalesced, table_sizes
from deployments.bench.figures import Measured
from deployments.bench.ground import Ground, Say
from deployments.bench.running import check_trails, open_tenantry, take_turn
from deployments.bench.tenants import Tenant
from domain.json_data import JsonObject, JsonValue

_WARM_UP = 50


@dataclass(frozen=True, slots=True)
class TableSize:
    """One table with its indexes."""

    name: str
    rows: int
    table_bytes: int
    index_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What came out: a measurement for each size, or for each value of a setting."""

    setting: str | None
    rows: Sequence[tuple[str, Measured]]
    tables: Sequence[TableSize]
    problems: Sequence[str]


def study_growth(sizes: Sequence[int], *, orgs: int, limit_s: float, say: Say) -> Study:
    """Queue more and more executions, one size after the other, with the same worker.

    Raises:
        BenchFailed: a row is missing or wrong.
    """
    rows: list[tuple[str, Measured]] = []
    with open_tenantry(orgs, say=say) as (ground, tenants), ground.working():
        _warm_up(ground, tenants)
        for size in sizes:
            say(f"{size:,} executions")
            rows.append((f"{size:,}", _measure(ground, tenants, size, limit_s)))
        say("Checking the audit trails")
        problems = check_trails(ground, tenants)
        return Study(setting=None, rows=rows, tables=_tables(ground), problems=problems)


def study_setting(
    name: str, values: Sequence[str], *, executions: int, orgs: int, limit_s: float, say: Say
) -> Study:
    """Measure with a worker of its own for each value of one of the worker's settings.

    Raises:
        SettingsInvalid: there is no such setting, or it cannot have this value.
        BenchFailed: a row is missing or wrong.
    """
    rows: list[tuple[str, Measured]] = []
    with open_tenantry(orgs, say=say) as (ground, tenants):
        for value in values:
            say(f"{name}={value}: {executions:,} executions")
            with ground.working(environ={name: value}):
                _warm_up(ground, tenants)
                rows.append((value, _measure(ground, tenants, executions, limit_s)))
        return Study(setting=name, rows=rows, tables=(), problems=())


def study_document(study: Study) -> JsonObject:
    """Write a study down."""
    rows: list[JsonValue] = [
        {
            "of": of,
            "executions": measured.count,
            "seconds": round(measured.elapsed_s, 2),
            "per_s": round(measured.per_s, 1),
            "ms_each": round(measured.elapsed_s / max(measured.count, 1) * 1000, 3),
            "cut_off_of": measured.cut_off_of,
            "cpu_s": _rounded(measured.cpu_s),
            "rss_mb": _rounded(measured.rss_mb),
            **measured.facts,
        }
        for of, measured in study.rows
    ]
    tables: list[JsonValue] = [
        {
            "table": each.name,
            "rows": each.rows,
            "table_bytes": each.table_bytes,
            "index_bytes": each.index_bytes,
        }
        for each in study.tables
    ]
    return {
        "setting": study.setting,
        "rows": rows,
        "tables": tables,
        "problems": [*study.problems],
    }


def _measure(
    ground: Ground, tenants: Sequence[Tenant], executions: int, limit_s: float
) -> Measured:
    return take_turn(
        ground,
        lambda: measure_coalesced(ground, tenants, executions=executions, limit_s=limit_s),
    )


def _warm_up(ground: Ground, tenants: Sequence[Tenant]) -> None:
    measure_coalesced(ground, tenants, executions=_WARM_UP, limit_s=10)


def _tables(ground: Ground) -> list[TableSize]:
    with ground.connect() as connection:
        found = table_sizes(connection)
    return [TableSize(name, *figures) for name, figures in found.items()]


def _rounded(values: Mapping[str, float]) -> JsonObject:
    return {name: round(value, 2) for name, value in values.items()}
