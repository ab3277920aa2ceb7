"""Whether the queue is fair, on the real stack: shares over completed work, and the light's waits.

    .venv/bin/python -m benchmarks.fairness [--only equal,weights,light] [--heavy 20000] [--json]

PostgreSQL, Prefect's server, API, steward and workers are processes of their own. Each case has
organizations of its own and begins with a quiet stack. Exit code 1: a goal was missed.

* `equal`: nine organizations with 300 executions each; at each tenth of the run Jain's index over
  completed executions is at least 0.99.
* `weights`: two organizations with as much as they can want and the weights 3 and 1; when the first
  has nothing left the ratio is within 5 % of 3, and at each tenth of that way, but the first, the
  shares are within 5 points of 75 and 25 %: a run of either is as much as some hundredths.
* `light`: one organization asks for a single execution each second, alone and then beside one with
  20,000 queued: the 95th percentile of its waits, from row written to running, at most doubles.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.fairness_cases import Crowd, Wait, run_crowd, run_light_and_heavy
from benchmarks.shares import count_windows, mark_tenths, percentile
from deployments.bench.ground import Ground, Say, open_ground
from domain.json_data import JsonObject

INDEX_GOAL = 0.99
SHARE_GOAL = 0.05
WAIT_GOAL = 2.0
WEIGHTS = (3.0, 1.0)
NINE = (1.0,) * 9
WINDOWS = 5


@dataclass(slots=True)
class Report:
    """What came out of one case."""

    case: str
    figures: JsonObject
    lines: list[str]
    missed: list[str] = field(default_factory=list[str])


def crowds(each: int) -> dict[str, Crowd]:
    """Name the cases of nine equal organizations."""
    differing = tuple(0.02 * place for place in range(9))
    return {
        "all queued before": Crowd(kind="before", weights=NINE, each=each),
        "two workers": Crowd(kind="two", weights=NINE, each=each, workers=2),
        "agents that take 0 to 160 ms": Crowd(
            kind="differing", weights=NINE, each=each, seconds=differing
        ),
        "one after the other": Crowd(kind="after", weights=NINE, each=each, apart_s=0.0),
    }


def measure_equal(ground: Ground, name: str, crowd: Crowd) -> Report:
    """Have nine equal ones served, and look at each tenth."""
    group, ends = run_crowd(ground, crowd)
    indexes = [mark.index(group.weights) for mark in mark_tenths(ends)]
    report = Report(
        f"nine equal: {name}",
        {
            "index": [round(each, 4) for each in indexes],
            "seconds": round(max(ends).at_s, 2),
            "flow_runs": group.runs(),
        },
        [
            "Jain's index at each tenth: " + " ".join(f"{each:.3f}" for each in indexes),
            f"{len(ends):,} executions in {group.runs()} flow runs, {max(ends).at_s:.1f} s",
        ],
    )
    if min(indexes) < INDEX_GOAL:
        report.missed.append(f"the index falls to {min(indexes):.3f}, below {INDEX_GOAL}")
    return report


def measure_weights(ground: Ground, each: int) -> Report:
    """Have two of unequal weight served, and look at each tenth and at spans of time."""
    crowd = Crowd(kind="weights", weights=WEIGHTS, each=each, until_first=True)
    group, ends = run_crowd(ground, crowd)
    tenths = [_ratio(mark.done, group.ids) for mark in mark_tenths(ends)]
    windows = [_ratio(mark.done, group.ids) for mark in count_windows(ends, count=WINDOWS)]
    worst = max(_points_off(ratio) for ratio in tenths[1:])
    report = Report(
        "weights 3 and 1",
        {
            "ratio_at_tenths": [round(ratio, 3) for ratio in tenths],
            "ratio_in_windows": [round(ratio, 3) for ratio in windows],
            "worst_points_off": round(worst * 100, 2),
            "seconds": round(max(ends).at_s, 2),
            "flow_runs": group.runs(),
        },
        [
            "ratio at each tenth: " + " ".join(f"{ratio:.2f}" for ratio in tenths),
            f"ratio in each of {WINDOWS} equal spans: "
            + " ".join(f"{ratio:.2f}" for ratio in windows),
            f"{len(ends):,} executions in {group.runs()} flow runs, {max(ends).at_s:.1f} s; shares"
            f" are off by {worst * 100:.1f} points at most",
        ],
    )
    if worst > SHARE_GOAL:
        report.missed.append(f"a share is off by {worst * 100:.1f} points")
    if abs(tenths[-1] / WEIGHTS[0] - 1) > SHARE_GOAL:
        report.missed.append(f"the ratio is {tenths[-1]:.2f}, not 3")
    return report


def measure_light(ground: Ground, *, heavy: int, alone_s: float) -> Report:
    """Have the light one served alone and beside the heavy one, and compare its waits."""
    found = run_light_and_heavy(ground, alone_s=alone_s, heavy=heavy)
    figures: JsonObject = {
        "heavy_seconds": round(found.heavy_s, 1),
        "heavy_flow_runs": found.heavy_runs,
        "heavy_per_s": round(heavy / found.heavy_s),
    }
    lines = [
        f"the heavy one's {heavy:,}: {found.heavy_s:.1f} s in {found.heavy_runs} flow runs",
        f"{'ms':22} {'alone p50':>10} {'p95':>7} {'beside p50':>11} {'p95':>7} {'p95 ratio':>13}",
    ]
    for name, of in _STAGES.items():
        alone, beside = ([of(wait) * 1000 for wait in w] for w in (found.alone, found.beside))
        points = [percentile(w, part) for w in (alone, beside) for part in (0.5, 0.95)]
        ratio = points[3] / points[1]
        figures[name] = {
            "alone_ms": [round(each, 1) for each in points[:2]],
            "beside_ms": [round(each, 1) for each in points[2:]],
            "ratio_of_p95": round(ratio, 2),
        }
        lines.append(
            f"{name:22} {points[0]:10.0f} {points[1]:7.0f} {points[2]:11.0f} {points[3]:7.0f}"
            f" {ratio:13.2f}"
        )
    lines.append(f"{len(found.alone)} executions alone, {len(found.beside)} beside")
    report = Report("one light beside one heavy", figures, lines)
    ratio = percentile([w.started_s for w in found.beside], 0.95) / percentile(
        [w.started_s for w in found.alone], 0.95
    )
    if ratio > WAIT_GOAL:
        report.missed.append(f"the light one's wait is {ratio:.1f} times as long, not {WAIT_GOAL}")
    return report


_STAGES: dict[str, Callable[[Wait], float]] = {
    "asked for to claimed": lambda wait: wait.claimed_s,
    "asked for to running": lambda wait: wait.started_s,
    "asked for to ended": lambda wait: wait.ended_s,
}


def _ratio(done: object, ids: Sequence[str]) -> float:
    if not isinstance(done, dict):
        raise TypeError("counts by organization are expected")
    one, other = (done.get(org, 0) for org in ids)
    return one / other if other else float("inf")


def _points_off(ratio: float) -> float:
    """Say by how much a share, as a part of 1, is off what the weights make it."""
    share = 1.0 if ratio == float("inf") else ratio / (1 + ratio)
    return abs(share - WEIGHTS[0] / sum(WEIGHTS))


def measure(ground: Ground, options: argparse.Namespace, *, say: Say) -> list[Report]:
    """Run the cases that are asked for."""
    only = set(options.only.split(","))
    reports: list[Report] = []

    def note(report: Report) -> None:
        # At once: a later case may take long, or break off.
        say(show([report]))
        reports.append(report)

    for name, crowd in crowds(options.each).items():
        if "equal" in only or crowd.kind in only:
            say(f"Nine equal organizations: {name}")
            note(measure_equal(ground, name, crowd))
    if "weights" in only:
        say("Weights 3 and 1")
        note(measure_weights(ground, options.heavy))
    if "light" in only:
        say("One light beside one heavy")
        note(measure_light(ground, heavy=options.heavy, alone_s=options.alone))
    return reports


def show(reports: Sequence[Report]) -> str:
    """Lay everything out for people."""
    lines: list[str] = []
    for report in reports:
        lines += [report.case, *(f"    {line}" for line in report.lines)]
        lines += [f"    MISSED: {line}" for line in report.missed] or ["    as it should be"]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start everything, measure, and print what came out; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="equal,weights,light")
    parser.add_argument("--each", type=int, default=300)
    parser.add_argument("--heavy", type=int, default=20_000)
    parser.add_argument("--alone", type=float, default=40, help="seconds of the light one alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        sys.stderr.write(text + "\n")

    with open_ground(prefect=True, say=say) as ground:
        ground.start_services()
        reports = measure(ground, options, say=say)
    if options.json:
        document = [{"case": r.case, **r.figures, "missed": [*r.missed]} for r in reports]
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        sys.stdout.write(show(reports))
    return 1 if any(report.missed for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
