"""Where the time goes: the worker's CPU and calls, for one execution and coalesced; the mirror."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from deployments.bench.coalesced import measure_coalesced
from deployments.bench.figures import Measured
from deployments.bench.ground import Ground, Say
from deployments.bench.running import open_tenantry, take_turn
from deployments.bench.single import measure_single
from deployments.bench.tenants import make_token
from deployments.bench.turns import mirror_setup
from domain.json_data import JsonObject, JsonValue

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LIBRARIES, _FUNCTIONS, _CALLS = 20, 50, 30
_STATEMENT_CHARS = 140
# The profile is written every second.
_WRITTEN_S = 1.5
_PREPARING_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A kind of call: how often for each execution, and how long each takes."""

    text: str
    each: float
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Where the time of one phase went; CPU in milliseconds for each execution."""

    title: str
    measured: Measured
    cpu_ms: float
    by_library: Mapping[str, float]
    by_function: Mapping[str, float]
    http: Sequence[Call]
    sql: Sequence[Call]


def study_profile(
    *, executions: int, orgs: int, seconds: float, limit_s: float, say: Say
) -> list[Phase]:
    """Profile the worker while it carries out single executions, and many; then the mirror.

    Raises:
        BenchFailed: a row is missing or wrong.
    """
    with open_tenantry(orgs, say=say) as (ground, tenants):
        path = ground.folder / "profile.json"
        with ground.working(profile=path):
            token = make_token(ground.database, tenants[0])
            say("Profiling: one execution a run")
            measure_single(ground, tenants[0], token, at_once=1, seconds=2)
            single = _profile(
                ground,
                path,
                "Tenantry, one execution a run",
                lambda: measure_single(ground, tenants[0], token, at_once=1, seconds=seconds),
            )
            say("Profiling: coalesced")
            coalesced = _profile(
                ground,
                path,
                "Tenantry, coalesced",
                lambda: measure_coalesced(ground, tenants, executions=executions, limit_s=limit_s),
            )
        say("Profiling: the mirror")
        return [single, coalesced, *_profile_mirror(ground, seconds)]


def profile_document(phases: Sequence[Phase]) -> JsonObject:
    """Write the phases down."""
    return {
        phase.title: {
            "executions": phase.measured.count,
            "worker_cpu_ms_each": round(phase.cpu_ms, 3),
            "cpu_ms_each": {
                name: round(cpu / max(phase.measured.count, 1) * 1000, 3)
                for name, cpu in phase.measured.cpu_s.items()
            },
            "stages_ms": {
                name: round(sum(times) / len(times), 2)
                for name, times in phase.measured.stages_ms.items()
                if times
            },
            "by_library": _rounded(phase.by_library),
            "by_function": _rounded(phase.by_function),
            "http": [_call_document(call) for call in phase.http],
            "sql": [_call_document(call) for call in phase.sql],
        }
        for phase in phases
    }


def _profile(ground: Ground, path: Path, title: str, measure: Callable[[], Measured]) -> Phase:
    before = _read(path)
    began = time.time()
    measured = take_turn(ground, measure)
    ended = time.time()
    time.sleep(_WRITTEN_S)
    after = _read(path)
    count = max(measured.count, 1)
    calls = [row for row in after["calls"] if began <= row[2] <= ended]
    return Phase(
        title=title,
        measured=measured,
        cpu_ms=(after["total_s"] - before["total_s"]) / count * 1000,
        by_library=_difference(before, after, "by_library", count, _LIBRARIES),
        by_function=_difference(before, after, "by_function", count, _FUNCTIONS),
        http=_sum_up([row for row in calls if row[0] == "http"], count),
        sql=_sum_up([row for row in calls if row[0] == "sql"], count),
    )


def _profile_mirror(ground: Ground, seconds: float) -> list[Phase]:
    phases: list[Phase] = []
    with ground.contender("deployments.bench.mirror_contender", mirror_setup(ground)) as mirror:
        mirror.prepare()
        for size in (1, 100, 1000):
            answer = mirror.ask({"size": size, "seconds": seconds / 2, "statements": True})
            count = int(str(answer["count"]))
            stages = cast("dict[str, float]", answer["stages_ms"])
            statements = cast("list[tuple[str, float, float]]", answer["statements"])
            phases.append(
                Phase(
                    title=f"mirror alone, batches of {size:,}",
                    measured=Measured(
                        count=count,
                        elapsed_s=float(str(answer["elapsed_s"])),
                        stages_ms={name: (ms,) for name, ms in stages.items()},
                    ),
                    cpu_ms=float(str(answer["cpu_s"])) / count * 1000,
                    by_library={},
                    by_function={},
                    http=(),
                    sql=[
                        Call(text=text, each=each, ms=total / each)
                        for text, each, total in statements[:_CALLS]
                    ],
                )
            )
    return phases


def _read(path: Path) -> Any:
    deadline = time.monotonic() + _PREPARING_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return json.loads(path.read_text("utf-8"))


def _difference(before: Any, after: Any, key: str, count: int, most: int) -> dict[str, float]:
    spent = {
        name: (seconds - before[key].get(name, 0.0)) / count * 1000
        for name, seconds in after[key].items()
    }
    order = sorted(spent.items(), key=lambda item: -item[1])
    return dict(order[:most])


def _sum_up(rows: Sequence[Any], count: int) -> list[Call]:
    sums: dict[str, tuple[int, float]] = {}
    for _, text, _, seconds in rows:
        name = _UUID.sub(":id", text)[:_STATEMENT_CHARS]
        number, total = sums.get(name, (0, 0.0))
        sums[name] = (number + 1, total + seconds)
    order = sorted(sums.items(), key=lambda item: -item[1][1])
    return [
        Call(text=name, each=number / count, ms=total / number * 1000)
        for name, (number, total) in order[:_CALLS]
    ]


def _call_document(call: Call) -> JsonValue:
    return {"call": call.text, "each": round(call.each, 3), "ms": round(call.ms, 3)}


def _rounded(values: Mapping[str, float]) -> JsonObject:
    return {name: round(value, 3) for name, value in values.items()}
