"""Studies as tables for people."""

from collections.abc import Sequence

from deployments.bench.profile_study import Call, Phase
from deployments.bench.studies import Study, TableSize

STUDY_COLUMNS = (
    "",
    "executions#",
    "seconds#",
    "executions/s#",
    "ms each#",
    "worker MB#",
    "Prefect MB#",
    "PostgreSQL MB#",
    "",
)
TABLE_COLUMNS = ("table", "rows#", "table MB#", "indexes MB#", "bytes a row#")
PROFILE_COLUMNS = ("what", "calls#", "ms a call#", "ms#")


def study_rows(study: Study) -> list[tuple[str, ...]]:
    """Lay a study out in `STUDY_COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for of, measured in study.rows:
        remarks = [f"{name} {value}" for name, value in measured.facts.items()]
        if measured.cut_off_of is not None:
            remarks.insert(0, f"cut off, of {measured.cut_off_of:,}")
        memory = [measured.rss_mb.get(name) for name in ("worker", "prefect", "postgres")]
        rows.append(
            (
                of if study.setting is None else f"{study.setting}={of}",
                f"{measured.count:,}",
                f"{measured.elapsed_s:,.1f}",
                f"{measured.per_s:,.1f}",
                f"{measured.elapsed_s / max(measured.count, 1) * 1000:,.2f}",
                *("" if each is None else f"{each:,.0f}" for each in memory),
                "; ".join(remarks),
            )
        )
    return rows


def table_size_rows(tables: Sequence[TableSize]) -> list[tuple[str, ...]]:
    """Lay table sizes out in `TABLE_COLUMNS`."""
    return [
        (
            each.name,
            f"{each.rows:,}",
            f"{each.table_bytes / 1e6:,.1f}",
            f"{each.index_bytes / 1e6:,.1f}",
            f"{(each.table_bytes + each.index_bytes) / each.rows:,.0f}" if each.rows else "",
        )
        for each in tables
    ]


def profile_rows(phase: Phase) -> list[tuple[str, str, str, str]]:
    """Lay one phase out in `PROFILE_COLUMNS`: stages, CPU, then calls, the dearest first.

    Calls and the last column are for each execution.
    """
    rows = [("— stages, by the clock —", "", "", "")]
    rows += [
        (name, "", "", f"{sum(times) / len(times):,.2f}")
        for name, times in phase.measured.stages_ms.items()
        if times
    ]
    if phase.by_library:
        rows.append(("— CPU of the worker, by library —", "", "", f"{phase.cpu_ms:,.2f}"))
        rows += [(name, "", "", f"{ms:,.2f}") for name, ms in phase.by_library.items()]
        rows.append(("— CPU of the worker, with all that is called —", "", "", ""))
        rows += [(name, "", "", f"{ms:,.2f}") for name, ms in phase.by_function.items()]
    for title, calls in (("HTTP calls", phase.http), ("SQL statements", phase.sql)):
        if calls:
            number, total_ms = sum(c.each for c in calls), sum(c.each * c.ms for c in calls)
            rows.append((f"— {title} —", f"{number:,.2f}", "", f"{total_ms:,.2f}"))
            rows += [_call_row(call) for call in calls]
    return rows


def _call_row(call: Call) -> tuple[str, str, str, str]:
    return call.text, f"{call.each:,.2f}", f"{call.ms:,.2f}", f"{call.each * call.ms:,.2f}"
